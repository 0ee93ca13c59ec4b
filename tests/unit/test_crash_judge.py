"""The judge of crashes: what it lets pass, and that it sees what is lost or doubled."""

from __future__ import annotations

import pytest
from support.crash_judge import Death, judge_deeds, steps
from support.deployments import Deed

LIFE = steps("book 1", "pack 1", "pack 2", "pack 3", "leave 1")
KILLED, NEXT = 1, 2


def deeds(*lines: tuple[str, int]) -> list[Deed]:
    """One a second, each in its process."""
    return [Deed(f"w {line}", float(at), pid) for at, (line, pid) in enumerate(lines, 1)]


def before(*lines: str) -> list[tuple[str, int]]:
    return [(line, KILLED) for line in lines]


def after(*lines: str) -> list[tuple[str, int]]:
    return [(line, NEXT) for line in lines]


WHOLE = ("book 1", "pack 1", "pack 2", "pack 3", "leave 1")


@pytest.mark.parametrize(
    ("cut", "rest"),
    [
        ((), WHOLE),
        ((), ("book 2", *WHOLE[1:])),
        (("book 1",), WHOLE[1:]),
        (("book 1",), ("book 2", *WHOLE[1:])),
        (("book 1",), ("pack 2", "pack 3", "leave 1")),
        (WHOLE[:4], ("pack 4", "leave 1")),
        (WHOLE, ("leave 2",)),
        (WHOLE, ()),
    ],
)
def test_what_was_in_hand_is_done_again_under_the_next_number(
    cut: tuple[str, ...], rest: tuple[str, ...]
) -> None:
    death = Death(KILLED, len(cut) + 0.5)
    judge_deeds("w", deeds(*before(*cut), *after(*rest)), LIFE, [death])


@pytest.mark.parametrize(
    "lines",
    [
        WHOLE[:4],
        WHOLE[1:],
        ("book 1", *WHOLE),
        (*WHOLE, "leave 1"),
        (*WHOLE, "leave 2"),
        ("book 1", "book 2", *WHOLE[1:]),
        ("pack 1", "book 1", *WHOLE[2:]),
    ],
)
def test_without_a_death_nothing_is_excused(lines: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError, match=r"should not be there|missing"):
        judge_deeds("w", deeds(*before(*lines)), LIFE)


@pytest.mark.parametrize(
    ("cut", "rest"),
    [
        (("book 1",), ("book 1", *WHOLE[1:])),
        (("book 1", "pack 1"), ("book 2", *WHOLE[2:])),
        (("book 1",), ("book 2", "pack 2", "pack 3", "leave 1")),
        (("book 1",), ("pack 3", "leave 1")),
        (WHOLE[:4], ()),
    ],
)
def test_a_death_excuses_one_attempt_and_no_more(
    cut: tuple[str, ...], rest: tuple[str, ...]
) -> None:
    death = Death(KILLED, len(cut) + 0.5)
    with pytest.raises(AssertionError, match=r"should not be there|missing"):
        judge_deeds("w", deeds(*before(*cut), *after(*rest)), LIFE, [death])
