"""A sample of seeded storms; ``PERDURE_TEST_ALL=1`` runs more. A red seed is run alone by
``PERDURE_STORM_SEED=<seed> pytest tests/simulation``."""

import logging
import os
import random

import pytest
from support.storm import storm

from perdure.testing.virtual_time import run

ALL = os.environ.get("PERDURE_TEST_ALL") == "1"
ONE = os.environ.get("PERDURE_STORM_SEED")
FIRST = int(ONE) if ONE else random.SystemRandom().randrange(1_000_000)
COUNT = 1 if ONE else (300 if ALL else 40)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("level", [1.0, 4.0])
def test_storms_break_no_promise(level: float, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    print(f"seeds {FIRST} to {FIRST + COUNT - 1} at level {level}")
    met: dict[str, int] = {}
    for seed in range(FIRST, FIRST + COUNT):
        try:
            plan = run(storm(seed, level=level))
        except AssertionError as error:
            raise AssertionError(f"PERDURE_STORM_SEED={seed} level {level}: {error}") from error
        for (fault, _), count in plan.met.items():
            met[fault] = met.get(fault, 0) + count
    print("faults met:", met)
    assert met or ONE
