"""Three scripts, three processes: a worker, a client that starts, a client that signals."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from side_effects import effects

from perdure.adapters.jetstream.embedded import EmbeddedServer

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@contextmanager
def worker(environment: dict[str, str]) -> Generator[None]:
    """The worker's script, until the test is over; Ctrl-C ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.run_worker"],
        cwd=EXAMPLES,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("The worker runs")
        yield
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run(environment: dict[str, str], script: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{script}", *arguments],
        cwd=EXAMPLES,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


async def test_a_worker_a_start_and_an_approval(tmp_path: Path) -> None:
    log = tmp_path / "effects.log"
    async with EmbeddedServer(tmp_path / "nats", port=0, monitor_port=0, durable=False) as server:
        environment = {
            **os.environ,
            "NATS_URL": server.url,
            "PERDURE_EXAMPLE_LOG": str(log),
            "PERDURE_EXAMPLE_PACE": "0.1",
        }
        with worker(environment):
            code, output = run(environment, "start_order", "order_123")
            lines = output.splitlines()
            assert code == 0, output
            assert lines[0] == "Started workflow: order-saga-order_123"
            assert lines[1].startswith("Status: {'step': ")
            assert lines[2] == "Result: Order order_123 completed. Tracking: TRACK-ORDER_123"

            code, output = run(environment, "start_order", "no-credit")
            assert code == 1, output
            assert "Order no-credit failed and was compensated" in output

            code, output = run(environment, "approve_expense", "exp-1")
            assert code == 0, output
            assert output.splitlines() == [
                "Before: {'approved': False, 'rejected': False, 'pending': True}",
                "Approved workflow exp-1",
                "Result: approved",
            ]
    assert [effect.what for effect in effects(log)] == [
        "reserve_inventory",
        "charge_payment",
        "ship_order",
        "reserve_inventory",
        "release_inventory",
        "notify_manager",
        "process_payment",
    ]
