"""A workflow's history as a table for people."""

from datetime import datetime
from typing import Any, Final, cast

from rich.table import Table
from rich.text import Text

from perdure.client import WorkflowHistory
from perdure.core.durations import SECOND
from perdure_services.cli.output import compact, shown_duration, table

_STYLES: Final = {
    "activity_failed": "red",
    "activity_attempt_failed": "yellow",
    "fail_workflow": "bold red",
    "complete_workflow": "bold green",
    "cancel_workflow": "bold yellow",
    "terminate_workflow": "bold magenta",
    "garbage": "red",
}
_UNSHOWN: Final = frozenset(
    {
        "event_id", "kind", "type", "time", "sequence", "run", "run_id", "n", "closes", "format",
        "headers", "eid", "retry", "revision", "requested_at", "request_id", "scheduled_at",
        "first_run", "retry_state", "identity", "activity_id", "due", "sent_at", "sender",
    }
)  # fmt: skip
_DURATIONS: Final = frozenset(
    {
        "schedule_to_close", "schedule_to_start", "start_to_close", "heartbeat", "duration",
        "execution_timeout", "run_timeout", "delay",
    }
)  # fmt: skip


def history_table(found: WorkflowHistory) -> Table:
    """One row per event and command; what the workflow decided is marked by an arrow."""
    made = table("#", "AFTER", "WHAT", "DETAILS", title="")
    began: datetime | None = None
    for row in found.events:
        at = datetime.fromisoformat(row["time"])
        began = began or at
        decided = row["kind"] == "command"
        what = Text("→ " if decided else "", style="dim")
        what.append(_title(row), style=_STYLES.get(row["type"], "" if decided else "cyan"))
        made.add_row(
            str(row["event_id"]),
            shown_duration(max((at - began).total_seconds(), 0.0)),
            what,
            Text(_details(row)),
        )
    return made


def _title(row: dict[str, Any]) -> str:
    name = row["type"].replace("_", " ")
    number = row.get("n")
    return f"{name} {number}" if number is not None else name


def _details(row: dict[str, Any]) -> str:
    words: list[str] = []
    for name, value in row.items():
        if name in _UNSHOWN or value in (None, "", [], {}, 0):
            continue
        words.append(_detail(name, value))
    return "  ".join(words)


def _detail(name: str, value: Any) -> str:
    if name in ("workflow_type", "activity_type", "name"):
        return str(value)
    if name == "args":
        return f"({', '.join(compact(item, 60) for item in value)})"
    if name == "failure" or name == "last_failure":
        return failure_line(value)
    if name in _DURATIONS and isinstance(value, int):
        return f"{name}={shown_duration(value / SECOND)}"
    if isinstance(value, str):
        return f"{name}={value}"
    return f"{name}={compact(value)}"


def failure_line(value: dict[str, Any]) -> str:
    """A failure and those causes that its text does not tell already, on one line."""
    words: list[str] = []
    link: Any = value
    while isinstance(link, dict):
        failure = cast("dict[str, Any]", link)
        kind = failure.get("type")
        text = f"{kind}: {failure['message']}" if kind else str(failure["message"])
        if not words or text not in words[-1]:
            words.append(text)
        link = failure.get("cause")
    return " ← ".join(words)
