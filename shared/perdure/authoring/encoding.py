"""Python values to JSON bytes: what msgspec knows natively, and what it is told about here.

The same value gives the same bytes in every process, though Python orders sets by hashes that
change: where a value holds a set, a copy with sorted lists in their place is encoded.
"""

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping, Set
from copy import copy
from pathlib import PurePath
from typing import Any, Final, cast

import msgspec

_SCALARS: Final[frozenset[type[object]]] = frozenset(
    {
        *(str, int, float, bool, type(None), bytes, bytearray, memoryview),
        *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
        *(uuid.UUID, decimal.Decimal, msgspec.Raw),
    }
)
_AS_TEXT: Final = (
    PurePath,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)


class _Shape(enum.Enum):
    """How a type can hold a set; for a class with fields their names stand instead."""

    SCALAR = enum.auto()
    SET = enum.auto()
    MAPPING = enum.auto()
    SEQUENCE = enum.auto()
    MODEL = enum.auto()


type _Plan = _Shape | tuple[str, ...]

_plans: dict[type[object], _Plan] = {
    **dict.fromkeys(_SCALARS, _Shape.SCALAR),
    set: _Shape.SET,
    frozenset: _Shape.SET,
    dict: _Shape.MAPPING,
    list: _Shape.SEQUENCE,
    tuple: _Shape.SEQUENCE,
}
_checks: dict[type[object], Callable[[Any], bool]] = {}
_PLANS_LIMIT: Final = 10_000
_MANY: Final = 16
"""From so many parts on, one pass in C over their types pays."""


def encode(value: Any) -> bytes:
    """``value`` as JSON. Raises what msgspec raises, and TypeError for a type nobody knows."""
    kind = cast("type[object]", type(value))
    if kind in _SCALARS or not (_checks.get(kind) or _check_for(value))(value):
        return _encode(value)
    return _encode(_without_sets(value))


def _plan_of(value: object) -> _Plan:
    kind = type(value)
    plan = _plans.get(kind)
    if plan is None:
        plan = _make_plan(kind)
        if len(_plans) < _PLANS_LIMIT:
            _plans[kind] = plan
    return plan


def _make_plan(kind: type[object]) -> _Plan:
    shapes: tuple[tuple[tuple[type[object], ...], _Shape], ...] = (
        ((enum.Enum,), _Shape.SCALAR),
        ((set, frozenset), _Shape.SET),
        ((dict,), _Shape.MAPPING),
        ((list, tuple), _Shape.SEQUENCE),
    )
    for bases, shape in shapes:
        if issubclass(kind, bases):
            return shape
    if hasattr(kind, "__pydantic_fields__") and hasattr(kind, "model_dump_json"):
        return _Shape.MODEL
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    attributes = cast("tuple[Any, ...]", getattr(kind, "__attrs_attrs__", ()))
    return tuple(attribute.name for attribute in attributes) or _Shape.SCALAR


def _holds_set(value: Any) -> bool:
    return _check_for(value)(value)


def _any_holds_set(value: Collection[Any]) -> bool:
    if len(value) > _MANY and _SCALARS.issuperset(map(type, value)):
        return False
    for part in value:
        kind = cast("type[object]", type(part))
        if kind not in _SCALARS and (_checks.get(kind) or _check_for(part))(part):
            return True
    return False


def _mapping_holds_set(value: dict[Any, Any]) -> bool:
    return _any_holds_set(value.values())


def _model_holds_set(value: Any) -> bool:
    return _any_holds_set([*value.__dict__.values(), *(value.__pydantic_extra__ or {}).values()])


def _check_for(value: object) -> Callable[[Any], bool]:
    """Whether a value holds a set, as a function for its type."""
    kind = type(value)
    known = _checks.get(kind)
    if known is not None:
        return known
    match _plan_of(value):
        case _Shape.SCALAR:
            check = _never
        case _Shape.SET:
            check = _always
        case _Shape.MAPPING:
            check = _mapping_holds_set
        case _Shape.SEQUENCE:
            check = _any_holds_set
        case _Shape.MODEL:
            check = _model_holds_set
        case fields:

            def check(value: Any) -> bool:
                return _any_holds_set([getattr(value, name, None) for name in fields])

    if len(_checks) < _PLANS_LIMIT:
        _checks[kind] = check
    return check


def _never(value: Any) -> bool:
    return False


def _always(value: Any) -> bool:
    return True


def _without_sets(value: Any) -> Any:
    if not _holds_set(value):
        return value
    match _plan_of(value):
        case _Shape.SCALAR:
            return value
        case _Shape.SET:
            return _sorted([_without_sets(part) for part in value])
        case _Shape.MAPPING:
            return {key: _without_sets(part) for key, part in value.items()}
        case _Shape.SEQUENCE:
            return [_without_sets(part) for part in value]
        case _Shape.MODEL:
            return _model_without_sets(value)
        case fields:
            twin = copy(value)
            for name in fields:
                part = getattr(value, name, None)
                if _holds_set(part):
                    _set_field(twin, name, _without_sets(part))
            return twin


def _sorted(parts: list[Any]) -> list[Any]:
    kinds = set(map(type, parts))
    if len(kinds) == 1 and kinds <= {str, int, float}:
        return sorted(parts)
    return sorted(parts, key=_encode)


def _set_field(twin: Any, name: str, value: Any) -> None:
    if isinstance(twin, msgspec.Struct):
        msgspec.structs.force_setattr(twin, name, value)
    else:
        object.__setattr__(twin, name, value)


def _model_without_sets(model: Any) -> Any:
    twin = copy(model)
    both: tuple[dict[str, Any], dict[str, Any]] = (twin.__dict__, twin.__pydantic_extra__ or {})
    for values in both:
        for name, part in values.items():
            values[name] = _without_sets(part)
    return twin


def _hook(value: Any) -> Any:
    """What msgspec asks for a type that it doesn't know."""
    if _plan_of(value) is _Shape.MODEL:
        # No warnings: a list may stand where the model declares a set.
        return msgspec.Raw(value.model_dump_json(by_alias=True, warnings=False).encode())
    match value:
        # msgspec knows these as values, so that here they can only be keys.
        case bool() | None | tuple() | frozenset():
            raise TypeError(f"a dict has {value!r:.60} as a key, JSON takes text and numbers")
        # Subclasses of the plain types lose their class, as enums do.
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case bytes():
            return bytes(value)
        case Mapping():
            return _without_sets(dict(cast("Mapping[Any, Any]", value)))
        case deque():
            return _without_sets(list(cast("deque[Any]", value)))
        case Set():
            return _without_sets(set(cast("Set[Any]", value)))
        case _ if isinstance(value, _AS_TEXT):
            return str(value)
        case _:
            name = f"{type(value).__module__}.{type(value).__qualname__}"
            raise TypeError(f"values of type {name} have no JSON form")


_encode = msgspec.json.Encoder(enc_hook=_hook).encode
