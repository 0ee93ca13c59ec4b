"""What a run has open and what it decides: plain data, no user code.

Numbers: every command that the outside refers to (activities, timers) takes the next ``n`` of the
run, also when it is taken back in the same step; replay draws the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from perdure.core.commands import (
    CancelActivity,
    CancelTimer,
    Close,
    Command,
    ScheduleActivity,
    StartTimer,
    TimerPurpose,
)
from perdure.core.failures import Failure
from perdure.core.payloads import Payload


@dataclass(slots=True)
class OpenActivity:
    """An activity without an outcome. ``settle`` hands the outcome to whoever waits."""

    command: ScheduleActivity
    settle: Callable[[Payload | Failure, int, int], None]
    """Called with the result, or the failure, and the attempt and the retry state."""
    attempt: int = 1
    cancel_requested: bool = False
    last_failure: Failure | None = None
    heartbeat: list[Payload] = field(default_factory=list[Payload])
    close_timer: int = 0
    start_timer: int = 0
    retry_timer: int = 0


@dataclass(slots=True)
class OpenTimer:
    command: StartTimer
    fire: Callable[[], None]


class Ledger:
    """Commands of the step under way, and everything open between steps."""

    __slots__ = ("_commands", "_n", "_n_before_step", "activities", "close", "seen", "timers")

    def __init__(self) -> None:
        self.activities: dict[int, OpenActivity] = {}
        self.timers: dict[int, OpenTimer] = {}
        self.seen: set[str] = set()
        self.close: Close | None = None
        self._commands: list[Command] = []
        self._n = 0
        self._n_before_step = 0

    def next_number(self) -> int:
        self._n += 1
        return self._n

    def add(self, command: Command) -> None:
        """Decide ``command``; after the close nothing is decided any more."""
        if self.close is None:
            self._commands.append(command)

    def take(self) -> list[Command]:
        """The commands of the step that ends here."""
        commands, self._commands = self._commands, []
        self._n_before_step = self._n
        return commands

    def open_activity(self, activity: OpenActivity) -> None:
        if self.close is None:
            self.activities[activity.command.n] = activity
            self._commands.append(activity.command)

    def start_timer(
        self,
        due: int,
        fire: Callable[[], None],
        *,
        duration: int,
        purpose: TimerPurpose = "sleep",
        of: int = 0,
        summary: str = "",
    ) -> int:
        n = self.next_number()
        command = StartTimer(
            n=n, due=due, duration=duration, purpose=purpose, of=of, summary=summary
        )
        if self.close is None:
            self.timers[n] = OpenTimer(command, fire)
            self._commands.append(command)
        return n

    def cancel_timer(self, n: int) -> None:
        """Take a timer back; one that was started in this very step never leaves the ledger."""
        timer = self.timers.pop(n, None)
        if timer is None:
            return
        if n > self._n_before_step:
            self._commands.remove(timer.command)
        else:
            self.add(CancelTimer(n=n))

    def settle_activity(self, n: int) -> OpenActivity | None:
        """Close the books on activity ``n``: its deadlines go with it."""
        activity = self.activities.pop(n, None)
        if activity is not None:
            for timer in (activity.close_timer, activity.start_timer, activity.retry_timer):
                if timer:
                    self.cancel_timer(timer)
        return activity

    def cancel_activity(self, n: int, *, forget: bool) -> None:
        activity = self.activities.get(n)
        if activity is None or (activity.cancel_requested and not forget):
            return
        activity.cancel_requested = True
        self.add(CancelActivity(n=n, forget=forget))

    def finish(self, close: Close) -> None:
        """End the run: what is still open is taken back, then the close. The first close wins."""
        if self.close is not None:
            return
        for n in list(self.activities):
            self.cancel_activity(n, forget=True)
            self.settle_activity(n)
        for n in list(self.timers):
            self.cancel_timer(n)
        self._commands.append(close)
        self.close = close
