"""Durations and instants: ``timedelta`` and ``datetime`` at the border, integer nanoseconds inside."""

from datetime import UTC, datetime, timedelta
from typing import Final

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

LONGEST: Final = 100 * 365 * DAY
"""The longest duration taken; a longer one would leave the range of stream timestamps."""


def nanoseconds(duration: timedelta) -> int:
    """``duration`` in nanoseconds, exactly."""
    return ((duration.days * 86_400 + duration.seconds) * 1_000_000 + duration.microseconds) * 1_000


def duration(value: timedelta | float | int, field: str) -> int:
    """A duration argument (timedelta, or seconds) in nanoseconds.

    Raises:
        TypeError: not a duration. ValueError: not finite, or longer than a hundred years.
    """
    if isinstance(value, timedelta):
        result = nanoseconds(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{field} must be a finite number of seconds, got {value!r}")
        result = int(value * SECOND)
    else:
        raise TypeError(f"{field} must be a timedelta or seconds, not {type(value).__name__}")
    if result > LONGEST:
        raise ValueError(f"{field} is longer than the limit of 100 years")
    return result


def to_timedelta(value: int) -> timedelta:
    return timedelta(microseconds=value // 1_000)


def to_datetime(instant: int) -> datetime:
    """The aware UTC datetime of nanoseconds since the epoch (microsecond precision)."""
    seconds, rest = divmod(instant, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)
