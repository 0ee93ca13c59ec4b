"""``start``, ``signal``, ``cancel``, ``terminate``, ``query``, ``result``."""

import uuid
from datetime import timedelta
from typing import Annotated, Any

import typer

from perdure.client import WorkflowHandle, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure_services._shell.durations import parse_duration
from perdure_services._shell.errors import Refused
from perdure_services.cli.commands import Session, command
from perdure_services.cli.output import err, out, print_json
from perdure_services.cli.values import read_arguments, read_json

Id = Annotated[str, typer.Argument(help="The workflow's id.")]
Run = Annotated[str | None, typer.Option("--run", help="A run of the id; else the current one.")]
Timeout = Annotated[str | None, typer.Option("--timeout", help="How long to wait: 90s, 5m.")]
Reason = Annotated[str, typer.Option("--reason", help="Why.")]

_POLICIES: dict[str, tuple[WorkflowIDReusePolicy, WorkflowIDConflictPolicy]] = {
    "allow_duplicate": (WorkflowIDReusePolicy.ALLOW_DUPLICATE, WorkflowIDConflictPolicy.FAIL),
    "allow_duplicate_failed_only": (
        WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        WorkflowIDConflictPolicy.FAIL,
    ),
    "reject_duplicate": (WorkflowIDReusePolicy.REJECT_DUPLICATE, WorkflowIDConflictPolicy.FAIL),
    "use_existing": (
        WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        WorkflowIDConflictPolicy.USE_EXISTING,
    ),
    "terminate_existing": (
        WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        WorkflowIDConflictPolicy.TERMINATE_EXISTING,
    ),
}


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    for function in (start, signal, cancel, terminate, query, result):
        command(app)(function)


async def start(
    session: Session,
    type: Annotated[str, typer.Argument(help="The workflow's type.", metavar="TYPE")],
    *,
    id: Annotated[str | None, typer.Option("--id", help="Its id; else one is made.")] = None,
    input: Annotated[
        str | None, typer.Option("--input", "-i", help="JSON: an argument, or a list of them.")
    ] = None,
    args: Annotated[str | None, typer.Option("--args", help="JSON list of arguments.")] = None,
    task_queue: Annotated[str, typer.Option("--task-queue", "-q")] = "default",
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="How long the workflow may take: 90s, 2d.")
    ] = None,
    id_policy: Annotated[
        str, typer.Option("--id-policy", help=f"If the id was used: {', '.join(_POLICIES)}.")
    ] = "allow_duplicate",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for its result.")] = False,
) -> None:
    """Start a workflow; prints its id once it is durable."""
    if id_policy not in _POLICIES:
        raise Refused(f"--id-policy is one of {', '.join(_POLICIES)}, not {id_policy!r}")
    reuse, conflict = _POLICIES[id_policy]
    arguments = read_arguments(input, args)
    async with session.client() as client:
        handle = await client.start_workflow(
            type,
            args=arguments,
            id=id or f"{type}-{uuid.uuid4().hex[:12]}",
            task_queue=task_queue,
            execution_timeout=_duration(timeout),
            id_reuse_policy=reuse,
            id_conflict_policy=conflict,
        )
        if not wait:
            if session.as_json:
                print_json({"id": handle.id, "run_id": handle.run_id})
            else:
                out.print(handle.id, markup=False)
                err.print(f"started {type}, run {handle.run_id}", style="dim", markup=False)
            return
        err.print(f"started {type}: {handle.id}", style="dim", markup=False)
        print_json(await _awaited(handle, None))


async def signal(
    session: Session,
    id: Id,
    name: Annotated[str, typer.Argument(help="The signal's name.")],
    value: Annotated[str | None, typer.Argument(help="JSON: its argument.")] = None,
    *,
    args: Annotated[str | None, typer.Option("--args", help="JSON list of arguments.")] = None,
    run: Run = None,
) -> None:
    """Send a signal; returns once the workflow is sure to get it."""
    arguments = _arguments(value, args)
    async with session.client() as client:
        await client.get_workflow_handle(id, run_id=run).signal(name, args=arguments)
    _done(session, id, f"signaled {name}")


async def cancel(session: Session, id: Id, *, reason: Reason = "", run: Run = None) -> None:
    """Ask a workflow to end; its code may clean up first, or refuse."""
    async with session.client() as client:
        await client.get_workflow_handle(id, run_id=run).cancel(reason)
    _done(session, id, "cancel requested")


async def terminate(session: Session, id: Id, *, reason: Reason = "", run: Run = None) -> None:
    """End a workflow here and now; its code is not asked."""
    async with session.client() as client:
        await client.get_workflow_handle(id, run_id=run).terminate(reason=reason)
    _done(session, id, "terminate requested")


async def query(
    session: Session,
    id: Id,
    name: Annotated[str, typer.Argument(help="The query's name; `status` is always there.")],
    value: Annotated[str | None, typer.Argument(help="JSON: its argument.")] = None,
    *,
    args: Annotated[str | None, typer.Option("--args", help="JSON list of arguments.")] = None,
    run: Run = None,
    timeout: Timeout = None,
) -> None:
    """Ask a workflow; prints the answer as JSON."""
    arguments = _arguments(value, args)
    async with session.client() as client:
        handle = client.get_workflow_handle(id, run_id=run)
        print_json(await handle.query(name, args=arguments, rpc_timeout=_duration(timeout)))


async def result(session: Session, id: Id, *, run: Run = None, timeout: Timeout = None) -> None:
    """Wait for a workflow's end; prints its result as JSON."""
    async with session.client() as client:
        handle = client.get_workflow_handle(id, run_id=run)
        print_json(await _awaited(handle, _duration(timeout)))


async def _awaited(handle: WorkflowHandle[Any, Any], timeout: timedelta | None) -> Any:
    if not err.is_terminal:
        return await handle.result(timeout)
    with err.status(f"waiting for {handle.id}"):
        return await handle.result(timeout)


def _arguments(value: str | None, args: str | None) -> list[Any]:
    if value is not None and args is not None:
        raise Refused("give one JSON value or --args, not both")
    return [read_json(value, "the argument")] if value is not None else read_arguments(None, args)


def _duration(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise Refused(str(error)) from error


def _done(session: Session, id: str, what: str) -> None:
    if session.as_json:
        print_json({"id": id, "status": what.split()[0]})
    else:
        out.print(f"{id}: {what}", markup=False)
