"""Where the payloads of a struct stand: gather them in order, and put others in their places.

Knows the arguments, results, details and failures of events, commands and tasks. Memo and search
attributes stay out: they are shown by listings and must be readable where they lie.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from perdure.core.failures import Failure
from perdure.core.payloads import Payload

_Place = Literal["one", "list", "failure"]
_KINDS: Final[dict[object, _Place]] = {
    Payload: "one",
    list[Payload]: "list",
    Failure: "failure",
    Failure | None: "failure",
}


@lru_cache(maxsize=128)
def _slots(kind: type[msgspec.Struct]) -> tuple[tuple[str, _Place], ...]:
    found: list[tuple[str, _Place]] = []
    for field in msgspec.structs.fields(kind):
        place: _Place | None = next(
            (name for hint, name in _KINDS.items() if hint == field.type), None
        )
        if place is not None:
            found.append((field.name, place))
    return tuple(found)


def gather(struct: msgspec.Struct) -> list[Payload]:
    """The payloads of ``struct``, those of its failures and their causes included."""
    found: list[Payload] = []
    for name, place in _slots(type(struct)):
        value: Any = getattr(struct, name)
        if value is None:
            continue
        if place == "one":
            found.append(value)
        elif place == "list":
            found.extend(value)
        else:
            found.extend(gather(value))
    return found


def scatter[S: msgspec.Struct](struct: S, payloads: Iterator[Payload]) -> S:
    """``struct`` with the next of ``payloads`` in the places that :func:`gather` reads."""
    changes: dict[str, Any] = {}
    for name, place in _slots(type(struct)):
        value: Any = getattr(struct, name)
        if value is None:
            continue
        if place == "one":
            changes[name] = next(payloads)
        elif place == "list":
            if value:
                changes[name] = [next(payloads) for _ in value]
        else:
            changes[name] = scatter(value, payloads)
    return msgspec.structs.replace(struct, **changes) if changes else struct
