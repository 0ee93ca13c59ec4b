"""Values as they stand in the log: one JSON value each, kept as raw bytes.

``json/plain`` stands inline as JSON. Any other encoding is ``{"$payload": {"encoding", "metadata",
"data": base64}}``; a user's own object with the key ``$payload`` is wrapped the same way, so that
reading is never ambiguous. Converters (:mod:`perdure.converter`) turn values into these and back;
the core only passes them through.
"""

from typing import Any, Final, Protocol

import msgspec

Payload = msgspec.Raw
"""One JSON value, undecoded."""

PAYLOAD_KEY: Final = "$payload"
NULL: Final = msgspec.Raw(b"null")


class PayloadConverter(Protocol):
    """Turns Python values into payloads and back. Pure: same value, same bytes."""

    def to_payload(self, value: Any) -> Payload:
        """Raises :class:`perdure.exceptions.SerializationError` naming the value's type."""
        ...

    def from_payload(self, payload: Payload, hint: Any = Any) -> Any:
        """The value as ``hint``, a type annotation (Any: JSON's own types).

        Raises :class:`perdure.exceptions.SerializationError` when it does not fit the hint.
        """
        ...


def own(payload: Payload) -> Payload:
    """``payload`` with bytes of its own, so that it does not keep the message alive it came in."""
    return payload.copy()
