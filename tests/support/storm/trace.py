"""A readable trace of a storm: who did what when, which fault met it, and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perdure.ports.addresses import Address, Stored, TaskKey, TimerKey

_KEPT = 400_000
_SHOWN = 110
_NAMED_FIRST = ("state", "archive")
_QUIET = ("members", "messages.answer", "messages.close", "inbox.extend", "tasks.extend")


@dataclass(frozen=True, slots=True)
class Line:
    """``call`` is empty where a process or the weather does something by itself."""

    at: float
    who: str
    call: str
    about: tuple[Any, ...]
    fault: str
    outcome: Any


class Trace:
    """The last lines of a storm."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=_KEPT)

    def call(
        self, at: float, who: str, name: str, about: tuple[Any, ...], fault: str, outcome: Any
    ) -> None:
        self._lines.append(Line(at, who, name, about, fault, outcome))

    def say(self, at: float, who: str, what: str, about: str = "") -> None:
        self._lines.append(Line(at, who, "", (about,), "", what))

    def show(self, console: Console, *, workflow_id: str = "", last: int = 100) -> None:
        """Print the ``last`` lines that concern a workflow, and what befell the processes."""
        lines = [line for line in self._lines if _concerns(line, workflow_id)][-last:]
        of = f" of {workflow_id}" if workflow_id else ""
        table = Table(title=f"last {len(lines)} lines{of}", box=None, pad_edge=False)
        table.add_column("time", justify="right", style="cyan", no_wrap=True)
        table.add_column("process", style="magenta", no_wrap=True)
        table.add_column("call", style="bold", no_wrap=True)
        table.add_column("fault", style="red", no_wrap=True)
        table.add_column("about → outcome")
        for line in lines:
            table.add_row(f"{line.at:.3f}", line.who, line.call, line.fault, _story(line))
        console.print(table)


def _concerns(line: Line, workflow_id: str) -> bool:
    if not line.call:
        return not line.about[0] or not workflow_id or line.who.startswith(("s-", "w-"))
    if line.call.startswith(_QUIET) and not line.fault:
        return False
    ids = set(_ids(line))
    return not workflow_id or workflow_id in ids or (not ids and bool(line.fault))


def _ids(line: Line) -> Iterable[str]:
    port = line.call.partition(".")[0]
    for position, item in enumerate(line.about):
        match item:
            case Address() | TaskKey():
                yield item.workflow_id
            case TimerKey():
                yield item.address.workflow_id
            case str() if port in _NAMED_FIRST and position == 0:
                yield item
            case str() if port in ("announcements", "dead_letters") and position == 1:
                yield item
            case str() if port == "blobs":
                yield item.partition("/")[0]
            case _:
                yield from _ids_of_delivery(item)


def _ids_of_delivery(item: Any) -> Iterable[str]:
    for name in ("address", "key"):
        of = getattr(item, name, None)
        if of is not None:
            yield of.workflow_id
    tokens = getattr(item, "tokens", None)
    if tokens:
        yield from tokens


def _story(line: Line) -> Text:
    if not line.call:
        return Text(f"{line.outcome} {line.about[0]}".strip(), style="yellow")
    text = Text(" ".join(_short(item) for item in line.about))
    if isinstance(line.outcome, BaseException):
        said = f" → {type(line.outcome).__name__}: {line.outcome}"
        text.append(said[:_SHOWN], style="red")
    elif line.outcome is not None:
        text.append(f" → {_short(line.outcome)}", style="green")
    return text


def _short(item: Any) -> str:
    match item:
        case Address():
            return f"{item.queue}/{item.workflow_id}"
        case TaskKey():
            return f"{item.queue}/{item.workflow_id}:{item.run[-4:]}:{item.n}"
        case TimerKey():
            return f"{item.address.workflow_id}:{item.run[-4:]}:timer {item.n}"
        case Stored():
            return f"#{item.seq} {_short(item.data)}"
        case bytes():
            return item.decode(errors="replace")[:_SHOWN]
        case list():
            return f"[{', '.join(_short(one) for one in item)}]"[:_SHOWN]
        case _ if hasattr(item, "message"):
            return f"offer {item.attempt} of {_short(item.message)}"
        case _ if hasattr(item, "close"):
            return "open"
        case _:
            return str(item)[:_SHOWN]


__all__ = ["Line", "Trace"]
