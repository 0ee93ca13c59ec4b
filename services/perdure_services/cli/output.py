"""What commands print: results on standard output, everything else on standard error."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, stderr=True, soft_wrap=True)

_STATUS_STYLES = {
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "timed_out": "red",
    "terminated": "magenta",
    "canceled": "yellow",
    "continued_as_new": "blue",
}


def print_json(value: Any) -> None:
    """A value as JSON: indented for people, on one line for pipes."""
    indent = 2 if sys.stdout.isatty() else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    out.print(text, markup=False)


def table(*columns: str, title: str = "") -> Table:
    """A plain table whose first column is never cut."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        made.add_column(column, no_wrap=position == 0, overflow="fold", header_style="bold")
    return made


def print_table(made: Table) -> None:
    # Soft wrapping is for lines of text: a table fits itself to the terminal.
    out.print(made, soft_wrap=False)


def status_text(status: str, blocked: str = "") -> Text:
    if blocked:
        return Text(f"{status}, blocked", style="bold red")
    return Text(status, style=_STATUS_STYLES.get(status, ""))


def shown_time(instant: datetime | None) -> str:
    """A time in the reader's own zone, to the second."""
    return "" if instant is None else instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def shown_age(instant: datetime | None) -> str:
    """How long ago, in the largest two units."""
    if instant is None:
        return ""
    seconds = int((datetime.now(UTC) - instant).total_seconds())
    return shown_duration(seconds) + " ago" if seconds >= 1 else "now"


def shown_duration(seconds: float) -> str:
    """``3d 4h``, ``2m 5s``, ``850ms``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    left, words = int(seconds), list[str]()
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        amount, left = divmod(left, size)
        if amount and len(words) < 2:
            words.append(f"{amount}{unit}")
        elif words:
            break
    return " ".join(words)


def compact(value: Any, width: int = 100) -> str:
    """JSON on one line, cut."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else f"{text[: width - 1]}…"
