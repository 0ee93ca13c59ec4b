"""Reading what anyone may publish at the durable front door.

Bytes, subject tokens and headers become a StartRequest or an event for a workflow, or an
InvalidInputError that names the field and the limit. Reading a request twice gives the same
request: everything that identifies it comes from the message.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from perdure.authoring.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.core.durations import HOUR, LONGEST, MILLISECOND, MINUTE, SECOND, nanoseconds
from perdure.core.errors import InvalidInputError
from perdure.core.events import WorkflowCancelRequested, WorkflowSignaled
from perdure.core.ids import check_id, decode_token
from perdure.core.payloads import PAYLOAD_KEY, Payload
from perdure.engine.starts import StartRequest
from perdure.ports.ingress import IngressDelivery

REPLY_TO: Final = "Perdure-Reply-To"
REQUEST_ID: Final = "Perdure-Request-Id"
SENDER: Final = "Perdure-Sender"
SENT_AT: Final = "Perdure-Sent-At"
ARGS: Final = "Perdure-Args"
MESSAGE_ID: Final = "Nats-Msg-Id"

_CARRIED: Final = ("traceparent", "tracestate")
_POLICIES: Final = {
    "allow_duplicate": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    "allow_duplicate_failed_only": WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    "reject_duplicate": WorkflowIDReusePolicy.REJECT_DUPLICATE,
    "use_existing": WorkflowIDConflictPolicy.USE_EXISTING,
    "terminate_existing": WorkflowIDConflictPolicy.TERMINATE_EXISTING,
}
_UNITS: Final = {"ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": 24 * HOUR}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_FIELD = re.compile(r"unknown field `([^`]+)`|at `\$\.(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRequest:
    """A signal or a cancel request, and whom it is for."""

    workflow_id: str
    event: WorkflowSignaled | WorkflowCancelRequested


class _StartBody(msgspec.Struct, forbid_unknown_fields=True):
    id: str | None = None
    args: list[msgspec.Raw] | None = None
    input: msgspec.Raw = msgspec.Raw()
    task_queue: str | None = None
    memo: dict[str, msgspec.Raw] | None = None
    search_attributes: dict[str, str | int | float | bool | list[str] | None] | None = None
    timeout: float | str | None = None
    id_policy: str | None = None


class _CancelBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


_start_body = msgspec.json.Decoder(_StartBody)
_cancel_body = msgspec.json.Decoder(_CancelBody)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder()


def read_request(
    delivery: IngressDelivery, *, task_queue: str = "default"
) -> StartRequest | EventRequest:
    """What was asked for. Raises InvalidInputError naming the field that is wrong."""
    headers = Headers(delivery.headers)
    match delivery.kind:
        case "start":
            return _read_start(delivery, headers, task_queue)
        case "signal":
            return _read_signal(delivery, headers)
        case "cancel":
            return _read_cancel(delivery, headers)


def addressed_to(delivery: IngressDelivery) -> str:
    """The workflow id that the subject names, or "" when it names none that can be read."""
    tokens = delivery.tokens[1:] if delivery.kind == "start" else delivery.tokens
    try:
        return decode_token(tokens[0]) if tokens else ""
    except ValueError:
        return ""


class Headers:
    """A message's headers by any spelling of upper and lower case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in headers.items()}

    def get(self, name: str) -> str:
        return self._values.get(name.lower(), "")

    def carried(self, *also: str) -> dict[str, str]:
        """The headers that travel with the event."""
        names = (*_CARRIED, *also)
        return {name.lower(): value for name in names if (value := self.get(name))}


