"""The deadlines of an attempt that runs: watched here, whatever the activity's code does."""

import asyncio
from collections.abc import Callable
from typing import Final

from perdure.core.durations import SECOND
from perdure.core.errors import TimeoutType
from perdure.core.failures import Failure
from perdure.core.payloads import Payload
from perdure.core.tasks import ActivityTask

_TOLERANCE: Final = 1e-6
_TEXTS: Final = {
    TimeoutType.START_TO_CLOSE: "activity start-to-close timeout: the attempt ran too long",
    TimeoutType.SCHEDULE_TO_START: "activity schedule-to-start timeout: no worker took it in time",
    TimeoutType.SCHEDULE_TO_CLOSE: "activity schedule-to-close timeout: no time left to try",
    TimeoutType.HEARTBEAT: "activity heartbeat timeout: no sign of life in time",
}


def timeout_failure(
    kind: TimeoutType, *, details: list[Payload], cause: Failure | None = None, why: str = ""
) -> Failure:
    """The failure of a passed deadline, with the last heartbeat's details."""
    return Failure(
        message=f"{_TEXTS[kind]}{f' ({why})' if why else ''}",
        kind="timeout",
        timeout=int(kind),
        details=details,
        cause=cause,
    )


def lost_worker_failure(task: ActivityTask, details: list[Payload]) -> Failure:
    """The failure of an attempt whose worker fell silent."""
    kind = TimeoutType.HEARTBEAT if task.heartbeat else TimeoutType.START_TO_CLOSE
    why = f"the worker was lost during attempt {task.attempt}"
    return timeout_failure(kind, details=details, why=why)


def overdue(task: ActivityTask, *, published: int, now: int) -> TimeoutType | None:
    """The deadline that passed before an attempt could begin; ``published`` dates its message."""
    if task.schedule_to_close and now >= task.scheduled_at + task.schedule_to_close:
        return TimeoutType.SCHEDULE_TO_CLOSE
    waited = now - published - task.delay
    if task.schedule_to_start and waited > task.schedule_to_start:
        return TimeoutType.SCHEDULE_TO_START
    return None


class Deadlines:
    """Calls ``on_expired`` once, when the first deadline of a running attempt passes."""

    def __init__(
        self, task: ActivityTask, *, now: int, on_expired: Callable[[TimeoutType], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_expired = on_expired
        self._heartbeat = task.heartbeat / SECOND
        started = self._loop.time()
        self._fixed: tuple[float, TimeoutType] | None = None
        if task.start_to_close:
            ends = started + task.start_to_close / SECOND
            self._fixed = (ends, TimeoutType.START_TO_CLOSE)
        if task.schedule_to_close:
            left = task.scheduled_at + task.schedule_to_close - now
            closes = (started + left / SECOND, TimeoutType.SCHEDULE_TO_CLOSE)
            self._fixed = min(self._fixed or closes, closes)
        self._last_beat = started
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def beat(self) -> None:
        """A sign of life."""
        self._last_beat = self._loop.time()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> tuple[float, TimeoutType] | None:
        if not self._heartbeat:
            return self._fixed
        silent = (self._last_beat + self._heartbeat, TimeoutType.HEARTBEAT)
        return min(self._fixed or silent, silent)

    def _arm(self) -> None:
        following = self._next()
        if following is not None:
            self._timer = self._loop.call_at(following[0], self._check)

    def _check(self) -> None:
        following = self._next()
        if following is not None and self._loop.time() + _TOLERANCE >= following[0]:
            self._timer = None
            self._on_expired(following[1])
        else:
            self._arm()
