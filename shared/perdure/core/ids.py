"""Names derived from names: subject tokens, partition slots, run ids. Pure functions only."""

import hashlib
import re
from typing import Final

SLOTS: Final = 64
"""Partition slots of every task queue; a workflow's slot never changes, so neither may this."""

MAX_ID_BYTES: Final = 512
_PLAIN = re.compile(rb"[A-Za-z0-9_-]")
_PLAIN_TOKEN = re.compile(rb"[A-Za-z0-9_-]+")
_ESCAPE = re.compile(r"=([0-9A-F]{2})")
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def encode_token(text: str) -> str:
    """One subject token, KV key or URL path segment for any text: bytes outside
    ``[A-Za-z0-9_-]`` become ``=XX``, so ``order:123`` is ``order=3A123``."""
    raw = text.encode("utf-8")
    if _is_plain(raw):
        return text
    return "".join(chr(b) if _PLAIN.match(bytes((b,))) else f"={b:02X}" for b in raw)


def decode_token(token: str) -> str:
    """The text behind a token. Raises ValueError for what :func:`encode_token` never writes."""
    if "=" not in token:
        if not _is_plain(token.encode("utf-8", "replace")):
            raise ValueError(f"not an encoded token: {token!r}")
        return token
    raw = bytearray()
    position = 0
    while position < len(token):
        if token[position] == "=":
            match = _ESCAPE.match(token, position)
            if match is None:
                raise ValueError(f"not an encoded token: {token!r} (at {position})")
            raw.append(int(match[1], 16))
            position += 3
        else:
            char = token[position].encode("utf-8")
            if not _is_plain(char):
                raise ValueError(f"not an encoded token: {token!r} (at {position})")
            raw += char
            position += 1
    text = raw.decode("utf-8")
    if encode_token(text) != token:
        raise ValueError(f"not the canonical token of {text!r}: {token!r}")
    return text


def _is_plain(raw: bytes) -> bool:
    return _PLAIN_TOKEN.fullmatch(raw) is not None


def check_id(text: object, field: str) -> str:
    """``text`` when it can name a workflow, queue, type or signal; else ValueError naming ``field``."""
    if not isinstance(text, str):
        raise ValueError(f"{field} must be a string, not {type(text).__name__}")
    if not text:
        raise ValueError(f"{field} cannot be empty")
    if not text.isprintable():
        raise ValueError(f"{field} must be printable text, got {text!r}")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ValueError(f"{field} is not valid Unicode: {text!r}") from error
    if size > MAX_ID_BYTES:
        raise ValueError(f"{field} is {size} bytes long, the limit is {MAX_ID_BYTES}")
    return text


def check_namespace(text: str) -> str:
    """``text`` when it is a legal namespace, else ValueError."""
    if not _NAMESPACE.fullmatch(text):
        raise ValueError(f"namespace must match [a-z0-9][a-z0-9-]{{0,62}}, got {text!r}")
    return text


def slot_of(workflow_id: str) -> int:
    """The partition slot of a workflow: a hash that no Python version or process changes."""
    return hashlib.blake2b(workflow_id.encode(), digest_size=2).digest()[0] % SLOTS


def run_id_for(request: str, requested_at: int) -> str:
    """The run id of a start request, in the form of a UUIDv7.

    ``request`` identifies the request (an ingress sequence, an idempotency key, a parent run and
    number) and ``requested_at`` is its time in nanoseconds; a retry of the request gets the same
    run id, which is what makes starting idempotent.
    """
    digest = hashlib.blake2b(f"{requested_at}:{request}".encode(), digest_size=10).digest()
    milliseconds = (requested_at // 1_000_000) & ((1 << 48) - 1)
    a = int.from_bytes(digest[:2]) & 0x0FFF
    b = int.from_bytes(digest[2:]) & ((1 << 62) - 1)
    value = (milliseconds << 80) | (0x7 << 76) | (a << 64) | (0b10 << 62) | b
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