def _read_start(delivery: IngressDelivery, headers: Headers, task_queue: str) -> StartRequest:
    tokens = _tokens(delivery, 1, 2, "start.<Type>[.<id>]")
    workflow_type = _name(tokens[0], "workflow type")
    message = delivery.message
    body = _StartBody()
    args: list[Payload] | None = None
    if _many(headers):
        args = _arguments(message.data, many=True)
    elif message.data.strip():
        _check_json(message.data)
        body = _decode(_start_body, message.data)
    asked = headers.get(REQUEST_ID)
    if asked:
        _name(asked, REQUEST_ID)
    reuse, conflict = _policies(body.id_policy)
    return StartRequest(
        workflow_id=_start_id(tokens, body, headers, delivery),
        workflow_type=workflow_type,
        args=_body_arguments(body) if args is None else args,
        task_queue=_name(body.task_queue or task_queue, "task_queue"),
        request_id=f"request:{asked}" if asked else f"ingress:{message.seq}:{message.timestamp}",
        requested_at=0 if asked else message.timestamp,
        memo={name: _payload(value) for name, value in (body.memo or {}).items()},
        search_attributes={
            name: msgspec.Raw(_encoder.encode(value))
            for name, value in (body.search_attributes or {}).items()
        },
        execution_timeout=_timeout(body.timeout),
        id_reuse_policy=reuse,
        id_conflict_policy=conflict,
        headers=headers.carried(SENDER, SENT_AT),
    )


def _start_id(
    tokens: tuple[str, ...], body: _StartBody, headers: Headers, delivery: IngressDelivery
) -> str:
    """The id by the subject, the body, the message's own id, or the request's place for ever."""
    if len(tokens) == 2:
        if body.id is not None and body.id != tokens[1]:
            raise InvalidInputError(
                f"the subject says id {tokens[1]!r}, the body says {body.id!r}: leave one out",
                field="id",
            )
        return _name(tokens[1], "id")
    if body.id is not None:
        return _name(body.id, "id")
    given = headers.get(MESSAGE_ID)
    if given:
        return _name(given, "id")
    return _name(f"{tokens[0]}-{headers.get(REQUEST_ID) or delivery.message.seq}", "id")


def _read_signal(delivery: IngressDelivery, headers: Headers) -> EventRequest:
    tokens = _tokens(delivery, 2, 2, "signal.<id>.<name>")
    event = WorkflowSignaled(
        eid=_event_id(delivery, headers),
        name=_name(tokens[1], "signal name"),
        args=_arguments(delivery.message.data, many=_many(headers)),
        sender=headers.get(SENDER),
        sent_at=_sent_at(headers),
        headers=headers.carried(),
    )
    return EventRequest(workflow_id=_name(tokens[0], "id"), event=event)


def _read_cancel(delivery: IngressDelivery, headers: Headers) -> EventRequest:
    tokens = _tokens(delivery, 1, 1, "cancel.<id>")
    data = delivery.message.data
    body = _decode(_cancel_body, data) if data.strip() else _CancelBody()
    event = WorkflowCancelRequested(
        eid=_event_id(delivery, headers),
        reason=body.reason,
        headers=headers.carried(SENDER, SENT_AT),
    )
    return EventRequest(workflow_id=_name(tokens[0], "id"), event=event)


def _event_id(delivery: IngressDelivery, headers: Headers) -> str:
    asked = headers.get(REQUEST_ID)
    if asked:
        return f"request:{_name(asked, REQUEST_ID)}"
    # With the timestamp: a stream that was lost and made anew counts from 1 again.
    return f"ingress:{delivery.message.seq}:{delivery.message.timestamp}"


def _tokens(delivery: IngressDelivery, least: int, most: int, shape: str) -> tuple[str, ...]:
    if not least <= len(delivery.tokens) <= most:
        raise InvalidInputError(
            f"the subject ends in {'.'.join((delivery.kind, *delivery.tokens))!r}, "
            f"expected {shape}; encode dots and other signs in a token as =XX",
            field="subject",
        )
    try:
        return tuple(decode_token(token) for token in delivery.tokens)
    except ValueError as error:
        raise InvalidInputError(f"in the subject: {error}", field="subject") from error


def _name(text: str, field: str) -> str:
    try:
        return check_id(text, field)
    except ValueError as error:
        raise InvalidInputError(str(error), field=field) from error


