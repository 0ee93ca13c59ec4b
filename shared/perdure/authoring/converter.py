"""Values to payloads and back: the default converter, and how to put another in its place."""

import base64
import binascii
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from perdure.authoring.common import RawValue
from perdure.authoring.decoding import decoder_for, explain, type_name
from perdure.authoring.encoding import encode
from perdure.authoring.exceptions import SerializationError
from perdure.core.payloads import NULL, PAYLOAD_KEY, Payload, PayloadConverter

BINARY: Final = "binary/plain"
JSON: Final = "json/plain"
_PLAIN: Final = frozenset({str, int, float, bool})
_SPECIAL: Final = (RawValue, msgspec.Raw, bytes, bytearray, memoryview)
_KEY_BYTES: Final = f'"{PAYLOAD_KEY}"'.encode()


class _Body(msgspec.Struct, omit_defaults=True):
    encoding: str
    metadata: dict[str, str] | None = None
    data: bytes = b""


_encode_body = msgspec.json.Encoder().encode
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class DefaultPayloadConverter:
    """JSON, read back by type annotation.

    Takes what JSON has, and dataclasses, msgspec structs, attrs classes, TypedDict, NamedTuple,
    enums (by value), datetimes, timedelta, UUID, Decimal, sets (as sorted lists), pydantic models
    and any nesting of these. Bytes stand alone as a binary payload, nested as base64 text. NaN and
    the infinities become null, since JSON has none. Integers may be of any size. Annotations are
    taken strictly: the text "1" is no int; unknown fields are ignored.
    """

    def to_payload(self, value: Any) -> Payload:
        """Raises SerializationError naming the value's type and what to do."""
        if type(value) in _PLAIN:
            return msgspec.Raw(_encode_checked(value))
        if value is None:
            return NULL
        if isinstance(value, _SPECIAL):
            if isinstance(value, RawValue):
                return value.payload
            if isinstance(value, msgspec.Raw):
                return value
            return _envelope(_Body(BINARY, metadata={}, data=bytes(cast("bytes", value))))
        data = _encode_checked(value)
        if data[0] == 0x7B and _KEY_BYTES in data and PAYLOAD_KEY in _decode_members(data):
            return _envelope(_Body(JSON, data=data))
        return msgspec.Raw(data)

    def from_payload(self, payload: Payload, hint: Any = Any) -> Any:
        """Raises SerializationError saying where the payload doesn't fit ``hint``."""
        if hint is RawValue:
            return RawValue(payload)
        data = bytes(payload)
        if _KEY_BYTES in data:
            body = _read_envelope(data)
            if body is not None:
                if body.encoding == BINARY:
                    return _binary(body.data, hint)
                if body.encoding != JSON:
                    raise SerializationError(
                        f"a payload has the encoding {body.encoding!r}, which this converter "
                        f"doesn't know (it knows {JSON} and {BINARY}). Give the client and "
                        "the worker the DataConverter that wrote it."
                    )
                data = body.data
        return _decode(data, hint)


def _encode_checked(value: Any) -> bytes:
    try:
        return encode(value)
    except UnicodeEncodeError as error:
        raise _refusal(
            value, "it holds text with a lone surrogate, which is not Unicode"
        ) from error
    except RecursionError as error:
        raise _refusal(value, "it contains itself, or is nested too deeply") from error
    except Exception as error:
        # Serializers of user classes may raise anything; it is the value's fault either way.
        raise _refusal(value, str(error) or type(error).__name__) from error


def _refusal(value: Any, reason: str) -> SerializationError:
    return SerializationError(
        f"Cannot write a value of type {type(value).__qualname__}: {reason.strip().rstrip('.')}. "
        "Pass JSON-like values, dataclasses, msgspec structs or pydantic models (for a connection, "
        "a file or a function, pass what is needed to make it again), or give the client and the "
        "worker a DataConverter that knows the type."
    )


def _envelope(body: _Body) -> Payload:
    return msgspec.Raw(_encode_body({PAYLOAD_KEY: body}))


def _read_envelope(data: bytes) -> _Body | None:
    """The envelope that ``data`` is, or None for other JSON that happens to hold the key."""
    if not data.lstrip().startswith(b"{"):
        return None
    try:
        members = _decode_members(data)
        if len(members) != 1 or PAYLOAD_KEY not in members:
            return None
        return _decode_body(members[PAYLOAD_KEY])
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        raise SerializationError(
            f'a payload with the key "{PAYLOAD_KEY}" must be {{"encoding", "metadata", "data": '
            f"base64}}: {error}. An object of your own with that key goes inside such a payload."
        ) from error


def _binary(data: bytes, hint: Any) -> Any:
    if hint is bytes or hint is Any or hint is object:
        return data
    if hint is bytearray:
        return bytearray(data)
    if typing.get_origin(hint) in (typing.Union, types.UnionType) and bytes in typing.get_args(
        hint
    ):
        return data
    # NewType and its like: whoever reads base64 text as bytes takes it.
    try:
        value = decoder_for(hint)(_encode_body(base64.b64encode(data).decode()))
    except Exception as error:
        raise SerializationError(
            f"a binary payload does not fit the type {type_name(hint)}: annotate it as bytes"
        ) from error
    if not isinstance(value, bytes | bytearray):
        raise SerializationError(
            f"a binary payload does not fit the type {type_name(hint)}: annotate it as bytes"
        )
    return value


def _decode(data: bytes, hint: Any) -> Any:
    try:
        return decoder_for(hint)(data)
    except RecursionError as error:
        raise SerializationError("a payload is nested too deeply to be read") from error
    except Exception as error:
        # Validators of user classes may raise anything; the payload doesn't fit either way.
        raise SerializationError(
            f"a payload does not fit the type {type_name(hint)}: {explain(error)}"
        ) from error


@dataclass(frozen=True)
class DataConverter:
    """How a client and a worker write and read values; both sides need the same one.

    ``payload_converter_class`` is called without arguments and gives a
    :class:`perdure.core.payloads.PayloadConverter`.
    """

    payload_converter_class: type[PayloadConverter] = DefaultPayloadConverter
    payload_converter: PayloadConverter = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "payload_converter", self.payload_converter_class())

    @staticmethod
    def default() -> "DataConverter":
        """The converter that everything uses unless told otherwise."""
        return _default


_default = DataConverter()


def default() -> DataConverter:
    """The converter that everything uses unless told otherwise."""
    return _default
