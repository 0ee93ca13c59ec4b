"""``describe``, ``history``, ``list``."""

import heapq
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from perdure.client import WorkflowExecutionDescription, WorkflowHistory
from perdure.core.durations import to_datetime
from perdure.core.state import StateEntry, Status, decode_state
from perdure.engine.admission import Admission
from perdure_services._shell.errors import Refused
from perdure_services.cli.commands import Session, command
from perdure_services.cli.histories import failure_line, history_table
from perdure_services.cli.output import (
    err,
    out,
    print_json,
    print_table,
    shown_age,
    shown_duration,
    shown_time,
    status_text,
    table,
)
from perdure_services.cli.workflows import Id, Run


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    command(app)(describe)
    command(app)(history)
    command(app, "list")(list_workflows)


async def describe(session: Session, id: Id, *, run: Run = None) -> None:
    """How a workflow stands and what it waits for."""
    async with session.client() as client:
        found = await client.get_workflow_handle(id, run_id=run).describe()
        members = client.backend.members
        schedulers = len(await members.list(("scheduler", found.task_queue)))
        admission = Admission(client.backend)
        remark = await admission.refusal()
    if session.as_json:
        print_json({**_as_json(found), "schedulers": schedulers, "store": asdict(admission.usage)})
        return
    _print_description(found)
    for warning in [*_warnings(found, schedulers), *filter(None, [remark])]:
        out.print(f"! {warning}", style="yellow", markup=False)


async def history(
    session: Session,
    id: Id,
    *,
    run: Run = None,
    raw: Annotated[bool, typer.Option("--raw", help="The log's own messages, as stored.")] = False,
) -> None:
    """Everything that happened to a workflow."""
    async with session.client() as client:
        found = await client.get_workflow_handle(id, run_id=run).fetch_history()
    if raw:
        for message in _raw(found):
            out.print(msgspec.json.encode(message).decode(), markup=False)
    elif session.as_json:
        print_json(found.to_json_dict())
    else:
        print_table(history_table(found))


