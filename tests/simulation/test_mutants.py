"""The storm must see each rule of the log that is turned off. ``PERDURE_TEST_ALL=1`` tries all; by
default a sample of those that are seen soon."""

import logging
import os

import pytest
from support.mutants import MUTANTS
from support.storm import storm

from perdure.testing.virtual_time import run

ALL = os.environ.get("PERDURE_TEST_ALL") == "1"
SAMPLE = ("close_without_a_look", "no_identities")
SEEDS = 200


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(MUTANTS) if ALL else SAMPLE)
def test_the_storm_sees_a_rule_that_is_off(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    MUTANTS[name](monkeypatch)
    for seed in range(SEEDS):
        try:
            run(storm(seed))
        except (AssertionError, TimeoutError) as error:
            print(f"{name}: seen at seed {seed}: {error!r:.300}")
            return
    raise AssertionError(f"{SEEDS} seeds are green with {name}")
