"""The one connection of a process: supervised, pipelined, and never closed for good by itself.

nats-py reconnects by itself most of the time. When it gives up (a protocol error, an expired
credential, a dead reconnection task) the link builds a new client, subscribes again and goes on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Self

from nats.aio.subscription import Subscription as ClientSubscription
from nats.errors import Error as ClientError

from perdure.adapters.jetstream import reads
from perdure.adapters.jetstream.asking import Ack, Asking
from perdure.adapters.jetstream.connecting import open_client
from perdure.adapters.jetstream.errors import denied_subject
from perdure.adapters.jetstream.options import ConnectOptions
from perdure.adapters.jetstream.reads import RawMessage
from perdure.adapters.jetstream.standing import Standing
from perdure.adapters.jetstream.wire import Handler, Message, WireClient
from perdure.ports.errors import Unavailable

__all__ = ["Ack", "ConnectOptions", "Link", "LinkSubscription", "Message", "RawMessage"]

log = logging.getLogger("perdure.nats")

_ROUND_TRIP: Final = 2


class LinkSubscription:
    """A subscription that outlives the client it was made on."""

    def __init__(
        self, link: "Link", subject: str, handler: Handler, queue: str, *, brief: bool = False
    ) -> None:
        self._link = link
        self.brief = brief
        self.subject = subject
        self.handler = handler
        self.queue = queue
        self.number = 0
        self.client: WireClient | None = None
        self.on_client: ClientSubscription | None = None

    async def unsubscribe(self) -> None:
        """Stop; what the server sent before it heard of it is still handed over. Idempotent."""
        await self._link.unsubscribe(self)


class Link(Asking):
    """Publish, request, read and subscribe. Made by :meth:`connect`."""

    def __init__(self, options: ConnectOptions) -> None:
        super().__init__(options)
        self._answers = LinkSubscription(self, self._mux.subject, self._mux.receive, "")
        self._subscriptions: set[LinkSubscription] = set()
        self._hooks: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._rebuilding: asyncio.Task[None] | None = None
        self._inboxes = 0
        self._said: set[str] = set()
        """What went wrong since the connection was last made."""
        self.violations: list[str] = []
        """The last permissions violations, as the server worded them."""

    # ------------------------------------------------------------- lifecycle

    @classmethod
    async def connect(cls, options: ConnectOptions) -> Self:
        """A connected link. Raises Unavailable naming the servers when none answers in time, and
        ServerTooOld for one that lacks what perdure needs."""
        link = cls(options)
        link._client = await open_client(options, link, forever=options.wait_forever)
        try:
            await link._subscribe_on(link._client, link._answers)
        except ClientError as error:
            raise Unavailable(
                f"NATS at {options.addresses} closed the connection: {error}"
            ) from error
        if link._client.is_connected:
            link._ready.set()
        link._spawn(link._watch())
        return link

    @property
    def server_version(self) -> str:
        return self._client.version

    @property
    def server_name(self) -> str:
        """The server that the link is connected to now."""
        return self._client.server_name

    def on_reconnect(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` after each new connection; returns how to stop that."""
        self._hooks.append(hook)

        def remove() -> None:
            if hook in self._hooks:
                self._hooks.remove(hook)

        return remove

    async def close(self) -> None:
        """Send what is buffered, stop the subscriptions and close. Idempotent."""
        if self._closing:
            return
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        client = self._client
        if client.is_connected:
            await self._quietly(client.drain(), "draining the connection")
        if not client.is_closed:
            await self._quietly(client.close(), "closing the connection")
        self._ready.clear()
        self._mux.close()

    # --------------------------------------------------------------- reading

    async def direct_get(self, stream: str, seqs: Sequence[int]) -> list[RawMessage | None]:
        """Messages by sequence, pipelined, in the order asked; from any replica."""
        return await reads.direct_get(self, stream, seqs)

    async def last_message(self, stream: str, subject: str, *, leader: bool) -> RawMessage | None:
        """The newest message of a literal subject; ``leader``: linearizable on replicas too."""
        return await reads.last_message(self, stream, subject, leader=leader)

    async def batch_get(
        self, stream: str, body: Mapping[str, Any], *, timeout: float = 5.0
    ) -> list[RawMessage]:
        """All messages of one batched direct get (``batch``, ``next_by_subj``, ``multi_last``)."""
        return await reads.batch_get(self, stream, body, timeout=timeout)

    # ----------------------------------------------------------- subscribing

    async def subscribe(
        self, subject: str, on_message: Handler, queue: str = ""
    ) -> LinkSubscription:
        """Call ``on_message`` for every message, in order. It must not block; what it raises is
        logged. The subscription survives every loss of the connection.

        Returns once the server has it; while the connection is away at once, since the next one
        begins with it.
        """
        subscription = LinkSubscription(self, subject, on_message, queue)
        self._subscriptions.add(subscription)
        client = self._client
        if not client.is_closed:
            await self._subscribe_on(client, subscription)
            with contextlib.suppress(ClientError, OSError, TimeoutError):
                await client.round_trip(_ROUND_TRIP)
        return subscription

    def listen(self, subject: str, on_message: Handler) -> LinkSubscription:
        """As :meth:`subscribe`, but at once: the next answer to anything says that the server has
        it. For what lives short; ended by :meth:`forget`."""
        subscription = LinkSubscription(self, subject, on_message, "", brief=True)
        self._subscriptions.add(subscription)
        if not self._client.is_closed:
            self._listen_on(self._client, subscription)
        return subscription

    def forget(self, subscription: LinkSubscription) -> None:
        """End what :meth:`listen` began; what is on its way is dropped. Idempotent."""
        self._subscriptions.discard(subscription)
        client, subscription.client = subscription.client, None
        if client is not None and not client.is_closed:
            client.unlisten_now(subscription.number)

    async def unsubscribe(self, subscription: LinkSubscription) -> None:
        self._subscriptions.discard(subscription)
        on_client, subscription.on_client = subscription.on_client, None
        client = subscription.client
        if on_client is None or client is None:
            return
        with contextlib.suppress(ClientError, OSError, TimeoutError):
            if client.is_connected:
                await on_client.drain()
            elif not client.is_closed:
                await on_client.unsubscribe()
        client.unlisten(subscription.number)

    def new_inbox(self) -> str:
        """A subject below which only this caller listens."""
        self._inboxes += 1
        return f"{self.inbox}.i{self._inboxes}"

    async def _subscribe_on(self, client: WireClient, subscription: LinkSubscription) -> None:
        if subscription.client is client:
            return
        if subscription.brief:
            self._listen_on(client, subscription)
            return
        subscription.client = client
        subscription.number, subscription.on_client = await client.listen(
            subscription.subject, subscription.handler, subscription.queue
        )

    def _listen_on(self, client: WireClient, subscription: LinkSubscription) -> None:
        subscription.client = client
        subscription.number = client.listen_now(subscription.subject, subscription.handler)

    # ------------------------------------------------- what the client tells us

    def heard_down(self, client: WireClient) -> None:
        if client is self._client:
            self._ready.clear()
            self._mux.lose_all("the connection broke")

    def heard_up(self, client: WireClient) -> None:
        if client is self._client:
            self._announce_up()

    def heard_closed(self, client: WireClient) -> None:
        if client is self._client:
            self._start_rebuild()

    def heard_error(self, client: WireClient, error: Exception) -> None:
        subject = denied_subject(str(error))
        if subject is None:
            text = str(error) or repr(error)
            # While the server is away each try fails alike: one line says it.
            is_news = self.connected or text not in self._said
            level = logging.WARNING if is_news else logging.DEBUG
            self._said.add(text)
            log.log(level, "NATS at %s: %s", self.options.addresses, text)
            return
        self.violations = [*self.violations[-31:], str(error)]
        log.error("NATS refuses: %s", error)
        self._mux.deny(subject)

    def _announce_up(self) -> None:
        self._ready.set()
        if self._said:
            self._said.clear()
            log.info("NATS at %s answers again", self.options.addresses)
        for hook in list(self._hooks):
            try:
                hook()
            except Exception:
                log.exception("a reconnection hook raised")

    # ----------------------------------------------------------- supervision

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watch(self) -> None:
        """The client is also looked at: not every way in which it stops is told."""
        standing = Standing()
        while True:
            await asyncio.sleep(self.options.ping_interval)
            if self._client.stuck:
                self._start_rebuild()
            elif standing.is_lost(self.acknowledged, self.in_vain) and not self._client.alone:
                log.warning("%s takes nothing: moving to another server", self.server_name)
                await self._quietly(self._client.force_reconnect(), "leaving for another server")

    def _start_rebuild(self) -> None:
        if self._rebuilding is None and not self._closing:
            self._ready.clear()
            self._mux.lose_all("the client closed the connection")
            self._rebuilding = self._spawn(self._rebuild())

    async def _rebuild(self) -> None:
        where = self.options.addresses
        log.warning("the NATS client closed for good; connecting anew to %s", where)
        try:
            await self._close_quietly(self._client)
            while True:
                client = await open_client(self.options, self, forever=True)
                self._client = client
                try:
                    for subscription in (self._answers, *self._subscriptions):
                        await self._subscribe_on(client, subscription)
                except ClientError as error:
                    log.warning("lost the new connection at once: %r", error)
                    await self._close_quietly(client)
                    continue
                break
        finally:
            self._rebuilding = None
        if client.is_connected:
            log.info("connected anew to %s", where)
            self._announce_up()

    async def _close_quietly(self, client: WireClient) -> None:
        if not client.is_closed:
            await self._quietly(client.close(), "closing an old client")

    async def _quietly(self, ending: Coroutine[Any, Any, None], what: str) -> None:
        """As a task of its own: a client that ends while it reconnects lets out the cancellation of
        its own tasks, as if its caller had been cancelled."""
        task = asyncio.get_running_loop().create_task(ending)
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, Exception):
            log.warning("%s to %s: %r", what, self.options.addresses, outcome)
