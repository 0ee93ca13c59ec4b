"""The durable front door: one drainer at a time, each id's requests in the order they came.

Whoever opens deletes the consumer of whoever held the door, and makes one under a name of its own.
The work queue admits no second one, and the earlier holder's pulls and acknowledgements address a
consumer that is gone. (Resetting a shared consumer instead leaves the earlier holder's pull
requests standing, and a holder that comes back from a pause would share the door again.)
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

from perdure.adapters.jetstream.consumers import consumer_config, create_consumer
from perdure.adapters.jetstream.errors import Missing, err_code_of
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.log import LEASE
from perdure.adapters.jetstream.pull import Held, Pull
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.wire import decode_headers
from perdure.core.durations import SECOND
from perdure.ports.clock import Clock
from perdure.ports.errors import AlreadyExists, PortError, Unavailable
from perdure.ports.ingress import IngressDelivery, RequestKind
from perdure.ports.log import Subscription

log = logging.getLogger("perdure.nats")

_NOT_UNIQUE: Final = frozenset((10099, 10100))
_TRIES: Final = 20
_PAUSE: Final = 0.05


class IngressHeld(Held):
    """A request as published."""

    subjects: Subjects

    @cached_property
    def _parsed(self) -> tuple[RequestKind, tuple[str, ...]]:
        return self.subjects.parse_ingress(self.raw_subject.decode())

    @property
    def kind(self) -> RequestKind:
        return self._parsed[0]

    @property
    def tokens(self) -> tuple[str, ...]:
        return self._parsed[1]

    @cached_property
    def headers(self) -> Mapping[str, str]:
        return decode_headers(self.head) if self.head else {}


class JetStreamIngress:
    """The Ingress port."""

    def __init__(
        self, link: Link, subjects: Subjects, *, lease: int = LEASE, clock: Clock | None = None
    ) -> None:
        self._link = link
        self._subjects = subjects
        self._lease = lease
        self._clock = clock

    async def open(
        self, on_request: Callable[[IngressDelivery], None], *, credit: int
    ) -> Subscription:
        door = _Door(self._link, self._subjects, on_request, credit, self._lease, self._clock)
        await door.open()
        return door

    async def settled(self) -> int:
        # The work queue drops what is acknowledged: what it still holds begins behind the answer.
        info = await self._link.api(f"STREAM.INFO.{self._subjects.ingress_stream}")
        return max(0, int(info["state"]["first_seq"]) - 1)


class _Door:
    """One taking-over, until it is closed or somebody else takes over."""

    def __init__(
        self,
        link: Link,
        subjects: Subjects,
        on_request: Callable[[IngressDelivery], None],
        credit: int,
        lease: int,
        clock: Clock | None,
    ) -> None:
        self._link = link
        self._stream = subjects.ingress_stream
        self._family = subjects.ingress_consumer
        self._name = f"{self._family}-{secrets.token_hex(6)}"
        self._config = consumer_config(self._name, subjects.ingress_requests, lease)
        self._on_request = on_request
        self._in_order = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._forget_hook: Callable[[], None] = lambda: None
        self._pull = Pull(
            link,
            self._stream,
            self._name,
            self._hand_over,
            credit=credit,
            ensure=self._ensure,
            kind=type("BoundIngressHeld", (IngressHeld,), {"subjects": subjects}),
            clock=clock,
        )

    async def open(self) -> None:
        await self._take_over()
        self._forget_hook = self._link.on_reconnect(self._restore_order)
        try:
            await self._pull.start()
        except BaseException:
            self._forget_hook()
            raise

    async def close(self) -> None:
        """The consumer stays, for what is still to be settled; the next opener removes it."""
        self._forget_hook()
        await self._pull.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hand_over(self, held: IngressHeld) -> None:
        if self._in_order:
            self._on_request(held)
        else:
            held.nak(SECOND)

    # --------------------------------------------------------------- taking over

    async def _take_over(self) -> None:
        for _ in range(_TRIES):
            for name in await self._holders():
                await self._remove(name)
            try:
                await create_consumer(self._link, self._stream, self._config)
            except AlreadyExists:
                return
            except PortError as error:
                if err_code_of(error) not in _NOT_UNIQUE:
                    raise
                # Somebody takes over at the same moment: the last one has the door.
                await asyncio.sleep(_PAUSE)
            else:
                return
        raise Unavailable(
            f"{self._stream}: others keep taking over the door; let one of them have it"
        )

    async def _holders(self) -> list[str]:
        answer = await self._link.api(f"CONSUMER.NAMES.{self._stream}")
        names: list[str] = answer.get("consumers") or []
        return [name for name in names if name.startswith(self._family)]

    async def _remove(self, name: str) -> None:
        try:
            await self._link.api(f"CONSUMER.DELETE.{self._stream}.{name}")
        except Missing:
            return

    async def _ensure(self) -> None:
        """Called at the start, and whenever the server says that the consumer is gone."""
        try:
            await self._link.api(f"CONSUMER.INFO.{self._stream}.{self._name}")
        except Missing:
            if await self._holders():
                log.info("%s: %s gives way to another drainer", self._stream, self._name)
                self._spawn(self.close())
                await asyncio.Event().wait()
            # Nobody took over, somebody tidied up: the door is still ours.
            await self._take_over()

    # --------------------------------------------------------------- reconnecting

    def _restore_order(self) -> None:
        """What was on its way when the connection broke comes again only after its lease, later
        than what follows it. So nothing is handed over until the consumer starts anew from its
        floor; what is in hand stays in hand."""
        self._in_order = False
        self._spawn(self._reset())

    async def _reset(self) -> None:
        while True:
            try:
                await self._link.api(f"CONSUMER.RESET.{self._stream}.{self._name}", {})
            except Missing:
                # The pull finds out by itself, and calls `_ensure`.
                break
            except PortError as error:
                log.warning("%s: starting anew from the floor: %s", self._name, error)
                await asyncio.sleep(1)
            else:
                break
        self._in_order = True

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
