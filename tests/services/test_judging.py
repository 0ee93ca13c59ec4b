"""When a turn is stopped, and what is no reason: the supervisor's judgement, look by look."""

import os

import pytest

from perdure_services._shell.board import Turn, TurnBoard
from perdure_services._shell.judging import LOOK, Judge, Limits, shown_bytes
from perdure_services._shell.lifeline import frames_of
from perdure_services._shell.usage import Usage, _from_ps, _seconds, machine_memory, usage_of

MIB = 1 << 20
LIMITS = Limits(time=1.0, memory=100 * MIB)


class Process:
    """A process that is looked at every 100 ms of its own time."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.judge = Judge(limits)
        self.now = 1_000.0
        self.cpu = 7.0
        self.memory = 50 * MIB
        self.turn: Turn | None = None
        self.reason = ""

    def begin(self, name: str = "w") -> None:
        self.turn = Turn(int(self.now * 1e9), name, "run")

    def run(
        self,
        seconds: float,
        *,
        cpu: float = 1.0,
        grows: int = 0,
        look: float = LOOK,
        waits: bool = False,
        stopped: bool = False,
    ) -> str:
        """Let it go on, until its turn is stopped: why."""
        for _ in range(round(seconds / look)):
            self.now += look
            self.cpu += look * cpu
            self.memory += round(grows * look / seconds)
            usage = Usage(self.cpu, self.memory, waits, stopped)
            reason = self.judge.look(self.turn, usage, now=self.now)
            if reason:
                return reason
        return ""


def test_a_turn_that_computes_for_too_long_is_stopped() -> None:
    process = Process()
    process.run(5)
    process.begin()
    assert process.run(0.8) == ""
    assert process.run(0.4) == "a turn of its code took longer than 1 s"


def test_a_turn_that_waits_in_a_call_is_stopped() -> None:
    process = Process()
    process.run(1)
    process.begin()
    assert process.run(0.8, cpu=0.0, waits=True) == ""
    assert "took longer" in process.run(0.4, cpu=0.0, waits=True)


def test_many_short_turns_are_no_long_one() -> None:
    process = Process()
    for number in range(100):
        process.begin(f"w{number}")
        assert process.run(0.3) == ""


def test_time_between_turns_counts_for_none() -> None:
    process = Process()
    process.run(30)
    process.begin()
    assert process.run(0.5) == ""
    process.turn = None
    assert process.run(30) == ""


def test_a_process_that_is_paused_is_not_stuck() -> None:
    process = Process()
    process.begin()
    process.run(0.3)
    assert process.run(60, cpu=0.0, stopped=True) == ""
    assert process.run(0.5) == ""
    assert "took longer" in process.run(0.5)


def test_a_machine_without_a_processor_to_spare_is_not_stuck() -> None:
    process = Process()
    process.begin()
    assert process.run(15, cpu=0.05) == ""
    assert "took longer" in process.run(10, cpu=0.05)


def test_a_machine_that_was_suspended_is_not_stuck() -> None:
    process = Process()
    process.begin()
    process.run(0.3)
    assert process.run(3_600, cpu=0.0, look=3_600, waits=True) == ""
    assert process.run(0.2) == ""


def test_a_turn_that_takes_memory_is_stopped() -> None:
    process = Process(Limits(time=0, memory=100 * MIB))
    process.run(1)
    process.begin()
    assert process.run(1, grows=90 * MIB) == ""
    assert process.run(1, grows=20 * MIB) == "a turn of its code took more than 100 MiB of memory"


def test_memory_of_many_turns_is_no_turns() -> None:
    process = Process()
    for _ in range(10):
        process.begin()
        assert process.run(0.3, grows=50 * MIB) == ""
    process.turn = None
    assert process.run(10, grows=1_000 * MIB) == ""


def test_no_limit_stops_nothing() -> None:
    process = Process(Limits(time=0, memory=0))
    process.begin()
    assert process.run(600, grows=10_000 * MIB) == ""


def test_without_knowing_more_the_clock_has_to_do() -> None:
    judge, turn = Judge(LIMITS), Turn(1_000 * 10**9, "w", "run")
    looks = [judge.look(turn, None, now=1_000 + step * LOOK) for step in range(1, 12)]
    assert looks[8] == ""
    assert "took longer" in looks[10]


def test_a_board_shows_what_runs() -> None:
    board = TurnBoard()
    assert board.turn() is None
    board.begun("order:1 ä", "run-1")
    shown = board.turn()
    assert shown is not None
    assert shown[1:] == ("order:1 ä", "run-1")
    board.begun("x" * 512, "run-2")
    other = board.turn()
    assert other is not None
    assert (other.workflow_id, other.run) == ("x" * 512, "run-2")
    assert other.begun > shown.begun
    board.ended()
    assert board.turn() is None
    board.recorded = 3
    board.begun("w", "r")
    board.ended()
    assert board.recorded == 3
    board.clear()
    assert board.recorded == 0


def test_usage_is_that_of_the_process() -> None:
    usage = usage_of(os.getpid())
    assert usage is not None
    assert usage.memory > MIB
    assert not usage.stopped
    coarse = _from_ps(os.getpid())
    assert coarse.memory > MIB
    assert not coarse.stopped
    assert usage_of(2**22 + 1) is None
    assert machine_memory() > 64 * MIB


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:01:05", 65), ("1-00:00:01", 86_401), ("0:02.50", 2.5)]
)
def test_times_of_ps_are_read(text: str, seconds: float) -> None:
    assert _seconds(text) == seconds


def test_sizes_are_said_as_people_do() -> None:
    assert [shown_bytes(n) for n in (12, 2_048, 300 * MIB, 3 << 29)] == [
        "12 B",
        "2 KiB",
        "300 MiB",
        "1.5 GiB",
    ]


def test_frames_end_where_perdure_begins() -> None:
    ours = os.path.join("site", "perdure", "core", "machine.py")
    dump = (
        "Fatal Python error: Segmentation fault\n\n"
        "Current thread 0x00007f (most recent call first):\n"
        '  File "shop.py", line 3 in deep\n  File "shop.py", line 3 in deep\n'
        f'  File "shop.py", line 9 in run\n  File "{ours}", line 1 in _settle\n'
        '  File "lane.py", line 1 in _turn\n\nExtension modules: msgspec\n'
    )
    assert frames_of(dump) == (
        'File "shop.py", line 3 in deep (2 times)\nFile "shop.py", line 9 in run'
    )
    assert frames_of(f'  File "{ours}", line 1 in _settle\n') == f'File "{ours}", line 1 in _settle'
    assert frames_of("") == ""
