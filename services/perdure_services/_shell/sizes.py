"""Sizes as people write them in flags and environments."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

_UNITS: Final = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Z]*)")


def parse_size(value: Any) -> int:
    """Bytes, or text such as ``500MB`` and ``20GiB``. Raises ValueError."""
    text = str(value).strip()
    match = _SIZE.fullmatch(text.upper())
    unit = _UNITS.get(match[2]) if match is not None else None
    if match is None or unit is None:
        raise ValueError(f"not a size: {text!r}; write bytes or text such as 500MB, 20GiB")
    return int(float(match[1]) * unit)


Size = Annotated[int, BeforeValidator(parse_size)]
