"""The supervisor and its child, as processes: replaced, ended, taken along."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployments import LEASH
from support.polling import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="the tests look into /proc"),
]

SCRIPT = Path(__file__).resolve().parents[1] / "support" / "supervised.py"


class Supervised:
    """The script, what it left in its folder, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self, plan: str, *, limit: float = 0.3) -> None:
        leash = (sys.executable, "-ISs", str(LEASH), sys.executable)
        with (self.folder / "log").open("wb") as log:
            self.popen = subprocess.Popen(
                [*leash, str(SCRIPT), str(self.folder), plan, str(limit)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def lines(self, name: str) -> list[list[str]]:
        path = self.folder / name
        if not path.exists():
            return []
        return [line.split(maxsplit=4) for line in path.read_text().splitlines()]

    def until(self, name: str, count: int = 1) -> list[list[str]]:
        """The lines of a file, once there are so many."""
        asyncio.run(until(lambda: len(self.lines(name)) >= count, f"{count}x {name}: {self.log}"))
        return self.lines(name)

    def exit_code(self) -> int:
        assert self.popen is not None
        return self.popen.wait(timeout=60)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    made = Supervised(tmp_path)
    yield made
    if made.popen is not None and made.popen.poll() is None:
        os.killpg(made.pid, signal.SIGKILL)
        made.popen.wait()


def state_of(pid: int) -> str:
    """As ps shows it; Z when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "Z"
    return stat.rpartition(")")[2].split()[0]


def is_gone(pid: int) -> bool:
    return state_of(pid) == "Z"


def test_a_childs_end_is_its_supervisors(supervised: Supervised) -> None:
    supervised.start("refuse")
    assert supervised.exit_code() == 2
    assert len(supervised.lines("lives")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_in_order(supervised: Supervised, number: signal.Signals) -> None:
    supervised.start("serve")
    supervised.until("serves")
    os.kill(supervised.pid, number)
    assert supervised.exit_code() == 7
    # Whatever the supervisor was sent, its child hears it once, and as the same.
    assert supervised.lines("ended") == [[str(int(signal.SIGTERM))]]


def test_an_interrupt_from_the_terminal_reaches_the_child_once(supervised: Supervised) -> None:
    supervised.start("serve")
    supervised.until("serves")
    os.killpg(supervised.pid, signal.SIGINT)
    assert supervised.exit_code() == 7
    assert supervised.lines("ended") == [[str(int(signal.SIGTERM))]]


def test_a_turn_that_never_ends_costs_the_child_and_is_handed_over(supervised: Supervised) -> None:
    supervised.start("spin,record")
    supervised.until("serves")
    ((life, workflow, run, _, reason),) = supervised.lines("strikes")
    assert (life, workflow, run) == ("1", "spinner", "run-1")
    assert reason == "a turn of its code took longer than 0.3 s"
    assert "in spin" in (supervised.folder / "stacks").read_text()
    assert "workflow 'spinner': a turn of its code took longer" in supervised.log
    first, second = (int(pid) for _, pid, *_ in supervised.lines("lives"))
    assert is_gone(first)
    assert not is_gone(second)


def test_a_child_that_dies_in_a_turn_leaves_its_stack(supervised: Supervised) -> None:
    supervised.start("segfault,record")
    supervised.until("serves")
    ((*_, reason),) = supervised.lines("strikes")
    assert reason == "a turn of its code ended the process of SIGSEGV"
    assert "in die_while_it_runs" in (supervised.folder / "stacks").read_text()


def test_strikes_are_handed_over_until_they_are_recorded(supervised: Supervised) -> None:
    supervised.start("spin,spin,record-spin,serve")
    supervised.until("serves")
    handed = [(life, at) for life, _, _, at, _ in supervised.lines("strikes")]
    times = list(dict.fromkeys(at for _, at in handed))
    assert len(times) == 3
    first, second, third = times
    assert handed == [("1", first), ("2", first), ("2", second), ("3", third)]
    assert supervised.lines("replaced") == [[str(n), refused] for n, refused in enumerate("---1")]


def test_a_child_that_dies_at_its_beginning_is_not_started_in_a_hurry(
    supervised: Supervised,
) -> None:
    supervised.start("crash,crash,serve")
    supervised.until("serves")
    times = [float(time) for _, _, time in supervised.lines("lives")]
    # Pauses of one and two seconds.
    assert times[1] - times[0] >= 0.9
    assert times[2] - times[1] >= 1.9
    assert supervised.lines("strikes") == []
    assert supervised.log.count("of no workflow's code; another one takes its place") == 2


def test_a_stop_between_two_children_is_a_stop(supervised: Supervised) -> None:
    supervised.start("crash")
    supervised.until("lives", 2)
    asyncio.run(until(lambda: supervised.log.count("takes its place") >= 2, "the second death"))
    os.kill(supervised.pid, signal.SIGTERM)
    assert supervised.exit_code() == 0


def test_a_stop_before_the_child_listens_is_a_stop(supervised: Supervised) -> None:
    supervised.start("hang", limit=0)
    supervised.until("serves")
    os.kill(supervised.pid, signal.SIGTERM)
    assert supervised.exit_code() == 0


def test_many_turns_are_no_long_one(supervised: Supervised) -> None:
    supervised.start("many")
    supervised.until("serves")
    assert len(supervised.lines("lives")) == 1


@pytest.mark.parametrize("plan", ["serve", "hang"])
def test_a_killed_supervisor_takes_its_child_along(supervised: Supervised, plan: str) -> None:
    supervised.start(plan, limit=0)
    child = int(supervised.until("serves")[0][0])
    os.kill(supervised.pid, signal.SIGKILL)
    supervised.exit_code()
    asyncio.run(until(lambda: is_gone(child), "the child's end"))


def test_a_process_that_is_paused_in_a_turn_is_not_struck(supervised: Supervised) -> None:
    supervised.start("pause")
    ((_, pid, _),) = supervised.until("lives")
    asyncio.run(until(lambda: state_of(int(pid)) == "T", "the pause"))
    with pytest.raises(subprocess.TimeoutExpired):
        assert supervised.popen is not None
        supervised.popen.wait(timeout=1.5)
    os.kill(int(pid), signal.SIGCONT)
    supervised.until("serves")
    assert supervised.lines("strikes") == []
    assert len(supervised.lines("lives")) == 1
