"""The storms must see each rule of the log that is turned off. ``PERDURE_TEST_ALL=1`` tries all; by
default a sample of those that are seen at once."""

import os

import pytest
from support.storm.campaign import run_seeds
from support.storm.mutants import MUTANTS, WITHIN, hunt

ALL = os.environ.get("PERDURE_TEST_ALL") == "1"
SAMPLE = ("acknowledge_before_commit", "no_identities", "commit_without_cas")


@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("name", sorted(MUTANTS) if ALL else SAMPLE)
def test_the_storm_sees_a_rule_that_is_off(name: str) -> None:
    seen = hunt(name, run_seeds)
    assert seen is not None, f"{WITHIN} seeds are green with {name}"
    print(f"{name}: seen at seed {seen.seed}: {seen.what:.300}")
