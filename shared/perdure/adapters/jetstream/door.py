"""Holding the front door: fenced by the consumer's name, in order through every reconnection.

Whoever opens deletes the consumer of whoever held the door and makes one under a name of its own.
The work queue admits no second one, and the earlier holder's pulls and acknowledgements address a
consumer that is gone. (Resetting a shared consumer instead leaves the earlier holder's pull
requests standing, and a holder that comes back from a pause would share the door again.)

What was on its way when a connection broke would come again only after its lease, later than what
follows it. So after a reconnection the holder starts over with a new consumer, which offers
everything unsettled in order; what is in hand stays in hand and is not handed over twice.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from perdure.adapters.jetstream.consumers import consumer_config, create_consumer
from perdure.adapters.jetstream.errors import Missing, err_code_of
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.pull import Held, Pull
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.wire import decode_headers
from perdure.core.durations import SECOND
from perdure.ports.addresses import Stored
from perdure.ports.clock import Clock
from perdure.ports.errors import PortError, Unavailable
from perdure.ports.ingress import IngressDelivery, RequestKind

log = logging.getLogger("perdure.nats")

_NOT_UNIQUE: Final = frozenset((10099, 10100))
_TRIES: Final = 20
_PAUSE: Final = 0.05
_COURTESY: Final = 0.5
"""Seconds that a holder whose consumer is gone leaves to whoever took over."""
_RETRY: Final = 1.0


class _Displaced(Exception):
    """Somebody else holds the door."""


class Request:
    """One request in hand, however often its connection changes."""

    def __init__(
        self, door: "Door", held: Held, subject: tuple[RequestKind, tuple[str, ...]]
    ) -> None:
        self._door = door
        self.held = held
        self.kind: RequestKind = subject[0]
        self.tokens = subject[1]
        self.attempt = held.attempt
        self.done = False
        self.heard_at = door.now()

    @property
    def headers(self) -> Mapping[str, str]:
        return decode_headers(self.held.head) if self.held.head else {}

    @property
    def message(self) -> Stored:
        return self.held.message

    def ack(self) -> None:
        self._door.settled(self)
        self.held.ack()

    def extend(self) -> None:
        self.heard_at = self._door.now()
        self.held.extend()

    def nak(self, delay: int = 0) -> None:
        self._door.dropped(self)
        self.held.nak(delay)

    def again(self) -> "Request":
        """The same request, offered once more."""
        offer = Request(self._door, self.held, (self.kind, self.tokens))
        offer.attempt = self.attempt + 1
        return offer


class Door:
    """One holding of the door, until it is closed or somebody else takes over."""

    def __init__(
        self,
        link: Link,
        subjects: Subjects,
        on_request: Callable[[IngressDelivery], None],
        *,
        credit: int,
        lease: int,
        clock: Clock | None,
    ) -> None:
        self._link = link
        self._subjects = subjects
        self._stream = subjects.ingress_stream
        self._on_request = on_request
        self._credit = credit
        self._lease = lease
        self._clock = clock
        self._name = ""
        self._in_hand: dict[int, Request] = {}
        self._wanted = 1
        self._generation = 0
        self._pull: Pull | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._reminding: asyncio.Task[None] | None = None
        self.now = asyncio.get_running_loop().time
        self._closed = False
        self._forget_hook: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """Take the door, whoever holds it. Raises Unavailable when others keep taking it."""
        for _ in range(_TRIES):
            for name in await self._holders():
                await self._remove(name)
            try:
                await self._claim()
                break
            except _Displaced:
                # Somebody takes over at the same moment: the last one has the door.
                await asyncio.sleep(_PAUSE)
        else:
            raise Unavailable(f"{self._stream}: others keep taking over; let one have the door")
        self._forget_hook = self._link.on_reconnect(self._start_over)
        try:
            await self._drain(self._wanted)
        except BaseException:
            self._forget_hook()
            raise
        self._reminding = _spawn(self._remind())

    async def close(self) -> None:
        """The consumer stays, for what is still to be settled; the next opener removes it."""
        self._closed = True
        self._forget_hook()
        for task in (self._renewing, self._reminding):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._pull is not None:
            await self._pull.close()

    # ------------------------------------------------------------- handing over

    def settled(self, request: Request) -> None:
        """Acknowledged; while the door is being taken anew the word would go nowhere, so it is
        said again when the request comes again."""
        request.done = True
        if self._generation == self._wanted:
            self._in_hand.pop(request.message.seq, None)

    def dropped(self, request: Request) -> None:
        self._in_hand.pop(request.message.seq, None)

    def _take(self, held: Held, generation: int) -> None:
        if generation != self._wanted:
            # It comes again, in order, from the consumer to be.
            return
        known = self._in_hand.get(held.seq)
        if known is not None:
            known.held = held
            if known.done:
                known.ack()
            return
        subject = self._subjects.parse_ingress(held.raw_subject.decode())
        request = self._in_hand[held.seq] = Request(self, held, subject)
        self._on_request(request)

    async def _remind(self) -> None:
        """Offer again what nobody said a word about for a lease: the pull below takes the server's
        own second offer for one that is in hand."""
        lease = self._lease / SECOND
        while True:
            await asyncio.sleep(lease / 4)
            silent = [
                request
                for request in self._in_hand.values()
                if not request.done and self.now() - request.heard_at > lease
            ]
            for request in sorted(silent, key=lambda request: request.message.seq):
                again = self._in_hand[request.message.seq] = request.again()
                try:
                    self._on_request(again)
                except Exception:
                    log.exception("%s: the receiver of a request raised", self._stream)

    # ------------------------------------------------------------- the consumer

    async def _drain(self, generation: int) -> None:
        """Pull from the claimed consumer as this generation."""

        def take(held: Held) -> None:
            self._take(held, generation)

        async def ensure() -> None:
            # At the start it was just made; later, the pull asks because it is gone.
            if self._generation == generation:
                self._start_over(gone=True)
                await asyncio.Event().wait()

        pull = Pull(
            self._link,
            self._stream,
            self._name,
            take,
            credit=self._credit,
            ensure=ensure,
            clock=self._clock,
        )
        self._pull = await pull.start()
        self._generation = generation

    async def _claim(self) -> None:
        """Make a consumer of our own. Raises _Displaced when there is one already."""
        # Noted first: an answer may get lost, and what was made must be ours to remove.
        self._name = f"{self._subjects.ingress_consumer}-{secrets.token_hex(6)}"
        config = consumer_config(self._name, self._subjects.ingress_requests, self._lease)
        try:
            await create_consumer(self._link, self._stream, config)
        except PortError as error:
            if err_code_of(error) not in _NOT_UNIQUE:
                raise
            raise _Displaced from error

    async def _holders(self) -> list[str]:
        answer = await self._link.api(f"CONSUMER.NAMES.{self._stream}")
        names: list[str] = answer.get("consumers") or []
        return [name for name in names if name.startswith(self._subjects.ingress_consumer)]

    async def _remove(self, name: str) -> bool:
        try:
            await self._link.api(f"CONSUMER.DELETE.{self._stream}.{name}")
        except Missing:
            return False
        return True

    # ------------------------------------------------------------- starting over

    def _start_over(self, *, gone: bool = False) -> None:
        """From this moment nothing of the old consumer is handed over."""
        if self._closed:
            return
        self._wanted += 1
        if self._renewing is None or self._renewing.done():
            self._renewing = _spawn(self._renew(gone))

    async def _renew(self, gone: bool) -> None:
        while self._generation != self._wanted:
            generation = self._wanted
            try:
                if self._pull is not None:
                    await self._pull.close()
                if gone or not await self._remove(self._name):
                    await asyncio.sleep(_COURTESY)
                await self._claim()
                gone = False
                await self._drain(generation)
            except _Displaced:
                log.info("%s: %s gives way to another drainer", self._stream, self._name)
                self._closed = True
                self._forget_hook()
                if self._reminding is not None:
                    self._reminding.cancel()
                return
            except PortError as error:
                log.warning("%s: taking the door anew: %s", self._stream, error)
                await asyncio.sleep(_RETRY)


def _spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work)
