"""One inbox for every answer: requests wait in a dict, not in a subscription each."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from perdure.adapters.jetstream.wire import Message, WireClient

_SWEEP = 0.1
"""Seconds between looks for overdue answers."""


class Lost(Exception):
    """No answer came: in time, or before the connection broke."""

    def __init__(self, why: str, waited: float = 0.0) -> None:
        super().__init__(why)
        self.waited = waited


class Denied(Exception):
    """The server forbids the subject."""


class _Waiting(NamedTuple):
    """A tuple: one is made for every publish."""

    future: asyncio.Future[Message]
    asked: float
    deadline: float
    subject: str
    more: Callable[[Message], bool] | None


class Mux:
    """Matches answers to requests by the last token of their inbox."""

    def __init__(self, inbox: str) -> None:
        self.subject = f"{inbox}.*"
        self._inbox = f"{inbox}."
        self._cut = len(self._inbox)
        self._counter = 0
        self._waiting: dict[bytes, _Waiting] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def ask(
        self,
        client: WireClient,
        subject: str,
        head: bytes,
        data: bytes,
        timeout: float,
        more: Callable[[Message], bool] | None = None,
    ) -> asyncio.Future[Message]:
        """Send and return the answer's future; it fails with Lost or Denied.

        With ``more``, messages go there until it returns False for one, which is the answer.
        """
        self._counter += 1
        key = b"%d" % self._counter
        future: asyncio.Future[Message] = self._loop.create_future()
        now = self._loop.time()
        self._waiting[key] = _Waiting(future, now, now + timeout, subject, more)
        client.push(command(subject, f"{self._inbox}{self._counter}", head, data))
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
        return future

    def receive(self, message: Message) -> None:
        key = message.raw_subject[self._cut :]
        waiting = self._waiting.get(key)
        if waiting is None:
            return
        if waiting.more is not None and waiting.more(message):
            return
        del self._waiting[key]
        if not waiting.future.done():
            waiting.future.set_result(message)

    def lose_all(self, why: str) -> None:
        """The connection broke: no answer of what was sent before can come any more."""
        now = self._loop.time()
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            if not one.future.done():
                one.future.set_exception(Lost(why, now - one.asked))

    def deny(self, subject: str) -> None:
        """The server refused what was published to ``subject`` (in lower case)."""
        for key, one in list(self._waiting.items()):
            if one.subject.lower() == subject:
                del self._waiting[key]
                if not one.future.done():
                    one.future.set_exception(Denied(one.subject))

    def _sweep(self) -> None:
        now = self._loop.time()
        late = [key for key, one in self._waiting.items() if one.deadline < now]
        for key in late:
            one = self._waiting.pop(key)
            if not one.future.done():
                waited = now - one.asked
                one.future.set_exception(Lost(f"no answer within {waited:.3g} s", waited))
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep) if self._waiting else None

    def close(self) -> None:
        self.lose_all("the connection was closed")
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None


def command(subject: str, reply: str, head: bytes, data: bytes) -> bytes:
    """A publish in NATS's protocol."""
    size = len(head)
    if not size:
        return b"".join((f"PUB {subject} {reply} {len(data)}\r\n".encode(), data, b"\r\n"))
    line = f"HPUB {subject} {reply} {size} {size + len(data)}\r\n".encode()
    return b"".join((line, head, data, b"\r\n"))
