"""``@workflow.defn``, ``run``, ``init``, ``signal``, ``query``: they mark, and check at once."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast, overload

from perdure.authoring.common import VersioningBehavior
from perdure.authoring.definitions import read_workflow_class
from perdure.authoring.marks import WORKFLOW, HandlerUnfinishedPolicy, Kind, MethodMark, add_mark


@overload
def defn[C: type](cls: C, /) -> C: ...
@overload
def defn[C: type](
    *,
    name: str | None = None,
    sandboxed: bool = True,
    failure_exception_types: Sequence[type[BaseException]] = (),
    versioning_behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED,
) -> Callable[[C], C]: ...
def defn[C: type](
    cls: C | None = None,
    /,
    *,
    name: str | None = None,
    sandboxed: bool = True,
    failure_exception_types: Sequence[type[BaseException]] = (),
    versioning_behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED,
) -> C | Callable[[C], C]:
    """Make a class a workflow, named as the class unless ``name`` says otherwise.

    ``sandboxed``, ``failure_exception_types`` and ``versioning_behavior`` are taken so that
    programs written for Temporal run unchanged, and have no effect: there is no import sandbox, and
    every exception that leaves ``run`` fails the workflow.

    Raises:
        ValueError: naming everything that is wrong with the class.
    """
    del sandboxed, versioning_behavior
    for kind in failure_exception_types:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"failure_exception_types holds {kind!r}, which is no exception class")

    def mark(target: C) -> C:
        if not isinstance(target, type):
            raise TypeError(
                f"@workflow.defn goes on a class, not on {target!r}; its options go by keyword"
            )
        workflow = read_workflow_class(target, name)
        setattr(target, WORKFLOW, workflow)
        setattr(workflow.run, WORKFLOW, workflow)
        return target

    return mark if cls is None else mark(cls)


def run[F: Callable[..., Any]](function: F, /) -> F:
    """Mark the async method that is the workflow."""
    return _marked(function, MethodMark(Kind.RUN))


def init[F: Callable[..., Any]](function: F, /) -> F:
    """Let ``__init__`` receive the arguments of the run method: its parameters must be the same."""
    return _marked(function, MethodMark(Kind.INIT))


@overload
def signal[F: Callable[..., Any]](function: F, /) -> F: ...
@overload
def signal[F: Callable[..., Any]](
    *,
    name: str | None = None,
    description: str | None = None,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
) -> Callable[[F], F]: ...
def signal(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
) -> Any:
    """Mark a method, sync or async, that takes a signal; what it returns is ignored."""

    def mark(target: Callable[..., Any]) -> Callable[..., Any]:
        return _marked(
            target,
            MethodMark(Kind.SIGNAL, name, description or _summary(target), unfinished_policy),
        )

    return mark if function is None else mark(function)


@overload
def query[F: Callable[..., Any]](function: F, /) -> F: ...
@overload
def query[F: Callable[..., Any]](
    *, name: str | None = None, description: str | None = None
) -> Callable[[F], F]: ...
def query(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
) -> Any:
    """Mark a method that answers a query; it may look at the workflow, not change it."""

    def mark(target: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(target):
            warnings.warn(
                f"{target.__qualname__}: a query should be a plain def; it cannot wait",
                DeprecationWarning,
                stacklevel=2 if function is None else 3,
            )
        return _marked(target, MethodMark(Kind.QUERY, name, description or _summary(target)))

    return mark if function is None else mark(function)


def _marked[F: Callable[..., Any]](function: F, mark: MethodMark) -> F:
    if isinstance(function, type) or not callable(function):
        raise TypeError(
            f"@workflow.{mark.kind} goes on a method, not on {function!r}; "
            "its options go by keyword"
        )
    add_mark(function, mark)
    return function


def _summary(target: object) -> str:
    text = cast("str | None", getattr(target, "__doc__", None))
    return text.strip().splitlines()[0] if text and text.strip() else ""
