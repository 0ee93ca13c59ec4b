"""What the demo shows: headings, lines with their time, tables of processes, histories, effects."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from side_effects import Effect

from perdure.client import WorkflowHistory
from showcase.processes import Running

_WIDTH: Final = 100
_STYLES: Final = {
    "workflow_started": "bold",
    "activity_completed": "green",
    "activity_failed": "red",
    "workflow_signaled": "magenta",
    "complete_workflow": "bold green",
    "fail_workflow": "bold red",
}


class Show:
    """One run of the demo, on a terminal or into a file."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.console.width = min(self.console.width, _WIDTH)
        self._begun = time.monotonic()
        self._steps = 0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def title(self, text: str, subtitle: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{text}[/bold]", style="blue")
        self.console.print(f"[dim]{subtitle}[/dim]", justify="center")

    def step(self, text: str) -> None:
        self._steps += 1
        self.console.print(f"\n[bold blue]{self._steps}. {text}[/bold blue]\n")

    def line(self, text: str, style: str = "") -> None:
        """One line with the time since the demo began."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(justify="right", style="dim", width=8)
        grid.add_column(style=style, overflow="fold")
        grid.add_row(f"{self.elapsed:.2f} s", text)
        self.console.print(grid)

    def note(self, text: str) -> None:
        """A remark below the line before it."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=8)
        grid.add_column(style="dim", overflow="fold")
        grid.add_row("", Text(text))
        self.console.print(grid)

    def verdict(self, text: str, *, is_good: bool) -> None:
        style = "bold green" if is_good else "bold red"
        self.console.print()
        self.console.rule(f"[{style}]{text}[/{style}]  {self.elapsed:.0f} s", style=style)
        self.console.print()

    def event(self, row: dict[str, Any]) -> None:
        what, details = describe(row)
        self.line(f"{what}  [dim]{escape(details)}[/dim]", _STYLES.get(row["type"], ""))

    def processes(self, processes: Iterable[Running], server: tuple[int, str]) -> None:
        table = _table("process", "pid", "ready after", "what it does")
        table.add_row("nats-server", str(server[0]), "", "keeps everything")
        for one in processes:
            table.add_row(one.service, str(one.pid), f"{one.ready:.1f} s", _DOES[one.service])
        self.console.print(table)
        self.note(f"NATS listens on {server[1]}")

    def history(self, history: WorkflowHistory, gap: tuple[datetime, datetime]) -> None:
        """A run's whole history, with a line where its processes were dead."""
        events = history.events
        first = datetime.fromisoformat(events[0]["time"])
        table = _table("#", "time", "", "what happened", "details")
        killed, _ = gap
        is_marked = False
        for row in events:
            at = datetime.fromisoformat(row["time"])
            if at > killed and not is_marked and row["event_id"] > 1:
                table.add_row("", "", "", "[red]✂ scheduler and worker killed[/red]", "")
                is_marked = True
            what, details = describe(row)
            table.add_row(
                str(row["event_id"]),
                f"+{(at - first).total_seconds():.2f} s",
                "→" if row["kind"] == "command" else "•",
                Text(what, style=_STYLES.get(row["type"], "")),
                Text(details),
            )
        self.console.print(
            f" [bold]{escape(history.workflow_id)}[/bold]  [dim]run {history.run_id}[/dim]"
        )
        self.console.print(table)
        self.console.print()

    def effects(self, effects: Sequence[Effect], expected: Sequence[tuple[str, str]]) -> None:
        """What was done in the outside world against what should have been."""
        table = _table("activity", "for", "attempt", "done", "")
        for what, subject in expected:
            found = [one for one in effects if (one.what, one.subject) == (what, subject)]
            table.add_row(
                what,
                subject,
                ", ".join(str(one.attempt) for one in found),
                f"{len(found)}×",
                "[green]✓[/green]" if len(found) == 1 else "[red]✗[/red]",
            )
        self.console.print(table)

    def results(self, rows: Iterable[tuple[str, str, str, bool]]) -> None:
        table = _table("workflow", "status", "result", "")
        for workflow_id, status, result, is_right in rows:
            mark = "[green]✓[/green]" if is_right else "[red]✗[/red]"
            table.add_row(workflow_id, status, result, mark)
        self.console.print(table)


_DOES: Final = {
    "scheduler": "runs workflow code",
    "activity-worker": "runs activity code",
    "signal-gateway": "turns messages into starts and signals",
}


def describe(row: dict[str, Any]) -> tuple[str, str]:
    """What a row of a history says, and its details."""
    match row["type"]:
        case "workflow_started":
            return f"{row['workflow_type']} started", _values(row.get("args", []))
        case "schedule_activity":
            return f"schedule {row['activity_type']}", _values(row.get("args", []))
        case "activity_completed":
            tries = f" (attempt {row['attempt']})" if row["attempt"] > 1 else ""
            return (
                f"{row['activity_type']} completed",
                f"{_value(row.get('result'))}{tries}".strip(),
            )
        case "activity_failed":
            return f"{row['activity_type']} failed", row["failure"]["message"]
        case "workflow_signaled":
            return f"signal {row['name']}", _values(row.get("args", []))
        case "start_timer":
            seconds = row.get("duration", 0) / 1e9
            days = f"{seconds / 86_400:g} days"
            return "start timer", days if seconds >= 86_400 else f"{seconds:g} s"
        case "complete_workflow":
            return "complete", _value(row.get("result"))
        case "fail_workflow":
            return "fail", row["failure"]["message"]
        case other:
            return other.replace("_", " "), ""


def _values(values: list[Any]) -> str:
    return ", ".join(map(_value, values))


def _value(value: Any) -> str:
    return "" if value is None else str(value)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), header_style="dim", show_edge=False)
    for column in columns:
        right = column in ("#", "time", "pid", "attempt", "done", "ready after")
        table.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=column not in ("details", "result", "what it does"),
            overflow="fold",
        )
    return table
