"""Plain NATS subscriptions as the ports know them."""

from perdure.adapters.jetstream.link import LinkSubscription


class Listening:
    """A subscription without anything buffered or leased: closing is unsubscribing."""

    def __init__(self, subscription: LinkSubscription) -> None:
        self._subscription = subscription

    async def close(self) -> None:
        await self._subscription.unsubscribe()
