"""What outsiders do to workflows, through client processes that die too, and what they were told.

A sender whose process dies makes its request again, with the same identity, from its next life.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from support.storm.deployment import Deployment
from support.storm.process import Process

from perdure.authoring.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.core.durations import SECOND
from perdure.core.errors import UnavailableError, WorkflowAlreadyStartedError
from perdure.core.events import WorkflowCancelRequested, WorkflowSignaled
from perdure.core.ids import run_id_for
from perdure.core.state import Status
from perdure.engine.delivery import Delivered, OutsideEvent, deliver
from perdure.engine.starts import StartRequest, start
from perdure.exceptions import WorkflowNotFoundError
from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError
from perdure.testing.faults import SimulatedCrash

_AGAIN = 1.0


@dataclass(frozen=True)
class Kind:
    """What outsiders have to do for a run, and how it may end."""

    letters: int = 0
    extra: int = 0
    cancelled: bool = False
    terminated: bool = False
    given_up: float = 0.0
    """Seconds after which somebody terminates it."""
    timeout: int = 0
    ends: frozenset[Status] = frozenset({Status.COMPLETED})


KINDS = {
    "Errand": Kind(letters=3),
    "Collector": Kind(letters=3, extra=4),
    "Chain": Kind(letters=3),
    "Careful": Kind(cancelled=True, ends=frozenset({Status.CANCELED})),
    "Doomed": Kind(terminated=True, ends=frozenset({Status.TERMINATED})),
    "Hasty": Kind(timeout=20, ends=frozenset({Status.TIMED_OUT})),
    "Patient": Kind(),
    "Polite": Kind(),
    "Brief": Kind(),
    "Instant": Kind(),
    "Hopeless": Kind(ends=frozenset({Status.FAILED})),
    "Forlorn": Kind(),
    "Bulky": Kind(),
    "Stranger": Kind(letters=3),
    "Turncoat": Kind(letters=3, given_up=90, ends=frozenset({Status.COMPLETED, Status.TERMINATED})),
}


@dataclass
class Letter:
    """A signal. ``run`` took it at ``seq``, as its sender was told; ``eid`` is its identity."""

    number: int
    eid: str
    run: str = ""
    seq: int = 0
    accepted: bool = False
    proper: bool = True


@dataclass
class Request:
    """Something put at the front door."""

    seq: int
    timestamp: int
    kind: str
    eid: str
    replies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@dataclass
class Story:
    """A run that somebody wanted, and what was done to it."""

    kind: str
    workflow_id: str
    queue: str
    request_id: str
    reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    conflict: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.UNSPECIFIED
    run: str = ""
    told: str = ""
    """What came of the start: new, existing, refused; or ``door`` with ``request``."""
    other_run: str = ""
    """The run that stood in its place."""
    request: Request | None = None
    letters: list[Letter] = field(default_factory=list[Letter])
    events: list[Request] = field(default_factory=list[Request])
    """What was put at the front door for it."""
    sights: list[Any] = field(default_factory=list[Any])
    """What somebody was shown of it."""

    @property
    def traits(self) -> Kind:
        return KINDS[self.kind]


class Senders:
    """Outsiders of a deployment: they ask until they have an answer."""

    def __init__(self, one: Deployment) -> None:
        self.one = one
        self._replies = 0

    async def insist[T](self, client: Process, do: Callable[[Backend, bool], Awaitable[T]]) -> T:
        """The answer of ``do(backend, again)``, from whichever life of ``client`` gets one."""
        again = False
        while True:
            life = client.life
            if life is not None:

                async def act(backend: Backend = client.part.backend, again: bool = again) -> T:
                    return await do(backend, again)

                task = asyncio.get_running_loop().create_task(act(), context=life.context)
                try:
                    return await task
                except (UnavailableError, PortError, SimulatedCrash):
                    again = True
            await asyncio.sleep(_AGAIN)

    # starts

    async def begin(self, story: Story, client: Process, draws: random.Random) -> bool:
        """Whether the run is the story's own."""
        if draws.random() < 0.35:
            return await self._begin_by_door(story)
        request = StartRequest(
            workflow_id=story.workflow_id,
            workflow_type=story.kind,
            args=[self.one.world.converter.to_payload(3)],
            task_queue=story.queue,
            request_id=story.request_id,
            requested_at=self.one.world.store.now,
            run_timeout=story.traits.timeout * SECOND,
            id_reuse_policy=story.reuse,
            id_conflict_policy=story.conflict,
        )
        try:
            outcome = await self.insist(client, lambda backend, _: start(backend, request))
        except WorkflowAlreadyStartedError as error:
            story.run, story.told, story.other_run = request.run, "refused", error.run_id or ""
            return False
        story.run, story.told = request.run, "new" if outcome.new else "existing"
        story.other_run = "" if outcome.new else outcome.run
        return outcome.new

    async def _begin_by_door(self, story: Story) -> bool:
        body: dict[str, Any] = {"id": story.workflow_id, "args": [3], "task_queue": story.queue}
        if story.traits.timeout:
            body["timeout"] = story.traits.timeout
        policy = story.conflict or story.reuse
        body["id_policy"] = {"FAIL": "allow_duplicate"}.get(policy.name, policy.name.lower())
        story.request = await self.put("start", (story.kind,), msgspec.json.encode(body))
        place = f"ingress:{story.request.seq}:{story.request.timestamp}"
        story.run, story.told = run_id_for(place, story.request.timestamp), "door"
        while True:
            if any(entry.run == story.run for entry in self.one.chronicle.state[story.workflow_id]):
                return True
            if self.is_settled(story.request):
                return False
            await asyncio.sleep(_AGAIN)

    # the front door, as anyone may use it

    async def put(self, kind: Any, tokens: tuple[str, ...], body: bytes) -> Request:
        store = self.one.world.store
        self._replies += 1
        address = f"reply-{self._replies}"
        replies: list[dict[str, Any]] = []
        await store.on_reply(address, lambda data, _: replies.append(msgspec.json.decode(data)))
        while True:
            try:
                seq = await store.request(kind, tokens, body, headers={"Perdure-Reply-To": address})
                break
            except PortError:
                await asyncio.sleep(_AGAIN)
        message = store._server.requests.get(seq)
        assert message is not None
        timestamp = message.stored.timestamp
        self.one.chronicle.tell("somebody", f"puts {kind} {tokens} at the door as #{seq}")
        return Request(seq, timestamp, kind, f"ingress:{seq}:{timestamp}", replies)

    def is_settled(self, request: Request) -> bool:
        return self.one.world.store._server.door.settled >= request.seq

    # events

    async def letter(
        self, story: Story, number: int, client: Process, draws: random.Random
    ) -> None:
        proper = number < story.traits.letters or draws.random() < 0.8
        value: Any = number if proper else "no number"
        if draws.random() < 0.25:
            body = msgspec.json.encode(value)
            request = await self.put("signal", (story.workflow_id, "post"), body)
            story.events.append(request)
            return
        letter = Letter(number, f"{story.request_id}:post:{number}", proper=proper)
        story.letters.append(letter)
        event = WorkflowSignaled(
            eid=letter.eid,
            name="post",
            args=[self.one.world.converter.to_payload(value)],
            run=story.run if draws.random() < 0.5 else "",
        )
        taken = await self.send(story, event, client, draws)
        if taken is not None:
            letter.run, letter.seq, letter.accepted = taken.run, taken.seq, True

    async def cancel(self, story: Story, client: Process, draws: random.Random) -> None:
        event = WorkflowCancelRequested(eid=f"{story.request_id}:cancel", run=story.run)
        await self.send(story, event, client, draws)

    async def send(
        self, story: Story, event: OutsideEvent, client: Process, draws: random.Random
    ) -> Delivered | None:
        """Who took it, if anyone; now and then it arrives twice, whatever the store does."""

        async def act(backend: Backend, again: bool) -> Delivered:
            return await deliver(backend, story.workflow_id, event, run=event.run, again=again)

        try:
            taken = await self.insist(client, act)
        except WorkflowNotFoundError:
            return None
        if draws.random() < 0.2:
            again = msgspec.structs.replace(event, run=taken.run)
            await self.append(story, msgspec.json.encode(again))
        return taken

    async def append(self, story: Story, data: bytes) -> None:
        """Into the inbox as it is, behind everybody's back."""
        log = self.one.world.client.log
        try:
            await log.append(Address(story.queue, story.workflow_id), Lane.EXTERNAL, data)
        except PortError:
            return


__all__ = ["KINDS", "Kind", "Letter", "Request", "Senders", "Story"]
