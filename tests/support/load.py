"""A load of workflows that arrive at a rate, whatever becomes of those before: an open loop, held
back only by how many may be under way.

What a request's receipt promised is written down, and nothing else: the judge compares it with what
the store holds at the end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from support.load_code import Parcel

from perdure.adapters.jetstream.link import ConnectOptions, Link, Message
from perdure.adapters.jetstream.subjects import Subjects
from perdure.client import Client
from perdure.common import WorkflowIDReusePolicy
from perdure.core.state import decode_state
from perdure.exceptions import (
    UnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowNotFoundError,
)
from perdure.ports.errors import PortError

_LETTERS = 2
_PAUSE = 0.2
_CATCH_UP = 0.25
_LOOK_EVERY = 3.0
_LONG = 6.0
"""Seconds after which a parcel's end is looked for: the notice of it may have been lost."""


@dataclass
class Life:
    """One workflow as its senders know it."""

    number: int
    workflow_id: str
    by_door: bool
    rest: int
    waits: bool
    letters: list[int] = field(default_factory=list[int])
    """Those with a receipt."""
    doubtful: list[int] = field(default_factory=list[int])
    """Those whose receipt never came."""
    goes: int = 0
    """How often it was told to go."""
    since: float = 0.0
    accepted: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


def life(number: int, name: str) -> Life:
    """Each tenth is of another kind."""
    kind = number % 10
    return Life(
        number=number,
        workflow_id=f"{name}-{number}",
        by_door=number % 2 == 0,
        rest=300 + 97 * (number % 23) if kind in (0, 1, 4) else 0,
        waits=kind in (2, 3, 4),
    )


@dataclass
class Sender:
    """One program's two ways to perdure: the client, and plain publishes with a message id."""

    client: Client
    link: Link


