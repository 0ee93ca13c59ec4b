"""What callers hand to the client, checked and made ready before anything is stored."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, cast

from perdure.core.definitions import Signature
from perdure.core.durations import SECOND, duration
from perdure.core.errors import InvalidInputError, SerializationError
from perdure.core.ids import check_id
from perdure.core.payloads import Payload, PayloadConverter


class Unset(Enum):
    """No argument, which is not the same as None."""

    UNSET = 0


UNSET: Final = Unset.UNSET

type SearchAttributeValue = str | int | float | bool | datetime | Sequence[str]


def checked_id(text: object, field: str) -> str:
    """``text`` when it can name something. Raises InvalidInputError naming the field and limit."""
    try:
        return check_id(text, field)
    except ValueError as error:
        raise InvalidInputError(str(error), field=field) from error


def checked_text(text: object, field: str) -> str:
    if not isinstance(text, str):
        raise InvalidInputError(f"{field} must be a string, not {type(text).__name__}", field=field)
    return text


def checked_duration(value: timedelta | float | None, field: str) -> int:
    """Nanoseconds, 0 for None. Raises InvalidInputError for what is not above zero."""
    if value is None:
        return 0
    try:
        result = duration(value, field)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(str(error), field=field) from error
    if result <= 0:
        raise InvalidInputError(f"{field} must be above zero, got {value!r}", field=field)
    return result


def checked_seconds(value: timedelta | float | None, field: str) -> float | None:
    """Seconds to wait, None for no end."""
    return None if value is None else checked_duration(value, field) / SECOND


def checked_policy[P: Enum](value: object, kind: type[P], field: str) -> P:
    if not isinstance(value, kind):
        raise InvalidInputError(f"{field} must be a {kind.__name__}, not {value!r}", field=field)
    return value


def positional(arg: object, args: object) -> list[Any]:
    """The arguments of a call that takes ``arg`` for one and ``args`` for any number."""
    if isinstance(args, str | bytes) or not isinstance(args, Sequence):
        raise InvalidInputError(
            f"args must be a list of arguments, not {type(args).__name__}; one goes in arg",
            field="args",
        )
    many = cast("Sequence[Any]", args)
    if arg is UNSET:
        return list(many)
    if many:
        raise InvalidInputError(
            "give the argument as arg, or several as args, not both", field="args"
        )
    return [arg]


def encoded_arguments(
    values: Sequence[Any], converter: PayloadConverter, signature: Signature | None, what: str
) -> list[Payload]:
    """The arguments as payloads that fit ``signature``, where it is known.

    Raises InvalidInputError naming the argument.
    """
    payloads: list[Payload] = []
    for position, value in enumerate(values):
        try:
            payloads.append(converter.to_payload(value))
        except SerializationError as error:
            raise InvalidInputError(
                f"{what}: argument {position + 1}: {error}", field=f"args[{position}]"
            ) from error
    if signature is not None:
        signature.decode(payloads, converter, what)
    return payloads


def encoded_memo(memo: object, converter: PayloadConverter) -> dict[str, Payload]:
    return _encoded_mapping(memo, "memo", converter, lambda value: value)


def encoded_attributes(attributes: object, converter: PayloadConverter) -> dict[str, Payload]:
    return _encoded_mapping(attributes, "search_attributes", converter, _attribute)


def _encoded_mapping(
    mapping: object, field: str, converter: PayloadConverter, prepare: Callable[[Any], Any]
) -> dict[str, Payload]:
    if mapping is None:
        return {}
    if not isinstance(mapping, Mapping):
        raise InvalidInputError(
            f"{field} must be a mapping, not {type(mapping).__name__}", field=field
        )
    found: dict[str, Payload] = {}
    for name, value in cast("Mapping[Any, Any]", mapping).items():
        checked_id(name, f"a name in {field}")
        try:
            found[name] = converter.to_payload(prepare(value))
        except (SerializationError, TypeError) as error:
            raise InvalidInputError(f"{field}[{name!r}]: {error}", field=field) from error
    return found


def _attribute(value: object) -> Any:
    """What listings can compare: text, numbers, booleans, instants and lists of texts."""
    kind = type(value).__name__
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError("an instant needs its time zone, e.g. datetime.now(UTC)")
        return value.isoformat()
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        if all(isinstance(item, str | int | float | bool | datetime) for item in items):
            return [_attribute(item) for item in items]
    raise TypeError(
        f"a search attribute is text, a number, a boolean, an instant or a list of these, "
        f"not {kind}"
    )
