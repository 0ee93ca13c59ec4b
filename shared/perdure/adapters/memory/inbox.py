"""The inbox: the log's event lanes, by task queue and partition."""

from collections.abc import Callable

from perdure.adapters.memory.consumer import Delivered
from perdure.adapters.memory.server import LogSubject, Server
from perdure.adapters.memory.session import Session
from perdure.ports.addresses import Address, Lane
from perdure.ports.log import Delivery, Subscription


class InboxDelivery(Delivered[LogSubject]):
    @property
    def address(self) -> Address:
        return self._offer.source.subject[0]

    @property
    def lane(self) -> Lane:
        return self._offer.source.subject[1]


class MemoryInbox:
    def __init__(self, server: Server, session: Session) -> None:
        self._server = server
        self._session = session

    async def open(
        self,
        queue: str,
        partition: int,
        on_delivery: Callable[[Delivery], None],
        *,
        credit: int,
        reclaim: bool = False,
    ) -> Subscription:
        def opened() -> Subscription:
            consumer = self._server.inbox(queue, partition)
            if reclaim:
                consumer.end_leases()
            return consumer.open(
                self._session, lambda offer: on_delivery(InboxDelivery(offer)), credit=credit
            )

        return await self._session.call(opened)
