"""When a failed attempt is tried again."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.durations import SECOND
from perdure.core.retry import DEFAULT_ACTIVITY_RETRY, RetryPolicy, RetryRule, decide_retry

MS = SECOND // 1000


def test_the_default_is_temporals() -> None:
    assert RetryPolicy().to_rule() == DEFAULT_ACTIVITY_RETRY == RetryRule()
    assert [RetryRule().interval(n) // SECOND for n in (1, 2, 3, 7, 8, 500)] == [
        *(1, 2, 4, 64, 100, 100),
    ]


def test_intervals_without_growth_and_with_a_cap() -> None:
    flat = RetryRule(initial_interval=20 * MS, backoff_coefficient=1.0)
    assert {flat.interval(n) for n in range(1, 50)} == {20 * MS}
    capped = RetryRule(initial_interval=200 * MS, backoff_coefficient=10, maximum_interval=500 * MS)
    assert [capped.interval(n) // MS for n in (1, 2, 3)] == [200, 500, 500]
    shrinking = RetryRule(initial_interval=SECOND, backoff_coefficient=0.5)
    assert shrinking.interval(3) == SECOND // 4


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 40))
def test_jitter_spreads_over_half_to_one_and_a_half_below_the_cap(spread: float, n: int) -> None:
    rule = RetryRule(initial_interval=100 * MS, jitter=0.5, maximum_interval=10 * SECOND)
    base = RetryRule(initial_interval=100 * MS, maximum_interval=10 * SECOND).interval(n)
    assert base // 2 <= rule.interval(n, spread=spread) <= min(base * 3 // 2, 10 * SECOND)


def decide(rule: RetryRule = DEFAULT_ACTIVITY_RETRY, **options: Any) -> Any:
    options = {
        "attempt": 1,
        "error_type": None,
        "non_retryable": False,
        "next_retry_delay": None,
        "remaining": None,
        **options,
    }
    return decide_retry(rule, **options)


def test_decisions() -> None:
    assert decide() == SECOND
    assert decide(non_retryable=True) == "non_retryable_failure"
    picky = RetryRule(non_retryable_error_types=("Fatal",), maximum_attempts=3)
    assert decide(picky, error_type="Fatal") == "non_retryable_failure"
    assert decide(picky, error_type="Other", attempt=2) == 2 * SECOND
    assert decide(picky, attempt=3) == "maximum_attempts_reached"
    assert decide(next_retry_delay=7) == 7
    assert decide(remaining=SECOND) == "timeout"
    assert decide(remaining=SECOND + 1) == SECOND


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"initial_interval": timedelta(-1)}, "initial_interval cannot be negative"),
        ({"backoff_coefficient": 0.5}, "backoff_coefficient cannot be less than 1"),
        ({"maximum_interval": timedelta(-1)}, "maximum_interval cannot be negative"),
        (
            {"maximum_interval": timedelta(milliseconds=1)},
            "maximum_interval cannot be less than initial_interval",
        ),
        ({"maximum_attempts": -1}, "maximum_attempts cannot be negative"),
        ({"jitter": 1.5}, "jitter must be between 0 and 1"),
    ],
)
def test_bad_policies(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as error:
        RetryPolicy(**options)
    assert str(error.value) == text


def test_policies_are_values() -> None:
    full = RetryPolicy(
        initial_delay=timedelta(seconds=5),
        maximum_interval=timedelta(seconds=9),
        maximum_attempts=3,
        non_retryable_error_types=["A"],
        jitter=0.5,
    )
    same = RetryPolicy(timedelta(seconds=5), 2.0, timedelta(seconds=9), 3, ["A"], jitter=0.5)
    assert full == same and hash(full) == hash(same)
    assert full != RetryPolicy() and full != "a policy"
    assert "maximum_attempts=3" in repr(full)
    assert full.to_rule() == RetryRule(
        initial_interval=5 * SECOND,
        maximum_interval=9 * SECOND,
        maximum_attempts=3,
        non_retryable_error_types=("A",),
        jitter=0.5,
    )
