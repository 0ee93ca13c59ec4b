"""Reads the parameters of a callable: kinds, defaults, types."""

import inspect
import types
import typing
import warnings
from collections.abc import Callable
from typing import Any, cast

from perdure.core.definitions import Signature

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def name_of(function: object) -> str:
    """How messages call a callable."""
    for holder in (function, type(function)):
        name = getattr(holder, "__qualname__", None)
        if isinstance(name, str):
            return name
    return repr(function)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; callable objects count by their ``__call__``."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method itself is looked at
    )


def parameters_of(function: Callable[..., Any], *, bound: bool) -> list[inspect.Parameter]:
    """The parameters that arguments fill; ``bound`` leaves out the first, the object."""
    parameters = list(inspect.signature(function).parameters.values())
    return parameters[1:] if bound else parameters


def parameter_issues(function: Callable[..., Any], *, bound: bool, what: str) -> list[str]:
    """What forbids calling ``function`` with a list of positional arguments."""
    everything = list(inspect.signature(function).parameters.values())
    if bound and (
        not everything or everything[0].kind not in (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL)
    ):
        return [f"{what} must take self first"]
    issues: list[str] = []
    for parameter in parameters_of(function, bound=bound):
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            issues.append(
                f"{what} has the keyword-only parameter {parameter.name!r}: "
                "arguments are passed by position"
            )
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            issues.append(f"{what} takes **{parameter.name}: arguments are passed by position")
    return issues


def signature_of(function: Callable[..., Any], *, bound: bool) -> Signature:
    """The positional parameters of ``function`` with their types.

    An annotation that cannot be evaluated counts as Any, with a warning that names it.
    """
    parameters = parameters_of(function, bound=bound)
    hints = _hints_of(function)
    fixed = [item for item in parameters if item.kind in _POSITIONAL]
    return Signature(
        types=tuple(hints.get(item.name, Any) for item in fixed),
        required=sum(item.default is inspect.Parameter.empty for item in fixed),
        variadic=any(item.kind is inspect.Parameter.VAR_POSITIONAL for item in parameters),
        returns=hints.get("return", Any),
    )


def _hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    target = _annotated(function)
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return _hints_one_by_one(target)


def _annotated(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that carries the annotations of any callable."""
    while True:
        if isinstance(function, types.MethodType):
            function = function.__func__
        elif isinstance(function, types.FunctionType | types.BuiltinFunctionType):
            return function
        elif isinstance(function, type):
            return cast("Callable[..., Any]", function.__call__)
        elif callable(inner := getattr(function, "func", None)):
            function = cast("Callable[..., Any]", inner)
        else:
            function = type(function).__call__


def _hints_one_by_one(target: Callable[..., Any]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    unknown: list[str] = []
    for name, annotation in inspect.get_annotations(target).items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        scope = getattr(inspect.unwrap(target), "__globals__", {})
        try:
            hints |= typing.get_type_hints(holder, globalns=scope, include_extras=True)
        except (NameError, AttributeError, TypeError, SyntaxError):
            unknown.append(f"{name}: {annotation}")
    if unknown:
        warnings.warn(
            f"{name_of(target)}: cannot evaluate the annotations {', '.join(unknown)}; values "
            "there stay plain JSON types. Import the types at the top of the module, not under "
            "TYPE_CHECKING or inside a function.",
            stacklevel=2,
        )
    return hints
