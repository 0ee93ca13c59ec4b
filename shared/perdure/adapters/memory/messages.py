"""Questions and hints between processes; nothing of it survives."""

import asyncio
from collections.abc import Awaitable, Callable

from perdure.adapters.memory.server import Question, Server
from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream import copied
from perdure.ports.errors import Unavailable
from perdure.ports.log import Subscription


class MemoryMessages:
    def __init__(self, server: Server, session: Session) -> None:
        self._asked = server.asked
        self._told = server.told
        self._session = session
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, topic: tuple[str, ...], data: bytes, *, timeout: int) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        question = Question(copied(data), answer)

        def send() -> None:
            present = self._asked.present(tuple(topic))
            if not present:
                raise Unavailable(f"nobody answers {topic}")
            self._asked.send(present[0], question)

        await self._session.call(send)
        try:
            return await asyncio.wait_for(answer, timeout / 1e9)
        except TimeoutError as error:
            raise Unavailable(f"no answer to {topic} within {timeout / 1e9:g} s") from error

    async def answer(
        self, topic: tuple[str, ...], handler: Callable[[bytes], Awaitable[bytes]]
    ) -> Subscription:
        def on_question(question: Question) -> None:
            task = asyncio.get_running_loop().create_task(self._reply(question, handler))
            self._running.add(task)
            task.add_done_callback(self._finished)

        return await self._session.call(
            lambda: self._asked.listen(tuple(topic), self._session, on_question)
        )

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The asker hears nothing, as over a network; whoever runs this process should.
            context = {"message": "a question's handler failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    async def _reply(
        self, question: Question, handler: Callable[[bytes], Awaitable[bytes]]
    ) -> None:
        answer = copied(await handler(question.data))
        if self._session.alive and not question.answer.done():
            question.answer.set_result(answer)

    async def tell(self, topic: tuple[str, ...], data: bytes) -> None:
        word = copied(data)
        await self._session.call(lambda: self._told.tell(tuple(topic), word))

    async def listen(
        self, topic: tuple[str, ...], on_word: Callable[[bytes], None]
    ) -> Subscription:
        return await self._session.call(
            lambda: self._told.listen(tuple(topic), self._session, on_word)
        )
