"""What JetStream and its client say, as the ports' errors. One table, nowhere else.

What is not in the table did not happen and may be tried again: Unavailable.
"""

import re
from typing import Final

import msgspec

from perdure.ports.errors import (
    AlreadyExists,
    Conflict,
    PortError,
    StoreFull,
    TooLarge,
    Unavailable,
    UnknownOutcome,
)


class Missing(Unavailable):
    """The stream, consumer or message that a call names is not there."""


class ServerTooOld(Unavailable):
    """The server lacks what perdure needs: no retry helps."""


class ApiError(msgspec.Struct, frozen=True):
    """The ``error`` of a JetStream answer."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Refusal(Exception):
    """The cause below a port error: what the server said, word for word."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(f"{error.description} (code {error.code}, err_code {error.err_code})")
        self.error = error


WRONG_LAST_SEQUENCE: Final = 10071
STREAM_NOT_FOUND: Final = 10059
CONSUMER_NOT_FOUND: Final = 10014
CONSUMER_EXISTS: Final = 10148
MESSAGE_NOT_FOUND: Final = 10037
STORE_FAILED: Final = 10077
DUPLICATE_IN_PROCESS: Final = 10158
NOT_AVAILABLE: Final = 10008
NO_SUCH_SEQUENCE: Final = frozenset((MESSAGE_NOT_FOUND, 10043, 10057))

_SUBJECT_IS_TAKEN: Final = "maximum messages per subject exceeded"

_CLASSES: Final[dict[int, type[PortError]]] = {
    WRONG_LAST_SEQUENCE: Conflict,
    # A write in flight on the subject, or no answer about its last sequence: only a read tells.
    10163: UnknownOutcome,
    10164: UnknownOutcome,
    DUPLICATE_IN_PROCESS: UnknownOutcome,
    10002: StoreFull,
    10023: StoreFull,
    10028: StoreFull,
    10047: StoreFull,
    STORE_FAILED: StoreFull,
    10054: TooLarge,
    10097: TooLarge,
    # The name of a stream or consumer is in use with another configuration.
    10058: AlreadyExists,
    CONSUMER_EXISTS: AlreadyExists,
    STREAM_NOT_FOUND: Missing,
    CONSUMER_NOT_FOUND: Missing,
    MESSAGE_NOT_FOUND: Missing,
}

_HINTS: Final = {
    10039: " Enable JetStream for this account.",
    10076: " Enable JetStream on the server.",
    STREAM_NOT_FOUND: " Create the namespace's streams first.",
}

_RETRY: Final = frozenset((NOT_AVAILABLE, 10009, DUPLICATE_IN_PROCESS))


def class_of(error: ApiError) -> type[PortError]:
    if error.err_code == STORE_FAILED and _SUBJECT_IS_TAKEN in error.description:
        return AlreadyExists
    return _CLASSES.get(error.err_code, Unavailable)


def port_error(error: ApiError, what: str) -> PortError:
    """The port error for an answer; ``what`` names the operation and its subject."""
    hint = _HINTS.get(error.err_code, "")
    result = class_of(error)(f"{what}: {error.description} ({error.err_code or error.code}).{hint}")
    result.__cause__ = Refusal(error)
    return result


def err_code_of(error: BaseException) -> int:
    """The server's err_code behind a port error, 0 when no server said anything."""
    cause = error.__cause__
    return cause.error.err_code if isinstance(cause, Refusal) else 0


def may_repeat(error: ApiError) -> bool:
    """Nothing was stored by this try, and a later one may succeed."""
    return error.err_code in _RETRY or error.code == 429


_QUOTED: Final = re.compile(r'"([^"]+)"')


def denied_subject(text: str) -> str | None:
    """The subject of a permissions violation (lower case, as the client reports it), else None."""
    lowered = text.lower()
    if "permissions violation" not in lowered:
        return None
    match = _QUOTED.search(lowered)
    return match[1] if match else ""
