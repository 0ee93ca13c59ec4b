"""Durations and instants."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.durations import LONGEST, SECOND, duration, nanoseconds, to_datetime, to_timedelta


@given(st.timedeltas(timedelta(-9999), timedelta(9999)))
def test_timedeltas_are_exact(value: timedelta) -> None:
    assert to_timedelta(nanoseconds(value)) == value


def test_durations() -> None:
    assert duration(timedelta(seconds=2), "t") == 2 * SECOND
    assert duration(0.25, "t") == SECOND // 4
    assert duration(-1, "t") == -SECOND
    assert duration(timedelta(days=36_500), "t") == LONGEST


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (float("nan"), ValueError, "t must be a finite number of seconds, got nan"),
        (float("-inf"), ValueError, "t must be a finite number of seconds, got -inf"),
        ("5", TypeError, "t must be a timedelta or seconds, not str"),
        (True, TypeError, "t must be a timedelta or seconds, not bool"),
        (timedelta(days=36_501), ValueError, "t is longer than the limit of 100 years"),
    ],
)
def test_what_is_no_duration(value: object, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as error:
        duration(value, "t")  # pyright: ignore[reportArgumentType]
    assert str(error.value) == text


def test_instants() -> None:
    assert to_datetime(1_500_000_000 * SECOND + 1_999) == datetime(
        2017, 7, 14, 2, 40, 0, 1, tzinfo=UTC
    )
