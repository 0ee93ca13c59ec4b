"""JSON bytes to Python values by type annotation. A decoder is built once for each annotation."""

import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, cast

import msgspec

type Decode = Callable[[bytes], Any]

_CACHE_LIMIT: Final = 4_096
_cache: dict[Any, Decode] = {}


def decoder_for(hint: Any) -> Decode:
    """The function from JSON bytes to ``hint``. Raises TypeError when there is none."""
    try:
        decode = _cache.get(hint)
    except TypeError:
        # An annotation with unhashable metadata: built anew each time.
        return _build(hint)
    if decode is None:
        decode = _build(hint)
        if len(_cache) >= _CACHE_LIMIT:
            _cache.clear()
        _cache[hint] = decode
    return decode


def _build(hint: Any) -> Decode:
    if hint is object or hint is Any:
        return msgspec.json.Decoder().decode
    if _is_pydantic(hint):
        return _by_pydantic(hint)
    if typing.get_origin(hint) in (Iterable, Iterator):
        # pydantic would give an iterator that checks as it goes.
        hint = list.__class_getitem__(typing.get_args(hint))
    try:
        return msgspec.json.Decoder(hint, dec_hook=_hook).decode
    except (TypeError, NameError):
        # Unions of several classes or of text-like types: pydantic can tell them apart.
        return _by_pydantic(hint)


def _is_pydantic(hint: Any) -> bool:
    """Whether pydantic models stand in the annotation itself (not in the fields of a class)."""
    if hasattr(hint, "__pydantic_validator__"):
        return True
    if typing.get_origin(hint) is typing.Literal:
        return False
    return any(_is_pydantic(part) for part in typing.get_args(hint))


def _by_pydantic(hint: Any) -> Decode:
    # Loaded when first needed: it takes longer than all of perdure.
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter[Any](hint).validate_json
    except (PydanticUserError, NameError, RecursionError) as error:
        text = str(error).strip().splitlines()[0]
        raise TypeError(f"the type {type_name(hint)} has no JSON form: {text}") from error


def _hook(kind: type, value: Any) -> Any:
    """What msgspec asks for a type that it doesn't know, such as a model in a dataclass's field."""
    # Through JSON again: that is how pydantic reads sets, tuples, bytes and strict models.
    decode = _custom_decoder(kind)
    try:
        return decode(msgspec.json.encode(value))
    except ValueError as error:
        raise ValueError(explain(error)) from error


_custom: dict[Any, Decode] = {}


def _custom_decoder(kind: Any) -> Decode:
    decode = _custom.get(kind)
    if decode is None:
        decode = _custom[kind] = _by_pydantic(kind)
    return decode


def type_name(hint: Any) -> str:
    """How messages call a type."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__qualname__
    return repr(hint).replace("typing.", "")


def explain(error: Exception) -> str:
    """Why a value doesn't fit, without repeating the value: it may be large, or secret."""
    errors = getattr(error, "errors", None)
    if not callable(errors) or not hasattr(error, "error_count"):
        return str(error).strip().partition("\n")[0]
    listed = cast("list[dict[str, Any]]", errors(include_url=False, include_input=False))
    return "; ".join(
        f"{'.'.join(str(step) for step in item['loc']) or 'value'}: {item['msg']}"
        for item in listed[:5]
    )
