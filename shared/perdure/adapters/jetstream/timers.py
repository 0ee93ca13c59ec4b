"""Timers: message schedules in LOG, whose target is the workflow's engine lane."""

from collections.abc import AsyncIterator
from typing import Final

from perdure.adapters.jetstream.link import Link, RawMessage
from perdure.adapters.jetstream.reads import format_time, leader_get, parse_time
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.addresses import Lane, TimerKey
from perdure.ports.errors import AlreadyExists, Conflict

_PAGE: Final = 256
_LAST_TIME: Final = 9_190_000_000_000_000_000
"""In the year 2261: what lies beyond overflows the server's clock and would fire at once."""

_SCHEDULE: Final = "Nats-Schedule"
_TARGET: Final = "Nats-Schedule-Target"
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_AT: Final = "@at "


class JetStreamTimers:
    """The Timers port."""

    def __init__(self, link: Link, subjects: Subjects, *, replicas: int = 1) -> None:
        self._link = link
        self._subjects = subjects
        self._stream = subjects.log_stream
        self._replicated = replicas > 1

    async def arm(self, key: TimerKey, due: int, fired: bytes) -> int:
        headers = {
            _SCHEDULE: _AT + format_time(max(0, min(due, _LAST_TIME))),
            _TARGET: self._subjects.lane(key.address, Lane.ENGINE),
            _EXPECTED: "0",
        }
        subject = self._subjects.timer(key)
        try:
            return (await self._link.publish(subject, fired, headers)).seq
        except Conflict as error:
            raise AlreadyExists(f"timer {subject} is armed") from error

    async def fire(self, key: TimerKey, fired: bytes, *, armed: int) -> bool:
        schedule = self._subjects.timer(key)
        headers = {
            "Nats-Schedule-Next": "purge",
            "Nats-Scheduler": schedule,
            _EXPECTED: str(armed),
            f"{_EXPECTED}-Subject": schedule,
        }
        try:
            await self._link.publish(self._subjects.lane(key.address, Lane.ENGINE), fired, headers)
        except Conflict:
            return False
        return True

    async def cancel(self, key: TimerKey) -> None:
        body = {"filter": self._subjects.timer(key)}
        await self._link.api(f"STREAM.PURGE.{self._stream}", body)

    async def overdue(self, before: int) -> AsyncIterator[TimerKey]:
        after = 0
        while True:
            body = {"seq": after + 1, "next_by_subj": self._subjects.all_timers, "batch": _PAGE}
            page = await self._link.batch_get(self._stream, body)
            if not page:
                return
            for raw in page:
                key = self._overdue_key(raw, before)
                if key is not None:
                    yield key
            after = page[-1].seq

    def _overdue_key(self, raw: RawMessage, before: int) -> TimerKey | None:
        headers = raw.headers
        schedule, target = headers.get(_SCHEDULE, ""), headers.get(_TARGET)
        if target is None or not schedule.startswith(_AT):
            return None
        if parse_time(schedule[len(_AT) :]) >= before:
            return None
        address, _ = self._subjects.parse_lane(target)
        _, run, n = self._subjects.parse_timer(raw.subject)
        return TimerKey(address, run, n)

    async def rearm(self, key: TimerKey) -> None:
        subject = self._subjects.timer(key)
        raw = await leader_get(self._link, self._stream, {"last_by_subj": subject})
        if raw is None:
            return
        headers = raw.headers
        again = {
            _SCHEDULE: headers[_SCHEDULE],
            _TARGET: headers[_TARGET],
            _EXPECTED: str(raw.seq),
        }
        try:
            await self._link.publish(subject, raw.data, again)
        except Conflict:
            # It fired, was cancelled or was armed anew in between: free in any case.
            return
