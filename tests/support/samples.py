"""Which of many cases a run takes: all of them with PERDURE_TEST_ALL=1, else some by the seed."""

import os
import random
from collections.abc import Sequence
from typing import Final

EVERY: Final = bool(os.environ.get("PERDURE_TEST_ALL"))
SEED: Final = int(os.environ.get("PERDURE_TEST_SEED", "0"))


def chance(*about: object) -> random.Random:
    """Draws that depend on the seed and on what they are about, and on nothing else."""
    return random.Random("-".join(map(str, (SEED, *about))))


def sample[T](cases: Sequence[T], size: int, *about: object) -> list[T]:
    """All cases, or ``size`` of them by the seed."""
    return list(cases) if EVERY else chance(*about).sample(cases, size)
