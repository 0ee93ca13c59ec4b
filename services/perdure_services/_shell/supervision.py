"""A process that only watches: its child does the work, and is replaced when a workflow's code ends it.

The supervisor hosts nothing itself. It looks at the board on which the child says whose code runs; a
turn that has had its time or its memory costs the child its life, and its run a strike, which the
next child records before it serves. A child that ends by itself ends its supervisor with the same
exit code; one that dies is replaced.
"""

import contextlib
import logging
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from perdure.engine.scheduler.strikes import LIMIT, Struck
from perdure_services._shell.board import Turn, TurnBoard
from perdure_services._shell.judging import LOOK, Judge, Limits
from perdure_services._shell.lifeline import SHOW_STACK, Lifeline
from perdure_services._shell.usage import CHEAP, Usage, usage_of

_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_FOR_A_STACK: Final = 0.3
_GLANCE: Final = 0.01
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_SOUND: Final = 60.0
"""Seconds after which a child that dies did not die of its beginning."""

_logger = logging.getLogger("perdure.supervisor")


@dataclass(slots=True)
class Ward:
    """What the child gets: where to say whose code runs, and the strikes to record first."""

    board: TurnBoard | None = None
    strikes: list[Struck] = field(default_factory=list[Struck])
    replaced: int = 0
    """Children that were here before, and did not end by themselves."""
    refused: frozenset[str] = frozenset()
    """Runs that cost one process too many, whether STATE can say so or not."""

    def recorded(self) -> None:
        """The strikes are durable."""
        if self.board is not None:
            self.board.recorded = len(self.strikes)


def supervise(work: Callable[[Ward], int], limits: Limits) -> int:
    """Do ``work`` in a child that is watched and replaced; the exit code.

    Returns in the child too, with what ``work`` returned. Where processes cannot be forked the work
    is done here, and nobody watches.
    """
    if not hasattr(os, "fork"):
        return work(Ward())
    return _Supervisor(work, limits).run()


class _Supervisor:
    """One child at a time, until it ends by itself or is told to."""

    def __init__(self, work: Callable[[Ward], int], limits: Limits) -> None:
        self._work = work
        self._limits = limits
        self._board = TurnBoard()
        self._strikes: list[Struck] = []
        self._struck: Counter[str] = Counter()
        self._child = 0
        self._stopping = False
        self._wake, self._waker = os.pipe()

    def run(self) -> int:
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)
        for number in _HANDLED:
            signal.signal(number, self._signalled)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        pause, replaced = _FIRST_PAUSE, 0
        while not self._stopping:
            born, lifeline, struck = time.monotonic(), Lifeline(), len(self._strikes)
            if not self._fork():
                self._become_child(lifeline)
                return self._work(self._ward(replaced))
            replaced += 1
            lifeline.hold()
            code = self._watch(lifeline)
            lifeline.drop()
            if code is not None:
                return code
            if len(self._strikes) == struck:
                pause = _FIRST_PAUSE if time.monotonic() - born > _SOUND else pause
                self._rest(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            del self._strikes[: self._board.recorded]
        return 0

    # the child's beginning

    def _ward(self, replaced: int) -> Ward:
        refused = frozenset(run for run, count in self._struck.items() if count >= LIMIT)
        return Ward(self._board, list(self._strikes), replaced, refused)

    def _fork(self) -> bool:
        """Whether this is still the supervisor. No signal is heard by the wrong one of the two."""
        self._board.clear()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        self._child = os.fork()
        if not self._child:
            return False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        if self._stopping:
            self._pass_on()
        return True

    def _become_child(self, lifeline: Lifeline) -> None:
        signal.set_wakeup_fd(-1)
        for end in (self._wake, self._waker):
            os.close(end)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        # A terminal interrupts both: the supervisor passes it on, as a SIGTERM.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lifeline.take()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)

    # watching

    def _watch(self, lifeline: Lifeline) -> int | None:
        """Until the child is gone: the exit code to pass on, or None when it is to be replaced."""
        judge = Judge(self._limits)
        before: Turn | None = None
        while True:
            self._rest(LOOK)
            ended, status = os.waitpid(self._child, os.WNOHANG)
            if ended:
                return self._ended(os.waitstatus_to_exitcode(status), lifeline)
            turn = self._board.turn()
            reason = judge.look(turn, self._usage(turn, before), now=time.monotonic())
            if turn is not None and reason:
                stack = self._stack(lifeline)
                if self._board.turn() == turn:
                    return self._give_up(turn, reason, stack)
            before = turn

    def _usage(self, turn: Turn | None, before: Turn | None) -> Usage | None:
        return usage_of(self._child) if CHEAP or (turn is not None and turn == before) else None

    def _give_up(self, turn: Turn, reason: str, stack: str) -> int | None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        self._strike(turn, reason, stack)
        return 128 + signal.SIGKILL if self._stopping else None

    def _ended(self, code: int, lifeline: Lifeline) -> int | None:
        turn = self._board.turn()
        if turn is not None:
            self._strike(
                turn, f"a turn of its code ended the process {_how(code)}", lifeline.stack()
            )
        elif code < 0 and not self._stopping:
            _logger.error(
                "the process died %s, of no workflow's code; another one takes its place\n%s",
                _how(code),
                lifeline.stack(),
            )
        if self._stopping:
            return 0 if code == -signal.SIGTERM else _passed_on(code)
        return None if turn is not None or code < 0 else code

    def _strike(self, turn: Turn, reason: str, stack: str) -> None:
        _logger.error(
            "workflow %r: %s; another process takes this one's place\n%s",
            turn.workflow_id,
            reason,
            stack,
        )
        self._struck[turn.run] += 1
        self._strikes.append(
            Struck(
                workflow_id=turn.workflow_id,
                run=turn.run,
                at=time.time_ns(),
                reason=reason,
                stack=stack,
            )
        )

    def _stack(self, lifeline: Lifeline) -> str:
        """Have the child write it, and wait a moment until it stands there."""
        os.kill(self._child, SHOW_STACK)
        deadline = time.monotonic() + _FOR_A_STACK
        size = -1
        while time.monotonic() < deadline and (size <= 0 or size != lifeline.stack_size()):
            size = lifeline.stack_size()
            time.sleep(_GLANCE)
        return lifeline.stack()

    # signals

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._stopping = True
            self._pass_on()

    def _pass_on(self) -> None:
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGTERM)

    def _rest(self, seconds: float) -> None:
        """Sleep, but not through a signal."""
        heard, _, _ = select.select([self._wake], [], [], seconds)
        if heard:
            os.read(self._wake, 4_096)


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"of {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")


def _passed_on(code: int) -> int:
    """The exit code that a shell would show."""
    return code if code >= 0 else 128 - code