async def list_workflows(
    session: Session,
    *,
    status: Annotated[
        str | None, typer.Option("--status", help=f"One of {', '.join(Status)}.")
    ] = None,
    type: Annotated[str | None, typer.Option("--type", help="A workflow type.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 50,
) -> None:
    """The newest workflows."""
    wanted = _status(status)
    count = 0
    newest: list[tuple[int, int, StateEntry]] = []
    async with session.backend() as backend:
        async for data, _ in backend.state.scan():
            entry = decode_state(data)
            if wanted not in (None, entry.status) or type not in (None, entry.workflow_type):
                continue
            count += 1
            push = heapq.heappush if len(newest) < limit else heapq.heappushpop
            push(newest, (entry.started_at, count, entry))
    entries = [entry for _, _, entry in sorted(newest, key=lambda item: item[:2], reverse=True)]
    if session.as_json:
        print_json([_listed(entry) for entry in entries])
        return
    made = table("ID", "TYPE", "STATUS", "QUEUE", "STARTED", "CLOSED")
    for entry in entries:
        made.add_row(
            Text(entry.workflow_id),
            Text(entry.workflow_type),
            status_text(entry.status.value, entry.blocked),
            Text(entry.task_queue),
            shown_age(to_datetime(entry.started_at)),
            shown_age(to_datetime(entry.closed_at)) if entry.closed_at else "",
        )
    if entries:
        print_table(made)
    err.print(f"{len(entries)} of {count} workflows", style="dim")


def _status(text: str | None) -> Status | None:
    if text is None:
        return None
    try:
        return Status(text.lower().replace("-", "_"))
    except ValueError as error:
        raise Refused(f"--status is one of {', '.join(Status)}, not {text!r}") from error


def _listed(entry: StateEntry) -> dict[str, Any]:
    return {
        "id": entry.workflow_id,
        "run_id": entry.run,
        "type": entry.workflow_type,
        "status": entry.status.value,
        "task_queue": entry.task_queue,
        "started_at": to_datetime(entry.started_at).isoformat() if entry.started_at else None,
        "closed_at": to_datetime(entry.closed_at).isoformat() if entry.closed_at else None,
        "blocked": entry.blocked or None,
    }


def _as_json(found: WorkflowExecutionDescription) -> dict[str, Any]:
    return {
        "id": found.id,
        "run_id": found.run_id,
        "type": found.workflow_type,
        "status": found.status.name.lower(),
        "task_queue": found.task_queue,
        "namespace": found.namespace,
        "started_at": found.start_time.isoformat(),
        "closed_at": found.close_time.isoformat() if found.close_time else None,
        "history_length": found.history_length,
        "blocked": found.blocked or None,
        "strikes": msgspec.to_builtins(found.strikes),
        "failure": msgspec.to_builtins(found.failure) if found.failure else None,
        "memo": dict(found.memo_values),
        "search_attributes": dict(found.search_attributes),
        "pending_activities": msgspec.to_builtins(found.pending_activities),
        "pending_timers": msgspec.to_builtins(found.pending_timers),
        "unhandled_signals": list(found.unhandled_signals),
        "workers": dict(found.workers),
    }


def _warnings(found: WorkflowExecutionDescription, schedulers: int) -> list[str]:
    """Why an open workflow may stand still."""
    if found.close_time is not None:
        return []
    said: list[str] = []
    if not schedulers:
        said.append(
            f"no scheduler serves task queue {found.task_queue!r}: start one with `perdure "
            f"scheduler --task-queue {found.task_queue} --import …`"
        )
    said.extend(
        f"no activity worker serves task queue {queue!r}: start one with `perdure worker "
        f"--task-queue {queue} --import …`"
        for queue, count in found.workers.items()
        if not count
    )
    if found.unhandled_signals:
        said.append(f"signals that no handler takes: {', '.join(found.unhandled_signals)}")
    return said


def _print_description(found: WorkflowExecutionDescription) -> None:
    facts = table("", "")
    facts.show_header = False
    status = found.status.name.lower()
    rows: list[tuple[str, str | Text]] = [
        ("id", found.id),
        ("run", found.run_id),
        ("type", found.workflow_type),
        ("status", status_text(status, found.blocked)),
        ("task queue", found.task_queue),
        ("started", f"{shown_time(found.start_time)} ({shown_age(found.start_time)})"),
    ]
    if found.close_time:
        rows.append(("closed", f"{shown_time(found.close_time)} ({shown_age(found.close_time)})"))
    if found.history_length:
        rows.append(("history", f"{found.history_length} events"))
    if found.blocked:
        rows.append(("blocked", found.blocked))
    for strike in found.strikes:
        seen = to_datetime(strike.at)
        rows.append(("strike", f"{shown_time(seen)} ({shown_age(seen)}): {strike.reason}"))
    if found.failure:
        rows.append(("failure", failure_line(msgspec.to_builtins(found.failure))))
    rows.extend((f"memo {name}", str(value)) for name, value in found.memo_values.items())
    rows.extend((name, str(value)) for name, value in found.search_attributes.items())
    for name, value in rows:
        facts.add_row(Text(name, style="bold"), Text(value) if isinstance(value, str) else value)
    print_table(facts)
    if found.strikes and found.strikes[-1].stack:
        out.print("\nwhere its code was at the last strike, innermost first", style="bold")
        out.print(found.strikes[-1].stack, markup=False)
    _print_pending(found)


def _print_pending(found: WorkflowExecutionDescription) -> None:
    if found.pending_activities:
        made = table("ACTIVITY", "TYPE", "QUEUE", "ATTEMPT", "SCHEDULED", "NEXT", "LAST FAILURE")
        for one in found.pending_activities:
            most = f"/{one.maximum_attempts}" if one.maximum_attempts else ""
            made.add_row(
                Text(one.activity_id),
                Text(one.activity_type),
                Text(one.task_queue),
                f"{one.attempt}{most}{' cancelling' if one.cancel_requested else ''}",
                shown_age(to_datetime(one.scheduled_at)) if one.scheduled_at else "",
                _due(one.next_attempt_at),
                Text(failure_line(msgspec.to_builtins(one.last_failure)))
                if one.last_failure
                else "",
            )
        out.print()
        print_table(made)
    if found.pending_timers:
        made = table("TIMER", "FOR", "DUE")
        for timer in found.pending_timers:
            due = shown_time(to_datetime(timer.due))
            made.add_row(str(timer.n), timer.purpose, f"{due} ({_due(timer.due)})")
        out.print()
        print_table(made)


def _due(instant: int) -> str:
    """How long until an instant; empty for none."""
    if not instant:
        return ""
    seconds = (to_datetime(instant) - datetime.now(UTC)).total_seconds()
    return f"in {shown_duration(seconds)}" if seconds > 0 else "due"


def _raw(found: WorkflowHistory) -> list[dict[str, Any]]:
    """Each record behind the events that it applied, as they lie in the log."""
    messages: list[dict[str, Any]] = []
    for turn in found.turns:
        messages.extend(
            {"sequence": e.seq, "timestamp": e.timestamp, "event": _stored(e.data)}
            for e in turn.events
        )
        stored = turn.stored
        messages.append(
            {
                "sequence": stored.seq,
                "timestamp": stored.timestamp,
                "record": msgspec.Raw(stored.data),
            }
        )
    return messages


def _stored(data: bytes) -> Any:
    """JSON as it stands, anything else as text."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return data.decode("utf-8", "replace")
    return msgspec.Raw(data)
