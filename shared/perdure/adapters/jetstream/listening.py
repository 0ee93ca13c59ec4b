"""Plain NATS subscriptions as the ports know them."""

from perdure.adapters.jetstream.link import Link, LinkSubscription
from perdure.adapters.jetstream.wire import Handler


class Listening:
    """A subscription without anything buffered or leased: closing is unsubscribing."""

    def __init__(self, subscription: LinkSubscription) -> None:
        self._subscription = subscription

    async def close(self) -> None:
        await self._subscription.unsubscribe()


class Notices:
    """A subscription that begins and ends without waiting for the server."""

    def __init__(self, link: Link, subject: str, on_message: Handler) -> None:
        self._link = link
        self._subscription = link.listen(subject, on_message)

    async def close(self) -> None:
        self._link.forget(self._subscription)
