"""``make bench`` at its smallest: every line runs, with real processes. No rate is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

RUN: Final = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"

pytestmark = pytest.mark.timeout(600)

RATES: Final = (
    "floor",
    "workflows-1",
    "workflows-10",
    "workflows-100",
    "workflows-500",
    "execute-100",
    "door-500",
    "activities-100",
    "signals",
    "signals-door",
    "replay-core",
    "replay-cold",
    "timers-armed",
    "growth-rate",
    "floor-always",
    "always-100",
)
OTHERS: Final = (
    "latency-p50",
    "latency-p99",
    "first-activity-p50",
    "first-activity-p99",
    "waiting-memory",
    "waiting-answer-p50",
    "waiting-answer-max",
    "timers-p50",
    "timers-p99",
    "timers-max",
    "growth-kept",
    "growth-disk",
    "growth-memory",
    "always-latency-p50",
    "always-latency-p99",
)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
    return subprocess.run(
        [sys.executable, str(RUN), *arguments],
        capture_output=True,
        text=True,
        env=kept,
        timeout=500,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything measured once."""
    chosen = tmp_path_factory.mktemp("bench")
    done = bench("--tiny", "--output", str(chosen), "--save", "before")
    assert done.returncode == 0, done.stdout + done.stderr
    return chosen


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "latest.json").read_bytes())


def test_every_line_has_its_figures(report: dict[str, Any]) -> None:
    values = {result["name"]: result["values"] for result in report["results"]}
    assert set(values) == {*RATES, *OTHERS}
    assert all(value > 0 for name in RATES for value in values[name])


def test_the_cost_of_a_workflow_is_split_by_process(report: dict[str, Any]) -> None:
    costs = {result["name"]: result["cpu"] for result in report["results"]}
    everyone = {"nats-server", "scheduler", "worker", "gateway", "client"}
    assert set(costs["growth-rate"]) == everyone
    assert sum(spent for cpu in costs.values() for spent in cpu.values()) > 0


def test_the_machine_is_told_without_its_name(report: dict[str, Any]) -> None:
    assert set(report["machine"]) == {
        "cores",
        "memory",
        "system",
        "Python",
        "nats-server",
        "nats-py",
        "event loop",
    }
    assert os.uname().nodename not in json.dumps(report)


def test_the_page_says_who_reaches_two_thirds_of_a_target(
    folder: Path, report: dict[str, Any]
) -> None:
    lines = (folder / "latest.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    verdicts = {row[0]: row[-1] for row in cells if len(row) == 10}
    titles = {one["title"]: one["target"] for one in report["results"]}
    words = {"yes", "no", "yes, by CPU", "no, by CPU", "too noisy"}
    assert all(verdicts[title] in words for title, target in titles.items() if target)
    # Memory has nothing to do with how fast the machine is: twenty workflows fit.
    memory = next(one for one in report["results"] if one["name"] == "waiting-memory")
    assert verdicts[memory["title"]] == "yes"


def test_the_plot_is_a_picture(folder: Path) -> None:
    assert (folder / "latest.png").read_bytes().startswith(b"\x89PNG")


def test_two_runs_are_held_against_each_other(folder: Path) -> None:
    done = bench("--tiny", "--only", "floor", "--output", str(folder), "--compare", "before")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Against 'before'" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "warp"), "No line is called warp"),
        (("--peers", "abacus"), "No peer is called abacus"),
        (("--compare", "never"), "no saved run 'never'"),
    ],
)
def test_a_name_that_is_not_there_is_refused(
    tmp_path: Path, arguments: tuple[str, str], words: str
) -> None:
    done = bench("--tiny", "--output", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert words in done.stdout
