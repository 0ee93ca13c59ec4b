"""JSON as people give it on a command line."""

import sys
from pathlib import Path
from typing import Any, cast

import msgspec

from perdure_services._shell.errors import Refused


def read_json(text: str, what: str) -> Any:
    """A JSON value: the text itself, ``@file``, or ``-`` for standard input. Raises Refused."""
    if text == "-":
        source = sys.stdin.read()
    elif text.startswith("@"):
        try:
            source = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{what}: cannot read {text[1:]}: {error}") from error
    else:
        source = text
    try:
        return msgspec.json.decode(source)
    except msgspec.DecodeError as error:
        raise Refused(
            f"{what} is not JSON ({error}): {source[:60]!r}. Text needs quotes of its own: "
            "'\"like this\"'"
        ) from error


def read_arguments(input: str | None, args: str | None) -> list[Any]:
    """A workflow's arguments, as the durable start takes them: a list as ``--input`` is the list
    of arguments. Raises Refused."""
    if input is not None and args is not None:
        raise Refused("give --input or --args, not both")
    if args is not None:
        value = read_json(args, "--args")
        if not isinstance(value, list):
            raise Refused("--args takes a JSON list, such as '[\"order-1\", 2]'")
        return cast("list[Any]", value)
    if input is None:
        return []
    value = read_json(input, "--input")
    return cast("list[Any]", value) if isinstance(value, list) else [value]
