"""The durable front door: requests that anyone published, offered to one drainer at a time."""

from collections.abc import Callable

from perdure.adapters.jetstream.door import Door
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.log import LEASE
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.clock import Clock
from perdure.ports.ingress import IngressDelivery
from perdure.ports.log import Subscription


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
        door = Door(
            self._link,
            self._subjects,
            on_request,
            credit=credit,
            lease=self._lease,
            clock=self._clock,
        )
        await door.open()
        return door

    async def settled(self) -> int:
        # The work queue drops what is acknowledged: what it still holds begins behind the answer.
        info = await self._link.api(f"STREAM.INFO.{self._subjects.ingress_stream}")
        return max(0, int(info["state"]["first_seq"]) - 1)
