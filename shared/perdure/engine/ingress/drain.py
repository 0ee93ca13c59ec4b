"""Draining the durable front door: what anyone published becomes a start or an event.

One gateway at a time drains, chosen among those alive; the others stand by. That keeps the order
per workflow id; that nothing is lost or done twice rests on the requests' identities alone.
"""

import asyncio
import contextlib
import hashlib
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Final, Self

import msgspec

from perdure.core.durations import SECOND
from perdure.engine.admission import Admission
from perdure.engine.ingress.desk import Desk
from perdure.engine.ingress.lanes import Lanes
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError
from perdure.ports.log import Subscription

GROUP: Final = ("gateway",)
_BEAT: Final = 2.0
_LIFETIME: Final = 6 * SECOND
"""A drainer that dies is followed by another within this and two beats."""

_logger = logging.getLogger("perdure.ingress")


class _Word(msgspec.Struct, frozen=True):
    """What a drainer says of itself: whether it holds the door."""

    drains: bool


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Word)


class IngressDrain:
    """One gateway's part in draining the front door of ``backend``'s namespace.

    ``task_queue`` is where starts go that name none; ``patience`` how many seconds an event waits
    for its workflow id to appear; ``credit`` how many requests are in hand at once. ``on_outcome``
    is told the kind of each request and what came of it, in one word.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        member: str | None = None,
        task_queue: str = "default",
        patience: float = 60.0,
        credit: int = 4_096,
        on_outcome: Callable[[str, str], None] | None = None,
    ) -> None:
        self._backend = backend
        self._member = member or uuid.uuid4().hex
        self._task_queue = task_queue
        self._patience = patience
        self._credit = credit
        self._on_outcome = on_outcome
        self._admission = Admission(backend)
        self._turns: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._said_at = 0.0
        self._subscription: Subscription | None = None
        self._desk: Desk | None = None

    @property
    def is_draining(self) -> bool:
        """Whether this gateway is the one that drains."""
        return self._subscription is not None

    async def start(self) -> None:
        """Stand by, and drain when it is this gateway's turn."""
        if self._turns is None:
            self._stopping.clear()
            self._turns = asyncio.get_running_loop().create_task(
                self._take_turns(), name=f"ingress-{self._member}"
            )

    async def stop(self) -> None:
        """Hand the door over: what is in hand is offered to the next drainer at once."""
        turns, self._turns = self._turns, None
        if turns is None:
            return
        # Not cancelled: a door that is just being opened would be left open.
        self._stopping.set()
        await turns
        await self._close_door()
        with contextlib.suppress(PortError):
            await self._backend.members.leave(GROUP, self._member)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _take_turns(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._take_turn()
            except PortError as error:
                # Whoever holds the door goes on: only the membership is unknown for now.
                _logger.warning("ingress drainer %s: %s", self._member, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BEAT):
                    await self._stopping.wait()

    async def _take_turn(self) -> None:
        loop = asyncio.get_running_loop()
        was_thought_gone = loop.time() - self._said_at > _LIFETIME / SECOND
        said_at = loop.time()
        await self._beat(drains=self.is_draining)
        self._said_at = said_at
        drainers = _drainers(await self._backend.members.list(GROUP))
        others = any(word.drains for name, word in drainers.items() if name != self._member)
        if self.is_draining and (was_thought_gone or others):
            # Whoever stood still for so long was followed, and gets nothing through this door.
            _logger.info("ingress drainer %s opens the door anew", self._member)
            await self._close_door()
            await self._beat(drains=False)
        if _first(drainers) != self._member:
            if self.is_draining:
                _logger.info("ingress drainer %s hands over", self._member)
                await self._close_door()
                await self._beat(drains=False)
            return
        if self._desk is not None and self._desk.has_parked and not await self._admission.refusal():
            _logger.info("ingress drainer %s goes on with the starts that waited", self._member)
            await self._close_door()
        # Whoever drains now has seen this one step in, or will, or is gone: two at once would cost
        # the order of an id's requests.
        if not self.is_draining and not others:
            await self._open_door()

    async def _beat(self, *, drains: bool) -> None:
        word = _encoder.encode(_Word(drains=drains))
        await self._backend.members.beat(GROUP, self._member, word, ttl=_LIFETIME)

    async def _open_door(self) -> None:
        # Said before it is done: one that steps in meanwhile waits.
        await self._beat(drains=True)
        desk = Desk(
            self._backend,
            task_queue=self._task_queue,
            patience=self._patience,
            admission=self._admission,
            on_outcome=self._on_outcome,
        )
        lanes = Lanes(desk.read, desk.handle, lease=self._backend.lease)
        desk.attach(lanes)
        self._subscription = await self._backend.ingress.open(lanes.offer, credit=self._credit)
        self._desk = desk
        _logger.info("ingress drainer %s opened the door", self._member)

    async def _close_door(self) -> None:
        subscription, self._subscription = self._subscription, None
        desk, self._desk = self._desk, None
        if subscription is not None:
            with contextlib.suppress(PortError):
                await subscription.close()
        if desk is not None:
            await desk.close()


def _drainers(members: Mapping[str, bytes]) -> dict[str, _Word]:
    """The drainers among the members; others of the group say other things."""
    found: dict[str, _Word] = {}
    for key, data in members.items():
        with contextlib.suppress(msgspec.DecodeError):
            found[key.rpartition("/")[2]] = _decoder.decode(data)
    return found


def _first(drainers: Mapping[str, _Word]) -> str:
    """The one whose turn it is, the same for everybody who sees the same drainers."""
    return max(drainers, key=rank, default="")


def rank(member: str) -> bytes:
    """The drainer of highest rank drains."""
    return hashlib.blake2b(f"ingress:{member}".encode(), digest_size=8).digest()
