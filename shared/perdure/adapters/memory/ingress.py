"""The front door: requests in the order they came, to one drainer at a time."""

from collections.abc import Callable, Mapping

from perdure.adapters.memory.consumer import ConsumerSubscription, Delivered
from perdure.adapters.memory.server import RequestSubject, Server
from perdure.adapters.memory.session import Session
from perdure.ports.ingress import IngressDelivery, RequestKind
from perdure.ports.log import Subscription


class MemoryIngressDelivery(Delivered[RequestSubject]):
    @property
    def kind(self) -> RequestKind:
        return self._offer.source.subject[0]

    @property
    def tokens(self) -> tuple[str, ...]:
        return self._offer.source.subject[1]

    @property
    def headers(self) -> Mapping[str, str]:
        return self._offer.source.headers


class MemoryIngress:
    def __init__(self, server: Server, session: Session) -> None:
        self._door = server.door
        self._session = session

    async def open(
        self, on_request: Callable[[IngressDelivery], None], *, credit: int
    ) -> Subscription:
        def take_over() -> ConsumerSubscription[RequestSubject]:
            self._door.take_over()
            return self._door.open(
                self._session,
                lambda offer: on_request(MemoryIngressDelivery(offer)),
                credit=credit,
            )

        return await self._session.call(take_over)

    async def settled(self) -> int:
        return await self._session.call(lambda: self._door.settled)
