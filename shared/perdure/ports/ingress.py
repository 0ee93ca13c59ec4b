"""The durable front door: requests that anyone published to the public subjects."""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from perdure.ports.addresses import Stored
from perdure.ports.log import Subscription

RequestKind = Literal["start", "signal", "cancel"]


class IngressDelivery(Protocol):
    """A request as published: the decoded subject tokens after the kind, its headers, its bytes."""

    @property
    def kind(self) -> RequestKind: ...
    @property
    def tokens(self) -> tuple[str, ...]:
        """As published: start: type[, id]; signal: id, name; cancel: id. Not yet decoded."""
        ...

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def message(self) -> Stored: ...
    @property
    def attempt(self) -> int: ...

    def ack(self) -> None: ...
    def extend(self) -> None: ...
    def nak(self, delay: int = 0) -> None: ...


class Ingress(Protocol):
    async def open(
        self, on_request: Callable[[IngressDelivery], None], *, credit: int
    ) -> Subscription:
        """Take over the door: every request that is not settled is offered, oldest first, whoever
        held it before; then new ones as they come."""
        ...

    async def settled(self) -> int:
        """Every request up to this sequence is settled."""
        ...
