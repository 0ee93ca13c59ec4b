"""A dead letter, read: what it was, why it lies there, and how it is sent once more. Pure."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import msgspec

from perdure.adapters.jetstream.subjects import Subjects
from perdure.core.durations import to_datetime
from perdure.core.ids import encode_token
from perdure.ports.addresses import Stored
from perdure_services._shell.errors import Refused

_REQUEST_ID = "Perdure-Request-Id"


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One dead letter; ``content`` is all that it holds."""

    seq: int
    at: datetime
    kind: str
    workflow_id: str
    reason: str
    message: str
    content: Mapping[str, Any]
    body: bytes

    @property
    def replayable(self) -> bool:
        """Whether it is a request of the durable door, whole."""
        return "ingress_seq" in self.content


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to publish to ask the durable door once more."""

    subject: str
    body: bytes
    headers: Mapping[str, str]


class _Body(msgspec.Struct):
    body: msgspec.Raw = msgspec.Raw()
    body_base64: str = ""


def read_letter(stored: Stored) -> Letter:
    """Never fails: a letter that cannot be read is shown as it is."""
    try:
        content = msgspec.json.decode(stored.data, type=dict[str, Any])
        found = msgspec.json.decode(stored.data, type=_Body)
        body = base64.b64decode(found.body_base64) if found.body_base64 else bytes(found.body)
    except (msgspec.DecodeError, ValueError):
        content, body = {"text": stored.data.decode("utf-8", "replace")}, b""
    return Letter(
        seq=stored.seq,
        at=to_datetime(stored.timestamp),
        kind=_kind(content),
        workflow_id=str(content.get("workflow_id", "")),
        reason=str(content.get("reason", "")),
        message=str(content.get("message", "")),
        content=content,
        body=body,
    )


def _kind(content: Mapping[str, Any]) -> str:
    if "kind" in content:
        return str(content["kind"])
    if "signal" in content:
        return "signal"
    return "activity" if "activity_type" in content else "event"


def replay_of(letter: Letter, subjects: Subjects) -> Request:
    """The request that the letter was, with its identity. Raises Refused for other letters."""
    if not letter.replayable:
        raise Refused(
            f"letter {letter.seq} is no request of the durable door ({letter.kind}, "
            f"{letter.reason}): look at it with `perdure dead-letters show {letter.seq}`, and send "
            "what is to be done as a new signal or start"
        )
    tokens = [str(token) for token in letter.content.get("tokens", [])]
    if letter.kind == "start" and len(tokens) == 1 and letter.workflow_id:
        # Without this the id that the first request got from its message would be another.
        tokens.append(encode_token(letter.workflow_id))
    given = cast("dict[str, str]", letter.content.get("headers", {}))
    # Nats-Msg-Id would have the stream drop it as a duplicate; the others are the server's.
    headers = {name: value for name, value in given.items() if not name.startswith("Nats-")}
    if not any(name.lower() == _REQUEST_ID.lower() for name in headers):
        # Replayed twice, it counts once.
        headers[_REQUEST_ID] = f"dead-letter-{letter.seq}"
    subject = f"{subjects.base}{'.'.join((letter.kind, *tokens))}"
    return Request(subject=subject, body=letter.body, headers=headers)
