"""The run's own random numbers. The only room that imports random."""

from random import Random

__all__ = ["Random", "seeded"]


def seeded(run_id: str) -> Random:
    """A generator that draws the same numbers in every replay of the run, on every build."""
    return Random(run_id)
