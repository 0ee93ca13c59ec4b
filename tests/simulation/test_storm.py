"""Storms break no promise: fixed seeds, the same ones each time, more of them where everything runs.
``make simulate`` runs two thousand, and then every fault has met every port call. A red seed comes
again, with its trace, by ``make simulate SEED=<seed>``."""

import io

import pytest
from rich.console import Console
from support.storm.campaign import Tally, level_of, run_campaign, run_seeds
from support.storm.coverage import missing
from support.storm.mutants import MUTANTS
from support.storm.promises import Broken
from support.storm.storming import storm
from support.storm.trace import Trace

SAMPLE, WHOLE = 100, 2_000


def _told(tally: Tally) -> list[str]:
    return [f"make simulate SEED={one.seed}: {one.what:.600}" for one in tally.failures]


@pytest.mark.timeout(600)
def test_a_sample_of_storms_breaks_no_promise() -> None:
    tally = run_seeds(range(SAMPLE))
    assert not _told(tally)
    assert {fault for fault, _ in tally.met} >= {"CrashAfter", "PausedBefore", "ClockStepped"}


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_storms_break_no_promise_and_every_fault_meets_every_call() -> None:
    tally = run_campaign(range(WHOLE), processes=2)
    assert not _told(tally)
    assert not missing(tally)


def test_a_storm_comes_again_with_its_seed() -> None:
    first, second = (storm(3, level=level_of(3)) for _ in range(2))
    assert (first.calls, first.met) == (second.calls, second.met)


def test_a_broken_promise_has_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS["no_identities"](monkeypatch)
    console = Console(file=io.StringIO(), width=200)
    for seed in range(50):
        trace = Trace()
        try:
            storm(seed, trace=trace)
        except Broken as broken:
            trace.show(console, workflow_id=broken.workflow_id)
            shown = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
            assert "log.commit" in shown and broken.workflow_id in shown
            return
    raise AssertionError("no seed saw the mutant")
