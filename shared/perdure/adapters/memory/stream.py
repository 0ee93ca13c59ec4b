"""A stream: messages under subjects, one growing sequence, a deduplication window."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from perdure.adapters.memory.stream_time import StreamTime
from perdure.core.durations import MINUTE
from perdure.ports.addresses import Stored
from perdure.ports.errors import Conflict, StoreFull, TooLarge

DEDUP_WINDOW: Final = 2 * MINUTE


@dataclass(frozen=True, slots=True)
class Message[K: Hashable]:
    """What lies in a stream."""

    subject: K
    stored: Stored
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class Room:
    """The disk that all streams of a store share."""

    full: bool = False
    taken: float = 0.0


def copied(data: bytes) -> bytes:
    """``data`` as bytes of the store's own; anything else would be a live object in disguise."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"a store keeps bytes, not {type(data).__name__}")
    return bytes(data)


class Stream[K: Hashable]:
    """Messages in order of arrival, each gone only when removed."""

    def __init__(
        self, time: StreamTime, room: Room, *, limit: int, words_of_all_subjects: bool = False
    ) -> None:
        self._time = time
        self._room = room
        self._limit = limit
        self._last = 0
        self._messages: dict[int, Message[K]] = {}
        self._subjects: dict[K, list[int]] = {}
        self._common_words = words_of_all_subjects
        self._words: dict[tuple[K | None, str], int] = {}
        self._word_times: deque[tuple[int, tuple[K | None, str]]] = deque()
        self._listeners: list[Callable[[Message[K]], None]] = []

    @property
    def last(self) -> int:
        """The newest sequence ever given."""
        return self._last

    def listen(self, on_append: Callable[[Message[K]], None]) -> None:
        self._listeners.append(on_append)

    def check_room(self) -> None:
        if self._room.full:
            raise StoreFull("the store is full: nothing was written; free space and try again")

    def claim(self) -> int:
        """A sequence for something kept elsewhere, e.g. an armed timer."""
        self.check_room()
        self._last += 1
        return self._last

    def append(
        self,
        subject: K,
        data: bytes,
        *,
        dedup: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> int:
        content = copied(data)
        if len(content) > self._limit:
            raise TooLarge(f"{len(content)} bytes, the store takes {self._limit} in one message")
        if (first := self.known(subject, dedup)) is not None:
            return first
        now = self._time.now()
        seq = self.claim()
        message = Message(subject, Stored(seq, now, content), dict(headers or {}))
        self._messages[seq] = message
        self._subjects.setdefault(subject, []).append(seq)
        if dedup:
            word = self._word(subject, dedup)
            self._words[word] = seq
            self._word_times.append((now, word))
        for listener in self._listeners:
            listener(message)
        return seq

    def append_after(self, subject: K, data: bytes, *, after: int) -> int:
        """Append iff the subject's newest message has sequence ``after`` (0: none)."""
        newest = self.newest(subject)
        found = newest.stored.seq if newest else 0
        if found != after:
            raise Conflict(f"the newest message has sequence {found}, not {after}: read it again")
        return self.append(subject, data)

    def known(self, subject: K, dedup: str) -> int | None:
        """The sequence of the subject's message that carried this word within the window."""
        horizon = self._time.now() - DEDUP_WINDOW
        while self._word_times and self._word_times[0][0] <= horizon:
            del self._words[self._word_times.popleft()[1]]
        return self._words.get(self._word(subject, dedup)) if dedup else None

    def _word(self, subject: K, dedup: str) -> tuple[K | None, str]:
        return (None if self._common_words else subject, dedup)

    def get(self, seq: int) -> Message[K] | None:
        return self._messages.get(seq)

    def newest(self, subject: K) -> Message[K] | None:
        seqs = self._subjects.get(subject)
        return self._messages[seqs[-1]] if seqs else None

    def following(self, subject: K, after: int, limit: int) -> list[Message[K]]:
        seqs = self._subjects.get(subject, [])
        begin = bisect_right(seqs, after)
        return [self._messages[seq] for seq in seqs[begin : begin + limit]]

    def messages(self) -> Iterator[Message[K]]:
        """All messages, oldest first."""
        return iter(list(self._messages.values()))

    def remove(self, seq: int) -> None:
        message = self._messages.pop(seq, None)
        if message is None:
            return
        seqs = self._subjects[message.subject]
        del seqs[bisect_left(seqs, seq)]
        if not seqs:
            del self._subjects[message.subject]

    def purge(self, subject: K, through: int) -> None:
        for seq in list(self._subjects.get(subject, [])):
            if seq <= through:
                self.remove(seq)
