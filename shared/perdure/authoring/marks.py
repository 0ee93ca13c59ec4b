"""What the decorators leave on functions and classes."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final, cast

MARKS: Final = "__perdure_marks__"
WORKFLOW: Final = "__perdure_workflow__"
ACTIVITY: Final = "__perdure_activity__"


class HandlerUnfinishedPolicy(IntEnum):
    """Whether a run that closes while a handler still runs is warned about."""

    WARN_AND_ABANDON = 1
    ABANDON = 2


class Kind(StrEnum):
    """What a method of a workflow class is for."""

    RUN = "run"
    INIT = "init"
    SIGNAL = "signal"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class MethodMark:
    """One decorator on one method; ``name`` None means the method's own."""

    kind: Kind
    name: Any = None
    description: str = ""
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON


@dataclass(frozen=True, slots=True)
class ActivityMark:
    """``@activity.defn`` on a function, or on a class whose instances are callable."""

    name: str
    no_thread_cancel_exception: bool = False


def marks_of(member: object) -> tuple[MethodMark, ...]:
    if isinstance(member, staticmethod | classmethod):
        member = cast("Any", member).__func__
    return getattr(member, MARKS, ())


def mark_of(member: object, kind: Kind) -> MethodMark | None:
    return next((mark for mark in marks_of(member) if mark.kind is kind), None)


def add_mark(function: Callable[..., Any], mark: MethodMark) -> None:
    setattr(function, MARKS, (*marks_of(function), mark))