class Load:
    """Made by :func:`loading`."""

    def __init__(
        self, senders: Sequence[Sender], *, name: str, most: int, refusals: Counter[int]
    ) -> None:
        self.lives: list[Life] = []
        self.most = most
        self._senders = senders
        self._name = name
        self._subjects = Subjects("default")
        self._room = asyncio.Semaphore(most)
        self._open: dict[str, Life] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._failed: list[asyncio.Task[None]] = []
        self._letters = itertools.count(1)
        self.refusals = refusals
        """Errors of JetStream that the senders met, by number."""
        self.held_back = 0
        """Arrivals that had to wait because too many were under way."""

    @property
    def under_way(self) -> int:
        return len(self._working)

    async def arrive(self, *, rate: float, seconds: float) -> None:
        """Let workflows arrive for so long."""
        now = asyncio.get_running_loop().time
        due, end = now(), now() + seconds
        while now() < end:
            await asyncio.sleep(max(0.0, due - now()))
            self.held_back += self._room.locked()
            try:
                async with asyncio.timeout_at(end):
                    await self._room.acquire()
            except TimeoutError:
                return
            self._begin()
            # Those who would have come while there was no room stay away.
            due = max(due + 1 / rate, now() - _CATCH_UP)

    async def drain(self, *, seconds: float) -> None:
        """Wait for the end of everything, but no longer than so; see :attr:`late`."""
        if self._working:
            await asyncio.wait(set(self._working), timeout=seconds)
        for task in self._failed:
            task.result()

    @property
    def late(self) -> list[Life]:
        """Those that have not ended."""
        return [one for one in self.lives if not one.ended.is_set()]

    async def abandon(self) -> None:
        """Stop whatever is under way."""
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    # ---------------------------------------------------------------- one life

    def _begin(self) -> None:
        one = life(len(self.lives), self._name)
        self.lives.append(one)
        task = asyncio.get_running_loop().create_task(self._live(one), name=one.workflow_id)
        self._working.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self._room.release()
        if not task.cancelled() and task.exception() is not None:
            self._failed.append(task)

    async def _live(self, one: Life) -> None:
        sender = self._senders[one.number % len(self._senders)]
        one.since = asyncio.get_running_loop().time()
        self._open[one.workflow_id] = one
        try:
            if one.by_door:
                body = {"id": one.workflow_id, "args": [one.rest, one.waits]}
                subject = self._subjects.start("Parcel", one.workflow_id)
                await self._publish(sender, subject, body, f"start-{one.workflow_id}")
            else:
                await self._start(sender, one)
            one.accepted = True
            if one.waits:
                await self._write(sender, one)
            await one.ended.wait()
        finally:
            del self._open[one.workflow_id]

    async def _start(self, sender: Sender, one: Life) -> None:
        while True:
            try:
                await sender.client.start_workflow(
                    Parcel,
                    args=[one.rest, one.waits],
                    id=one.workflow_id,
                    task_queue="default",
                    # Each try is another request: one whose receipt never came may be over by now.
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                )
                return
            except WorkflowAlreadyStartedError:
                return
            except UnavailableError:
                await asyncio.sleep(_PAUSE)

    async def _write(self, sender: Sender, one: Life) -> None:
        """Letters until enough have a receipt, then the word to go until that has one."""
        while len(one.letters) < _LETTERS:
            number = next(self._letters)
            if await self._signal(sender, one, "letter", number):
                one.letters.append(number)
            else:
                one.doubtful.append(number)
                await asyncio.sleep(_PAUSE)
        while not one.ended.is_set():
            one.goes += 1
            if await self._signal(sender, one, "go", None):
                return
            await asyncio.sleep(_PAUSE)

    async def _signal(self, sender: Sender, one: Life, name: str, value: int | None) -> bool:
        """Whether there is a receipt."""
        if one.by_door:
            subject = self._subjects.signal(one.workflow_id, name)
            await self._publish(sender, subject, value, f"{name}-{one.workflow_id}-{value}")
            return True
        handle = sender.client.get_workflow_handle(one.workflow_id)
        try:
            await (handle.signal(name) if value is None else handle.signal(name, value))
        except UnavailableError:
            return False
        except WorkflowNotFoundError:
            assert name == "go" and one.goes > 1, f"{one.workflow_id} was refused {name}"
        return True

    async def _publish(self, sender: Sender, subject: str, value: object, key: str) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        while True:
            try:
                await sender.link.publish(subject, data, {"Nats-Msg-Id": key}, idempotent=True)
                return
            except PortError:
                await asyncio.sleep(_PAUSE)

    # ------------------------------------------------------------------- ends

    def noticed(self, message: Message) -> None:
        """A change of STATE was announced."""
        one = self._open.get(self._subjects.parse_state_notice(message.subject))
        if one is not None and not decode_state(message.data).is_open:
            one.ended.set()

    async def look(self) -> None:
        """Until cancelled: read STATE of those whose end should long have been announced."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            old = [one for one in self._open.values() if loop.time() - one.since > _LONG]
            for one in old:
                sender = self._senders[one.number % len(self._senders)]
                try:
                    found = await sender.client.backend.state.read(one.workflow_id)
                except PortError:
                    break
                if found is not None and not decode_state(found[0]).is_open:
                    one.ended.set()


@asynccontextmanager
async def loading(urls: Sequence[str], *, name: str, most: int) -> AsyncGenerator[Load]:
    """A load by one sender for each address; every sender may move to another node later."""
    async with AsyncExitStack() as stack:
        senders: list[Sender] = []
        refusals: Counter[int] = Counter()

        def count(number: int) -> None:
            refusals[number] += 1

        for url in urls:
            client = await Client.connect(url, reconnect_wait=0.1, on_refusal=count)
            await stack.enter_async_context(client)
            options = ConnectOptions(servers=(url,), reconnect_wait=0.1, on_refusal=count)
            link = await Link.connect(options)
            stack.push_async_callback(link.close)
            senders.append(Sender(client, link))
        load = Load(senders, name=name, most=most, refusals=refusals)
        for sender in senders:
            await sender.link.subscribe(f"{Subjects('default').base}_state.*", load.noticed)
        looking = asyncio.get_running_loop().create_task(load.look())
        try:
            yield load
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await load.abandon()
