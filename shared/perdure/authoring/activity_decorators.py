"""``@activity.defn`` and the way from a callable to its definition."""

import inspect
import types
from collections.abc import Callable
from typing import Any, Final, cast, overload

from perdure.authoring.marks import ACTIVITY, ActivityMark
from perdure.authoring.signatures import is_async, name_of, parameter_issues, signature_of
from perdure.core.definitions import ActivityDefinition
from perdure.core.ids import check_id


@overload
def defn[F: Callable[..., Any]](function: F, /) -> F: ...
@overload
def defn[F: Callable[..., Any]](
    *, name: str | None = None, no_thread_cancel_exception: bool = False
) -> Callable[[F], F]: ...
def defn(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    no_thread_cancel_exception: bool = False,
) -> Any:
    """Make a function an activity, named as the function unless ``name`` says otherwise.

    It may be sync or async, a method, or a class whose instances are callable (then instances are
    registered). ``no_thread_cancel_exception``: a cancellation doesn't raise CancelledError in the
    thread of a sync activity; it asks ``activity.is_cancelled()`` itself.

    Raises:
        TypeError: not a callable that takes positional arguments. ValueError: a bad name.
    """

    def mark(target: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(target, staticmethod | classmethod) or not callable(target):
            raise TypeError(
                f"@activity.defn goes on a function or a callable class, not on {target!r}; "
                "its options go by keyword, and it goes under @staticmethod or @classmethod"
            )
        body = _body(target)
        what = f"activity {name_of(target)}"
        if issues := parameter_issues(body, bound=body is not target, what=what):
            raise TypeError("; ".join(issues))
        own = name if name is not None else getattr(target, "__name__", None)
        setattr(
            target,
            ACTIVITY,
            ActivityMark(
                name=check_id(own, f"the name of {what}"),
                no_thread_cancel_exception=no_thread_cancel_exception,
            ),
        )
        return target

    return mark if function is None else mark(function)


def _body(target: Callable[..., Any]) -> Callable[..., Any]:
    """What runs: for a class, the ``__call__`` of its instances."""
    if not isinstance(target, type):
        return target
    call = inspect.getattr_static(target, "__call__", None)
    if not isinstance(call, types.FunctionType):
        raise TypeError(
            f"{target.__qualname__} has no __call__ method: @activity.defn on a class "
            "makes its callable instances activities; mark single methods otherwise"
        )
    return call


def is_activity(candidate: object) -> bool:
    """Whether ``candidate`` can be registered: marked, and not a class."""
    return isinstance(_mark_of(candidate), ActivityMark) and not isinstance(candidate, type)


def activity_definition_of(function: Callable[..., Any]) -> ActivityDefinition:
    """The definition of a callable as a worker registers it.

    Raises TypeError for what is not marked, and for a class or an unbound method, which has no
    object to run on.
    """
    mark = _require(function)
    if isinstance(function, type):
        raise TypeError(
            f"activity {mark.name!r}: {function.__qualname__} is a class; "
            "register an instance of it"
        )
    if _is_unbound(function):
        raise TypeError(
            f"activity {mark.name!r}: {name_of(function)} is a method without its object; "
            "register the method of an instance"
        )
    return _define(function, mark, bound=False)


def activity_reference(function: Callable[..., Any]) -> ActivityDefinition:
    """The definition that a workflow's call refers to; classes and unbound methods are fine.

    Raises TypeError for what is not marked.
    """
    # Bound methods are new objects at each access, so that what they wrap is the key. Callable
    # objects are none: a definition keeps its function alive.
    key = function.__func__ if isinstance(function, types.MethodType) else function
    if not isinstance(key, types.FunctionType | type):
        return _refer(function)
    known = _references.get(key)
    if known is None:
        if len(_references) >= _REFERENCES_LIMIT:
            _references.clear()
        known = _references[key] = _refer(function)
    return known


_references: dict[object, ActivityDefinition] = {}
_REFERENCES_LIMIT: Final = 1_024


def _refer(function: Callable[..., Any]) -> ActivityDefinition:
    mark = _require(function)
    if isinstance(function, types.MethodType):
        return _define(function.__func__, mark, bound=True)
    body = _body(function)
    return _define(body, mark, bound=isinstance(function, type) or _is_unbound(function))


def _define(function: Callable[..., Any], mark: ActivityMark, *, bound: bool) -> ActivityDefinition:
    return ActivityDefinition(
        name=mark.name,
        function=function,
        signature=signature_of(function, bound=bound),
        is_async=is_async(function),
        no_thread_cancel_exception=mark.no_thread_cancel_exception,
    )


def _require(function: object) -> ActivityMark:
    mark = _mark_of(function)
    if not isinstance(mark, ActivityMark):
        raise TypeError(
            f"Activity {name_of(function)} missing attributes, was it decorated with "
            "@activity.defn? Decorate it, or give the activity's name as a string."
        )
    return mark


def _mark_of(function: object) -> object:
    return cast("object", getattr(function, ACTIVITY, None))


def _is_unbound(function: Callable[..., Any]) -> bool:
    if not isinstance(function, types.FunctionType):
        return False
    # Only the name tells a method from a function; a first parameter "self" confirms it.
    outer = function.__qualname__.rpartition(".")[0]
    if not outer or outer.endswith("<locals>"):
        return False
    return next(iter(inspect.signature(function).parameters), None) == "self"
