"""What lies on the wire, read off the structs: their names there, and their fields."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from perdure.core.commands import Command
from perdure.core.events import Event
from perdure.core.failures import Failure
from perdure.core.payloads import NULL
from perdure.core.records import Record
from perdure.core.retry import RetryRule
from perdure.core.state import StateEntry, Strike
from perdure.core.tasks import ActivityTask
from perdure.engine.ingress.outcomes import Accepted, IngressLetter, Refused

type Row = tuple[str, str, str]
"""A field's name, type and default."""

_NAMED: dict[Any, str] = {
    int: "integer",
    str: "text",
    float: "number",
    bool: "boolean",
    msgspec.Raw: "payload",
    Failure: "failure",
    RetryRule: "retry rule",
    Strike: "strike",
}
_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "record": Record,
    "task": ActivityTask,
    "STATE entry": StateEntry,
    "strike": Strike,
    "failure": Failure,
    "retry rule": RetryRule,
    "reply: accepted": Accepted,
    "reply: refused": Refused,
    "dead letter of a request": IngressLetter,
}


def sections() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Every struct of the wire with the heading that it has in the page."""
    for group in (Event, Command):
        for kind in group.__args__:
            yield str(kind.__struct_config__.tag), kind
    yield from _SECTIONS.items()


def rows(kind: type[msgspec.Struct]) -> list[Row]:
    """The fields of a struct in the order in which they are encoded."""
    return [
        (field.encode_name, type_text(field.type), _default(field))
        for field in msgspec.structs.fields(kind)
    ]


def type_text(hint: Any) -> str:
    """A type as the page writes it."""
    if hint in _NAMED:
        return _NAMED[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(f"`{_literal(value)}`" for value in args)
    if origin in (typing.Union, types.UnionType):
        kinds = [arg for arg in args if arg not in (type(None), msgspec.UnsetType)]
        if all(getattr(arg, "__struct_config__", None) for arg in kinds) and len(kinds) > 1:
            return "command"
        return " or ".join(map(type_text, kinds))
    if origin in (list, tuple):
        return f"list of {type_text(args[0])}"
    if origin is dict:
        return f"map of {type_text(args[1])}"
    if isinstance(hint, type) and issubclass(hint, str):
        return " or ".join(f"`{member.value}`" for member in hint)  # pyright: ignore[reportGeneralTypeIssues]
    return str(hint)


def _literal(value: Any) -> str:
    return msgspec.json.encode(value).decode().strip('"')


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "needed"
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory()
    if value is None or value is NULL or value is msgspec.UNSET:
        return "—"
    if isinstance(value, msgspec.Struct):
        return "all defaults"
    if value in ("", [], {}, ()):
        return "—"
    return f"`{msgspec.json.encode(value).decode()}`"
