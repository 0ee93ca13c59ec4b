"""Words that need not survive: to everyone who listens to a topic now."""

import contextvars
from collections.abc import Callable, Hashable
from functools import partial

from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream_time import StreamTime


class Listener[W]:
    """One who listens, until closed or dead."""

    def __init__(
        self, hub: "Hub[W]", topic: Hashable, session: Session, on_word: Callable[[W], None]
    ) -> None:
        self._hub = hub
        self._topic = topic
        self._on_word = on_word
        self.session = session
        self.open = True
        self.context = contextvars.copy_context()

    def hear(self, word: W) -> None:
        if self.open and self.session.alive:
            self._on_word(word)

    async def close(self) -> None:
        if self.open and self.session.alive:
            await self.session.call(partial(self._hub.drop, self._topic, self))


class Hub[W]:
    """Who listens to what."""

    def __init__(self, time: StreamTime) -> None:
        self._time = time
        self._listeners: dict[Hashable, list[Listener[W]]] = {}

    def listen(
        self, topic: Hashable, session: Session, on_word: Callable[[W], None]
    ) -> Listener[W]:
        listener = Listener(self, topic, session, on_word)
        self._listeners.setdefault(topic, []).append(listener)
        return listener

    def drop(self, topic: Hashable, listener: Listener[W]) -> None:
        listener.open = False
        left = [one for one in self._listeners.get(topic, []) if one is not listener]
        if left:
            self._listeners[topic] = left
        else:
            self._listeners.pop(topic, None)

    def present(self, topic: Hashable) -> list[Listener[W]]:
        """Those who would hear a word now, the next in turn first."""
        alive = [one for one in self._listeners.get(topic, []) if one.session.alive]
        if alive:
            # The head moves to the tail: whoever asks one of them asks them in turn.
            self._listeners[topic] = [*alive[1:], alive[0]]
        else:
            self._listeners.pop(topic, None)
        return alive

    def tell(self, topic: Hashable, word: W) -> None:
        for listener in self.present(topic):
            self.send(listener, word)

    def send(self, listener: Listener[W], word: W) -> None:
        self._time.call_soon(partial(listener.hear, word), context=listener.context)
