"""Stands in for the outside world: the warehouse, the payment provider, the mail server.

Real activities call other systems. These examples append a line to the file that
``PERDURE_EXAMPLE_LOG`` names, so that anybody can count what was really done, and how often.

An activity is performed at least once: a process that dies after the call and before its result is
recorded leaves a second attempt to another. That is why a careful system is given the activity's
``idempotency_key``, which all attempts share, and does nothing for a key that it already knows.
The outside world of these examples is such a system.

``PERDURE_EXAMPLE_PACE`` is how many seconds each call takes, for trying out what happens when a
process is killed in the middle of one.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from perdure import activity


@dataclass(frozen=True)
class Effect:
    """One line of the file: what was done, and for which call."""

    what: str
    subject: str
    idempotency_key: str
    attempt: int


def perform(subject: str) -> None:
    """Do what the running activity is named after, for ``subject``, once per idempotency key."""
    time.sleep(float(os.environ.get("PERDURE_EXAMPLE_PACE", "0")))
    log = os.environ.get("PERDURE_EXAMPLE_LOG")
    if not log:
        return
    info = activity.info()
    path = Path(log)
    if any(effect.idempotency_key == info.idempotency_key for effect in effects(path)):
        return
    line = f"{info.activity_type}\t{subject}\t{info.idempotency_key}\t{info.attempt}\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def effects(path: Path) -> list[Effect]:
    """Everything that was done, in order."""
    if not path.exists():
        return []
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [Effect(what, subject, key, int(attempt)) for what, subject, key, attempt in rows]
