"""Words between processes: core NATS requests and broadcasts. Nothing here is stored."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from perdure.adapters.jetstream.link import Link, Message
from perdure.adapters.jetstream.listening import Listening
from perdure.adapters.jetstream.subjects import Subjects
from perdure.core.durations import SECOND
from perdure.ports.errors import PortError, Unavailable
from perdure.ports.log import Subscription

log = logging.getLogger("perdure.nats")

_QUEUE: Final = "answer"
_ERROR: Final = "Nats-Service-Error"
_ERROR_CODE: Final = "Nats-Service-Error-Code"


class JetStreamMessages:
    """Those who answer one topic form a queue group: each question reaches one of them."""

    def __init__(self, link: Link, subjects: Subjects) -> None:
        self._link = link
        self._subjects = subjects

    async def ask(self, topic: tuple[str, ...], data: bytes, *, timeout: int) -> bytes:
        subject = self._subjects.message(topic)
        answer = await self._link.request(subject, data, timeout=timeout / SECOND)
        if answer.head:
            complaint = answer.headers.get(_ERROR)
            if complaint is not None:
                raise Unavailable(f"whoever answers {subject} could not: {complaint}")
        return answer.data

    async def answer(
        self, topic: tuple[str, ...], handler: Callable[[bytes], Awaitable[bytes]]
    ) -> Subscription:
        answering = _Answering(self._link, handler)
        subject = self._subjects.message(topic)
        answering.listening = Listening(
            await self._link.subscribe(subject, answering.take, queue=_QUEUE)
        )
        return answering

    async def tell(self, topic: tuple[str, ...], data: bytes) -> None:
        self._link.send(self._subjects.message(topic), data)

    async def listen(
        self, topic: tuple[str, ...], on_word: Callable[[bytes], None]
    ) -> Subscription:
        def forward(message: Message) -> None:
            on_word(message.data)

        return Listening(await self._link.subscribe(self._subjects.message(topic), forward))


class _Answering:
    """Questions in work. A slow answer holds up no other question."""

    def __init__(self, link: Link, handler: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._link = link
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self.listening: Listening | None = None

    def take(self, message: Message) -> None:
        task = asyncio.get_running_loop().create_task(self._respond(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, message: Message) -> None:
        reply = message.reply
        if not reply:
            return
        try:
            try:
                self._link.send(reply, await self._handler(message.data))
            except Exception as error:  # noqa: BLE001 - whatever it is, the asker should not wait
                text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
                self._link.send(reply, b"", {_ERROR: text, _ERROR_CODE: "500"})
        except (PortError, ValueError) as error:
            log.warning("an answer on %s could not be sent: %s", message.subject, error)

    async def close(self) -> None:
        """Take no more questions; those in work are still answered."""
        if self.listening is not None:
            await self.listening.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
