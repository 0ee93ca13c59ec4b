"""nats-server's configuration language, written: plain values in, text out. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast


def render(config: Mapping[str, Any]) -> str:
    """A configuration file whose top-level entries are ``config``'s."""
    return "".join(f"{name}: {_value(value, '')}\n" for name, value in config.items())


def _value(value: Any, indent: str) -> str:
    deeper = indent + "  "
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value).items()
        lines = "".join(f"{deeper}{name}: {_value(entry, deeper)}\n" for name, entry in entries)
        return f"{{\n{lines}{indent}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        members = cast("Sequence[Any]", value)
        lines = "".join(f"{deeper}{_value(member, deeper)}\n" for member in members)
        return f"[\n{lines}{indent}]"
    return json.dumps(value, ensure_ascii=False)
