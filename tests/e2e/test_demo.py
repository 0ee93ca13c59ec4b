"""``make demo`` as a newcomer sees it: it succeeds, and leaves nothing behind, however it ends."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def demo(temporary: Path, *, pace: str = "0.7") -> Generator[subprocess.Popen[str]]:
    """The demo as a process; its temporary data go below ``temporary``."""
    process = subprocess.Popen(
        [sys.executable, "examples/demo.py", "--pace", pace],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def pids_in(output: str) -> set[int]:
    """Every process that the demo said it started."""
    found = re.findall(
        r"^ (?:nats-server|scheduler|activity-worker|signal-gateway) +(\d+)", output, re.M
    )
    return {int(pid) for pid in (*found, *re.findall(r"\(pid (\d+)\)", output))}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The output up to and with the line that holds ``text``."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if text in line:
            return output
    pytest.fail(f"no {text!r} in:\n{output}")


def test_the_demo_ends_well_and_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        output, _ = process.communicate(timeout=110)
        assert process.returncode == 0, output
    assert "All as promised" in output
    assert "Order order-1 completed. Tracking: TRACK-ORDER-1" in output
    assert "Order no-carrier failed and was compensated" in output
    assert output.count("kill -9") == 2
    # Two services are started twice.
    assert len(pids_in(output)) == 6
    assert not [pid for pid in pids_in(output) if is_alive(pid)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as process:
        output = read_until(process, "PERDURE_default_INGRESS #3")
        assert len(pids_in(output)) == 4
        assert all(map(is_alive, pids_in(output)))
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 130, output + rest
    assert not [pid for pid in pids_in(output) if is_alive(pid)]
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_dies_unasked_fails_the_demo(tmp_path: Path) -> None:
    with demo(tmp_path, pace="5") as process:
        output = read_until(process, "PERDURE_default_INGRESS #3")
        gateway = re.search(r"signal-gateway +(\d+)", output)
        assert gateway is not None
        os.kill(int(gateway[1]), signal.SIGKILL)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 1, output + rest
    assert "the signal-gateway" in rest
    assert "ended with exit code -9" in rest
    assert not [pid for pid in pids_in(output) if is_alive(pid)]
    assert list(tmp_path.iterdir()) == []


def test_an_order_that_goes_wrong_fails_the_demo(tmp_path: Path) -> None:
    # No activity can take less than no time: every attempt fails.
    with demo(tmp_path, pace="-1") as process:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1, output
    assert "order-1 ended before its time" in output
    assert not [pid for pid in pids_in(output) if is_alive(pid)]