def _many(headers: Headers) -> bool:
    word = headers.get(ARGS)
    if word not in ("", "one", "many"):
        raise InvalidInputError(f"{ARGS} must be one or many, got {word!r}", field=ARGS)
    return word == "many"


def _arguments(data: bytes, *, many: bool) -> list[Payload]:
    """The body as arguments: one JSON value, or with ``many`` a list of them; empty: none."""
    if not data.strip():
        return []
    _check_json(data)
    return [_payload(item) for item in (_decode(_list, data) if many else [data])]


def _payload(data: bytes | msgspec.Raw) -> Payload:
    """A value from outside as it stands in the log: compact, and never taken for an envelope."""
    compact = msgspec.json.format(bytes(data), indent=-1)
    value = msgspec.json.decode(compact) if compact.startswith(b"{") else None
    if isinstance(value, dict) and PAYLOAD_KEY in value:
        coded = base64.b64encode(compact).decode()
        return msgspec.Raw(
            _encoder.encode(
                {PAYLOAD_KEY: {"encoding": "json/plain", "metadata": {}, "data": coded}}
            )
        )
    return msgspec.Raw(compact)


def _body_arguments(body: _StartBody) -> list[Payload]:
    given = bytes(body.input)
    if body.args is not None:
        if given:
            raise InvalidInputError(
                "the body holds both args and input: leave one out", field="input"
            )
        return [_payload(item) for item in body.args]
    if not given:
        return []
    # A list is the argument list, as in args; a list as the only argument needs args: [[…]].
    items = _list.decode(given) if given.lstrip().startswith(b"[") else [given]
    return [_payload(item) for item in items]


def _check_json(data: bytes) -> None:
    """Values stay raw from here on, so this is where bytes that are no JSON are found."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(f"the body is not JSON: {error}", field="body") from error


def _decode[T](decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = _FIELD.search(str(error))
        field = (found[1] or found[2]) if found else "body"
        raise InvalidInputError(f"the body does not fit: {error}", field=field) from error


def _policies(word: str | None) -> tuple[WorkflowIDReusePolicy, WorkflowIDConflictPolicy]:
    policy: Any = _POLICIES.get(word or "allow_duplicate")
    if policy is None:
        raise InvalidInputError(
            f"id_policy must be one of {', '.join(_POLICIES)}, got {word!r}", field="id_policy"
        )
    if isinstance(policy, WorkflowIDReusePolicy):
        return policy, WorkflowIDConflictPolicy.FAIL
    return WorkflowIDReusePolicy.ALLOW_DUPLICATE, policy


def _timeout(value: float | str | None) -> int:
    """Seconds, or text such as ``90s``, ``1h30m``."""
    if value is None:
        return 0
    if isinstance(value, str):
        if not _DURATION.fullmatch(value):
            raise InvalidInputError(
                f"timeout must be seconds or text such as 90s or 1h30m, got {value!r}",
                field="timeout",
            )
        parts = _DURATION_PART.findall(value)
        result = sum(int(float(amount) * _UNITS[unit]) for amount, unit in parts)
    else:
        result = int(value * SECOND) if abs(value) <= LONGEST / SECOND else LONGEST + 1
    if not 0 < result <= LONGEST:
        raise InvalidInputError(
            f"timeout must be above 0 and at most 100 years, got {value!r}", field="timeout"
        )
    return result


def _sent_at(headers: Headers) -> int:
    """Nanoseconds since the epoch, as they stand or of an ISO 8601 instant."""
    text = headers.get(SENT_AT)
    if not text:
        return 0
    if text.isdecimal() and len(text) < 20:
        return int(text)
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise ValueError("it has no time zone")
    except ValueError as error:
        raise InvalidInputError(
            f"{SENT_AT} must be nanoseconds since the epoch or an ISO 8601 instant with its time "
            f"zone, got {text!r}: {error}",
            field=SENT_AT,
        ) from error
    return nanoseconds(instant - _EPOCH)


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
