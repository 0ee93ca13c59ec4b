"""What becomes of a request at the durable front door, as its sender and dead letters see it."""

import base64
import logging
from typing import Final, Literal

import msgspec

from perdure.core.errors import InvalidInputError, PerdureError, WorkflowAlreadyStartedError
from perdure.engine.ingress.requests import REPLY_TO, Headers, addressed_to
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError
from perdure.ports.ingress import IngressDelivery

UNKNOWN_WORKFLOW: Final = "unknown_workflow"
WORKFLOW_CLOSED: Final = "workflow_closed"

_logger = logging.getLogger("perdure.ingress")
_encoder = msgspec.json.Encoder()


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The request was done."""

    id: str
    run_id: str
    status: Literal["started", "existing", "signaled", "cancel_requested"]
    ok: bool = True


class Refused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The request can't be done; it lies with the dead letters."""

    ok: Literal[False]
    code: str
    message: str
    field: str | None = None

    @classmethod
    def because(cls, error: PerdureError) -> "Refused":
        field = error.field if isinstance(error, InvalidInputError) else None
        return cls(ok=False, code=error.code, message=str(error), field=field)


Outcome = Accepted | Refused


class IngressLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that could not be done, whole: it can be published again as it was.

    ``body`` is the JSON that it was, or ``body_base64`` the bytes when it was none.
    """

    kind: str
    reason: str
    message: str
    field: str | None = None
    tokens: tuple[str, ...]
    headers: dict[str, str] = {}
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    body_base64: str = ""
    workflow_id: str = ""
    ingress_seq: int
    at: int


async def bury(backend: Backend, delivery: IngressDelivery, why: Refused, workflow_id: str) -> None:
    """Put a refused request with the dead letters. Idempotent."""
    message = delivery.message
    body, coded = _body(message.data)
    letter = IngressLetter(
        kind=delivery.kind,
        reason=why.code,
        message=why.message,
        field=why.field,
        tokens=delivery.tokens,
        headers=dict(delivery.headers),
        body=body,
        body_base64=coded,
        workflow_id=workflow_id or addressed_to(delivery),
        ingress_seq=message.seq,
        at=backend.clock.now(),
    )
    await backend.dead_letters.put(
        delivery.kind,
        letter.workflow_id,
        _encoder.encode(letter),
        dedup=f"ingress:{message.seq}:{message.timestamp}",
    )


async def answer(backend: Backend, delivery: IngressDelivery, outcome: Outcome) -> None:
    """Tell the sender, when it asked to be told. At most once: a lost answer stays lost."""
    to = Headers(delivery.headers).get(REPLY_TO)
    if not to:
        return
    try:
        await backend.replies.reply(to, _encoder.encode(outcome))
    except (PortError, ValueError) as error:
        _logger.warning("no reply to %r for request %d: %s", to, delivery.message.seq, error)


def refusal_of_duplicate(error: WorkflowAlreadyStartedError) -> Refused:
    return Refused(ok=False, code=error.code, message=error.message)


def _body(data: bytes) -> tuple[msgspec.Raw | msgspec.UnsetType, str]:
    if not data:
        return msgspec.UNSET, ""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.UNSET, base64.b64encode(data).decode()
    return msgspec.Raw(data), ""
