"""Durations as people write them in flags and environments."""

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


def parse_duration(value: Any) -> timedelta:
    """Seconds, or text such as ``90s`` and ``1h30m``. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    try:
        if _WHOLE.fullmatch(text):
            seconds = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))
        else:
            seconds = float(text)
        if seconds < 0:
            raise ValueError
        return timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        raise ValueError(
            f"not a duration: {text!r}; write seconds or text such as 90s, 1h30m"
        ) from None


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
