"""When a failed attempt is tried again, and when no more. Arithmetic on nanoseconds, no clock."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Literal

import msgspec

from perdure.core.durations import SECOND, nanoseconds

RetryState = Literal[
    "in_progress",
    "non_retryable_failure",
    "timeout",
    "maximum_attempts_reached",
    "retry_policy_not_set",
    "cancel_requested",
]


class RetryRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A retry policy on the wire; durations in nanoseconds. ``maximum_attempts`` 0 is unlimited,
    ``maximum_interval`` 0 means 100 times the initial one."""

    initial_interval: int = SECOND
    backoff_coefficient: float = 2.0
    maximum_interval: int = 0
    maximum_attempts: int = 0
    non_retryable_error_types: tuple[str, ...] = ()
    jitter: float = 0.0

    def interval_cap(self) -> int:
        return self.maximum_interval or 100 * self.initial_interval

    def interval(self, attempt: int, *, spread: float = 0.5) -> int:
        """Nanoseconds to wait after failed attempt ``attempt`` (1-based).

        ``spread`` in [0, 1) is the random draw for the jitter: a factor in [1-j, 1+j), applied
        before the cap as in the seeds' engine.
        """
        grown = float(self.initial_interval)
        cap = self.interval_cap()
        for _ in range(attempt - 1):
            grown *= self.backoff_coefficient
            if grown >= cap and self.backoff_coefficient >= 1:
                grown = float(cap)
                break
        return min(int(grown * (1 - self.jitter + 2 * self.jitter * spread)), cap)


DEFAULT_ACTIVITY_RETRY: Final = RetryRule()


def decide_retry(
    rule: RetryRule,
    *,
    attempt: int,
    error_type: str | None,
    non_retryable: bool,
    next_retry_delay: int | None,
    remaining: int | None,
    spread: float = 0.5,
) -> int | RetryState:
    """Nanoseconds until the next attempt, or why there is none.

    ``remaining`` is the time left of the schedule-to-close timeout: a retry that would start
    after it is not made (Temporal's rule).
    """
    if non_retryable or (error_type is not None and error_type in rule.non_retryable_error_types):
        return "non_retryable_failure"
    if rule.maximum_attempts and attempt >= rule.maximum_attempts:
        return "maximum_attempts_reached"
    delay = (
        next_retry_delay if next_retry_delay is not None else rule.interval(attempt, spread=spread)
    )
    if remaining is not None and delay >= remaining:
        return "timeout"
    return delay


class RetryPolicy:
    """How often and how soon a failed activity (or workflow) is tried again.

    Defaults are Temporal's: first retry after 1 s, doubling, capped at 100 times the initial
    interval, without limit on attempts. ``maximum_attempts`` counts the first try; 0 is unlimited.
    ``jitter`` 0.5 spreads each interval over 0.5 to 1.5 of itself. ``initial_delay`` is another
    name of ``initial_interval``.

    Raises:
        ValueError: naming the field, when a value is outside its range.
    """

    __slots__ = (
        "backoff_coefficient",
        "initial_interval",
        "jitter",
        "maximum_attempts",
        "maximum_interval",
        "non_retryable_error_types",
    )

    def __init__(
        self,
        initial_interval: timedelta = timedelta(seconds=1),
        backoff_coefficient: float = 2.0,
        maximum_interval: timedelta | None = None,
        maximum_attempts: int = 0,
        non_retryable_error_types: Sequence[str] | None = None,
        *,
        jitter: float = 0.0,
        initial_delay: timedelta | None = None,
    ) -> None:
        self.initial_interval = initial_delay if initial_delay is not None else initial_interval
        self.backoff_coefficient = backoff_coefficient
        self.maximum_interval = maximum_interval
        self.maximum_attempts = maximum_attempts
        self.non_retryable_error_types = non_retryable_error_types
        self.jitter = jitter
        self._check()

    def _check(self) -> None:
        if self.initial_interval < timedelta(0):
            raise ValueError("initial_interval cannot be negative")
        if self.backoff_coefficient < 1:
            raise ValueError("backoff_coefficient cannot be less than 1")
        if self.maximum_interval is not None:
            if self.maximum_interval < timedelta(0):
                raise ValueError("maximum_interval cannot be negative")
            if self.maximum_interval < self.initial_interval:
                raise ValueError("maximum_interval cannot be less than initial_interval")
        if self.maximum_attempts < 0:
            raise ValueError("maximum_attempts cannot be negative")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter must be between 0 and 1")

    def to_rule(self) -> RetryRule:
        """This policy as it stands on the wire."""
        return RetryRule(
            initial_interval=nanoseconds(self.initial_interval),
            backoff_coefficient=self.backoff_coefficient,
            maximum_interval=nanoseconds(self.maximum_interval) if self.maximum_interval else 0,
            maximum_attempts=self.maximum_attempts,
            non_retryable_error_types=tuple(self.non_retryable_error_types or ()),
            jitter=self.jitter,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RetryPolicy) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"RetryPolicy({inner})"

    def _values(self) -> tuple[Any, ...]:
        types = tuple(self.non_retryable_error_types or ())
        return (
            self.initial_interval,
            self.backoff_coefficient,
            self.maximum_interval,
            self.maximum_attempts,
            types,
            self.jitter,
        )
