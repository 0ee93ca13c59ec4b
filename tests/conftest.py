"""What every test run shares: one seed for the samples, also when several processes run them."""

import os
import random

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # Set by the first process, inherited by those it starts: they must collect the same sample.
    os.environ.setdefault("PERDURE_TEST_SEED", str(random.SystemRandom().randrange(1_000_000)))


def pytest_report_header(config: pytest.Config) -> str:
    return f"samples: PERDURE_TEST_SEED={os.environ['PERDURE_TEST_SEED']}"
