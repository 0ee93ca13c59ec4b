"""Reads workflow classes: finds what is marked, checks it, and builds definitions."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, overload

from perdure.authoring.marks import (
    WORKFLOW,
    HandlerUnfinishedPolicy,
    Kind,
    MethodMark,
    mark_of,
    marks_of,
)
from perdure.authoring.signatures import (
    is_async,
    name_of,
    parameter_issues,
    parameters_of,
    signature_of,
)
from perdure.core.definitions import HandlerDefinition, WorkflowDefinition
from perdure.core.ids import check_id

_RESERVED = ("__perdure", "__temporal", "__stack_trace", "__enhanced_stack_trace")


@dataclass(slots=True)
class WorkflowMark:
    """A checked workflow class. The definition is built when first asked for: by then the whole
    module exists, so that annotations may name what comes after the class."""

    cls: type
    name: str
    run: Callable[..., Any]
    init_takes_args: bool
    signals: Mapping[str, Callable[..., Any]]
    queries: Mapping[str, Callable[..., Any]]
    _definition: WorkflowDefinition | None = None

    def definition(self) -> WorkflowDefinition:
        if self._definition is None:
            self._definition = WorkflowDefinition(
                name=self.name,
                cls=self.cls,
                run=self.run,
                signature=signature_of(self.run, bound=True),
                init_takes_args=self.init_takes_args,
                signals={k: _handler(k, v, Kind.SIGNAL) for k, v in self.signals.items()},
                queries={k: _handler(k, v, Kind.QUERY) for k, v in self.queries.items()},
            )
        return self._definition


def _handler(name: str, function: Callable[..., Any], kind: Kind) -> HandlerDefinition:
    mark = mark_of(function, kind)
    return HandlerDefinition(
        name=name,
        function=function,
        signature=signature_of(function, bound=True),
        is_async=is_async(function),
        description=mark.description if mark else "",
    )


@dataclass(slots=True)
class _Reading:
    """The work of reading one class; everything wrong with it ends in ``issues``."""

    cls: type
    issues: list[str] = field(default_factory=list[str])
    runs: list[Callable[..., Any]] = field(default_factory=list[Callable[..., Any]])
    init_takes_args: bool = False
    handlers: dict[Kind, dict[str, Callable[..., Any]]] = field(
        default_factory=lambda: {Kind.SIGNAL: {}, Kind.QUERY: {}}
    )


def read_workflow_class(cls: type, name: str | None) -> WorkflowMark:
    """The mark of ``cls``. Raises ValueError naming everything that is wrong with the class."""
    reading = _Reading(cls)
    if "<locals>" in cls.__qualname__:
        reading.issues.append(
            "it is a local class: define it at the top of a module, where every process finds it"
        )
    workflow_name = _checked_name(cls.__name__ if name is None else name, "name", reading.issues)
    for attribute, versions in _members(cls).items():
        _read_member(reading, attribute, versions)
    _check_runs(reading)
    _check_constructor(reading)
    if reading.issues:
        issues = "; ".join(reading.issues)
        raise ValueError(f"Invalid workflow class: {cls.__qualname__}: {issues}")
    return WorkflowMark(
        cls=cls,
        name=workflow_name,
        run=reading.runs[0],
        init_takes_args=reading.init_takes_args,
        signals=reading.handlers[Kind.SIGNAL],
        queries=reading.handlers[Kind.QUERY],
    )


def _members(cls: type) -> dict[str, list[tuple[type, Any]]]:
    """Every attribute with its versions along the bases, the effective one first."""
    found: dict[str, list[tuple[type, Any]]] = {}
    for owner in cls.__mro__[:-1]:
        for attribute, value in vars(owner).items():
            found.setdefault(attribute, []).append((owner, value))
    return found


def _read_member(reading: _Reading, attribute: str, versions: Sequence[tuple[type, Any]]) -> None:
    owner, member = versions[0]
    marks: tuple[MethodMark, ...] = marks_of(member)
    where = f"{owner.__qualname__}.{attribute}"
    for base, overridden in versions[1:]:
        for mark in marks_of(overridden):
            if mark.kind is not Kind.INIT and mark_of(member, mark.kind) is None:
                reading.issues.append(
                    f"@workflow.{mark.kind} is on {base.__qualname__}.{attribute} "
                    f"but not on its override {where}"
                )
    if not marks:
        return
    if isinstance(member, staticmethod | classmethod):
        form = "staticmethod" if isinstance(member, staticmethod) else "classmethod"
        reading.issues.append(f"{where} must be a plain method, not a {form}")
        return
    mark, *others = marks
    if others:
        kinds = ", ".join(f"@workflow.{mark.kind}" for mark in marks)
        reading.issues.append(f"{where} has {kinds}: one method, one decorator")
        return
    what = f"@workflow.{mark.kind} method {where}"
    reading.issues += parameter_issues(member, bound=True, what=what)
    match mark.kind:
        case Kind.RUN:
            _read_run(reading, owner, member, what)
        case Kind.INIT:
            _read_init(reading, attribute, what)
        case Kind.SIGNAL | Kind.QUERY:
            _read_handler(reading, attribute, member, mark)


def _read_run(reading: _Reading, owner: type, member: Callable[..., Any], what: str) -> None:
    if owner is not reading.cls:
        reading.issues.append(
            f"{what} is inherited: declare it again on {reading.cls.__qualname__}, "
            "and call super().run() there if that is all it does"
        )
    if not is_async(member):
        reading.issues.append(f"{what} must be async")
    taken = getattr(member, WORKFLOW, None)
    if isinstance(taken, WorkflowMark) and taken.cls is not reading.cls:
        reading.issues.append(f"{what} already is the run method of {taken.cls.__qualname__}")
    reading.runs.append(member)


def _read_init(reading: _Reading, attribute: str, what: str) -> None:
    if attribute == "__init__":
        reading.init_takes_args = True
    else:
        reading.issues.append(f"{what}: @workflow.init goes on __init__ alone")


def _read_handler(
    reading: _Reading, attribute: str, member: Callable[..., Any], mark: MethodMark
) -> None:
    name = _checked_name(
        attribute if mark.name is None else mark.name,
        f"the name of {mark.kind} {attribute}",
        reading.issues,
    )
    known = reading.handlers[mark.kind]
    if name in known:
        reading.issues.append(
            f"two {mark.kind} methods are named {name!r}: "
            f"{name_of(known[name])} and {name_of(member)}"
        )
    known[name] = member


def _checked_name(name: Any, what: str, issues: list[str]) -> str:
    try:
        check_id(name, what)
    except ValueError as error:
        issues.append(str(error))
        return str(name)
    if name.startswith(_RESERVED):
        issues.append(f"{what} cannot be {name!r}: names that begin so are reserved")
    return name


def _check_runs(reading: _Reading) -> None:
    if not reading.runs:
        lost = any("@workflow.run is on" in issue for issue in reading.issues)
        if not lost:
            reading.issues.append(
                "no @workflow.run method: mark exactly one async method with @workflow.run"
            )
    elif len(reading.runs) > 1:
        names = " and ".join(name_of(run) for run in reading.runs)
        reading.issues.append(f"more than one @workflow.run method: {names}")


def _check_constructor(reading: _Reading) -> None:
    constructor = cast("Callable[..., Any]", reading.cls.__init__)
    if reading.init_takes_args:
        if len(reading.runs) == 1 and not _same_parameters(constructor, reading.runs[0]):
            reading.issues.append(
                "the parameters of @workflow.init and @workflow.run must be the same "
                "(types and defaults; names may differ)"
            )
        return
    needed = [
        parameter.name
        for parameter in parameters_of(constructor, bound=True)
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    if needed:
        reading.issues.append(
            f"__init__ needs the arguments {', '.join(needed)}: give them defaults, or mark it "
            "with @workflow.init to receive those of @workflow.run"
        )


def _same_parameters(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    def shape(function: Callable[..., Any]) -> list[tuple[Any, ...]]:
        return [(p.kind, p.annotation, p.default) for p in parameters_of(function, bound=True)]

    return shape(one) == shape(other)


@overload
def definition_of(subject: str) -> None: ...
@overload
def definition_of(subject: type | Callable[..., Any]) -> WorkflowDefinition: ...
def definition_of(subject: str | type | Callable[..., Any]) -> WorkflowDefinition | None:
    """The definition behind a workflow class or its run method; None for a bare name.

    Raises TypeError saying which decorator is missing.
    """
    if isinstance(subject, str):
        return None
    if isinstance(subject, type):
        mark = vars(subject).get(WORKFLOW)
        if mark is None:
            inherited = " again: it is not inherited" if hasattr(subject, WORKFLOW) else ""
            raise TypeError(
                f"{subject.__qualname__} is not a workflow: "
                f"decorate the class with @workflow.defn{inherited}"
            )
    else:
        mark = getattr(subject, WORKFLOW, None)
        if mark is None:
            raise TypeError(_not_a_run_method(subject))
    return cast("WorkflowMark", mark).definition()


def _not_a_run_method(subject: object) -> str:
    if mark_of(subject, Kind.RUN) is not None:
        return f"{name_of(subject)} is not a workflow: decorate its class with @workflow.defn"
    return (
        "a workflow is named by its class, by its @workflow.run method or by a string, "
        f"not by {name_of(subject)}"
    )


def workflow_name(subject: str | type | Callable[..., Any]) -> str:
    """The name that starts the workflow ``subject`` stands for."""
    if isinstance(subject, str):
        return check_id(subject, "workflow")
    return definition_of(subject).name


def signal_name(subject: str | Callable[..., Any]) -> str:
    """The name of a signal given by its method or as a string; else raises TypeError."""
    return _method_name(subject, Kind.SIGNAL)


def query_name(subject: str | Callable[..., Any]) -> str:
    """The name of a query given by its method or as a string; else raises TypeError."""
    return _method_name(subject, Kind.QUERY)


def query_result_type(subject: str | Callable[..., Any]) -> Any:
    """The annotated result of a query method; Any for a bare name."""
    return Any if isinstance(subject, str) else signature_of(subject, bound=True).returns


def unfinished_policy_of(signal: Callable[..., Any]) -> HandlerUnfinishedPolicy:
    """What ``@workflow.signal`` said of runs that close while this handler runs."""
    mark = mark_of(signal, Kind.SIGNAL)
    return HandlerUnfinishedPolicy.WARN_AND_ABANDON if mark is None else mark.unfinished_policy


def _method_name(subject: str | Callable[..., Any], kind: Kind) -> str:
    if isinstance(subject, str):
        return check_id(subject, str(kind))
    mark = mark_of(subject, kind)
    if mark is None:
        raise TypeError(
            f"{name_of(subject)} is not a {kind}: decorate it with @workflow.{kind}, "
            f"or give the {kind}'s name as a string"
        )
    return cast("str", subject.__name__ if mark.name is None else mark.name)
