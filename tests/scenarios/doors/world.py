"""What the scenarios of the doors share: a store, an owner played by hand, and cut connections."""

import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from perdure.core.commands import (
    CancelWorkflow,
    Close,
    Command,
    CompleteWorkflow,
    FailWorkflow,
    TerminateWorkflow,
)
from perdure.core.events import Event, decode_event, identity
from perdure.core.failures import Failure
from perdure.core.records import Record, encode_record
from perdure.core.state import StateEntry, Status, decode_state, encode_state
from perdure.engine.history import encode_archive, load_history
from perdure.engine.starts import StartRequest
from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend

CLOSES: dict[Status, Close] = {
    Status.COMPLETED: CompleteWorkflow(result=msgspec.Raw(b'"paid"')),
    Status.FAILED: FailWorkflow(failure=Failure(message="it broke")),
    Status.CANCELED: CancelWorkflow(failure=Failure(message="no more", kind="canceled")),
    Status.TIMED_OUT: FailWorkflow(failure=Failure(message="too late", kind="timeout")),
    Status.TERMINATED: TerminateWorkflow(failure=Failure(message="ended", kind="terminated")),
}


def request(workflow_id: str = "order-1", name: str = "one", **changes: Any) -> StartRequest:
    return StartRequest(
        workflow_id=workflow_id,
        workflow_type=changes.pop("workflow_type", "Order"),
        request_id=name,
        requested_at=changes.pop("requested_at", 1_000),
        **changes,
    )


async def entry_of(backend: Backend, workflow_id: str = "order-1") -> tuple[StateEntry, int]:
    found = await backend.state.read(workflow_id)
    assert found is not None, f"no entry of {workflow_id}"
    return decode_state(found[0]), found[1]


async def events_of(
    backend: Backend, workflow_id: str = "order-1", queue: str = "default"
) -> list[Event]:
    stored = await backend.log.following(
        Address(queue, workflow_id), Lane.EXTERNAL, 0, limit=10_000
    )
    return [decode_event(message.data) for message in stored]


async def identities_of(backend: Backend, workflow_id: str = "order-1") -> list[str]:
    """As the core sees them: the second of an identity does not exist."""
    return list(dict.fromkeys(identity(event) for event in await events_of(backend, workflow_id)))


async def record(
    backend: Backend,
    workflow_id: str = "order-1",
    *,
    close: Status | None = None,
    commands: Sequence[Command] = (),
) -> int:
    """Commit the open run's next record, as its owner would; its sequence."""
    entry, _ = await entry_of(backend, workflow_id)
    address = Address(entry.task_queue, workflow_id)
    tip = await backend.log.tip(address)
    history = await load_history(backend, address, run=entry.run)
    named = history.named if history else set[int]()
    inbox = await backend.log.following(address, Lane.EXTERNAL, 0, limit=10_000)
    new = Record(
        run=entry.run,
        k=history.k + 1 if history else 0,
        applied=[message.seq for message in inbox if message.seq not in named],
        commands=[*commands, *([CLOSES[close]] if close else [])],
        trail=history.trail if history else [],
    )
    return await backend.log.commit(address, encode_record(new), after=tip.seq if tip else 0)


async def take_up(backend: Backend, workflow_id: str = "order-1") -> None:
    """What an owner's first record leaves in STATE: the start is no longer anybody's to finish."""
    entry, revision = await entry_of(backend, workflow_id)
    running = msgspec.structs.replace(entry, starting=None, k=0)
    await backend.state.update(workflow_id, encode_state(running), revision=revision)


async def report(backend: Backend, workflow_id: str, status: Status, closed_seq: int) -> None:
    """Bring STATE up to date, as the last effect of a close."""
    entry, revision = await entry_of(backend, workflow_id)
    command = CLOSES[status]
    closed = msgspec.structs.replace(
        entry,
        status=status,
        starting=None,
        k=0,
        closed_seq=closed_seq,
        closed_at=backend.clock.now(),
        result=command.result if isinstance(command, CompleteWorkflow) else None,
        failure=None if isinstance(command, CompleteWorkflow) else command.failure,
    )
    address = Address(entry.task_queue, workflow_id)
    history = await load_history(backend, address, run=entry.run)
    assert history is not None
    archived = encode_archive(address, backend.namespace, entry.run, history.all_turns)
    await backend.archive.put(workflow_id, entry.run, archived)
    await backend.state.update(workflow_id, encode_state(closed), revision=revision)


async def close(
    backend: Backend, workflow_id: str = "order-1", status: Status = Status.COMPLETED
) -> int:
    seq = await record(backend, workflow_id, close=status)
    await report(backend, workflow_id, status, seq)
    return seq


class Crash(BaseException):
    """The process died here."""


class Wire:
    """Counts calls to the ports, and may do something before or after one of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.before: Callable[[str, int], Awaitable[None]] | None = None
        self.after: Callable[[str, int], Awaitable[None]] | None = None

    def around(self, backend: Backend) -> Backend:
        ports = ("log", "state", "archive", "blobs", "dead_letters", "replies", "ingress")
        return dataclasses.replace(
            backend, **{name: _Tapped(getattr(backend, name), name, self) for name in ports}
        )

    async def call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        number = len(self.calls)
        self.calls.append(name)
        if self.before is not None:
            await self.before(name, number)
        try:
            return await operation()
        finally:
            # Also after a call that said no: a crash does not care.
            if self.after is not None:
                await self.after(name, number)


class _Tapped:
    """A port whose every call passes through a wire."""

    def __init__(self, port: Any, name: str, wire: Wire) -> None:
        self._port = port
        self._name = name
        self._wire = wire

    def __getattr__(self, attribute: str) -> Any:
        method = getattr(self._port, attribute)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._wire.call(
                f"{self._name}.{attribute}", lambda: method(*args, **kwargs)
            )

        return call


def failing_at(k: int, error: type[BaseException], *, done: bool) -> Wire:
    """A wire on which call ``k`` raises: after it was ``done``, or instead of it."""
    wire = Wire()

    async def fail(name: str, number: int) -> None:
        if number == k:
            raise error(f"call {k}, {name}")

    if done:
        wire.after = fail
    else:
        wire.before = fail
    return wire
