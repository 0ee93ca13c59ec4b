"""A deployment's workflows and activities, looked up by name."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType, ModuleType
from typing import Any, Literal, Self, cast

from perdure.authoring.activity_decorators import activity_definition_of, is_activity
from perdure.authoring.definitions import definition_of
from perdure.authoring.exceptions import NotRegisteredError
from perdure.authoring.marks import WORKFLOW
from perdure.authoring.signatures import name_of
from perdure.core.definitions import ActivityDefinition, WorkflowDefinition

type Kind = Literal["workflow", "activity"]


class App:
    """What a worker can run.

    Raises:
        TypeError: a class or function without its decorator, or one that cannot be called.
        ValueError: two of one name.
    """

    def __init__(
        self, *, workflows: Sequence[type] = (), activities: Sequence[Callable[..., Any]] = ()
    ) -> None:
        self._workflows: dict[str, WorkflowDefinition] = {}
        self._activities: dict[str, ActivityDefinition] = {}
        for cls in workflows:
            self._add_workflow(cls)
        for function in activities:
            self._add_activity(function)

    @classmethod
    def from_modules(cls, specs: Sequence[str]) -> Self:
        """The definitions of modules, each ``package.module`` (what the module itself defines) or
        ``package.module:name`` (an App in it). What two of them share counts once.

        Raises:
            ImportError: no such module. ValueError: nothing found, or two of one name.
        """
        workflows: dict[int, type] = {}
        activities: dict[int, Callable[..., Any]] = {}
        for spec in specs:
            found_workflows, found_activities = _load(spec)
            workflows |= {id(item): item for item in found_workflows}
            for item in found_activities:
                # A bound method is a new object at each access; its parts are not.
                owner = getattr(item, "__self__", None)
                key = (
                    id(item)
                    if owner is None
                    else hash((id(owner), id(getattr(item, "__func__", item))))
                )
                activities.setdefault(key, item)
        return cls(workflows=list(workflows.values()), activities=list(activities.values()))

    @property
    def workflows(self) -> Mapping[str, WorkflowDefinition]:
        return MappingProxyType(self._workflows)

    @property
    def activities(self) -> Mapping[str, ActivityDefinition]:
        return MappingProxyType(self._activities)

    @property
    def workflow_names(self) -> tuple[str, ...]:
        return tuple(sorted(self._workflows))

    @property
    def activity_names(self) -> tuple[str, ...]:
        return tuple(sorted(self._activities))

    def workflow(self, name: str) -> WorkflowDefinition:
        """Raises NotRegisteredError with the nearest known names."""
        found = self._workflows.get(name)
        if found is None:
            raise self._unknown("workflow", name)
        return found

    def activity(self, name: str) -> ActivityDefinition:
        """Raises NotRegisteredError with the nearest known names."""
        found = self._activities.get(name)
        if found is None:
            raise self._unknown("activity", name)
        return found

    def nearest(self, name: str, *, kind: Kind | None = None) -> tuple[str, ...]:
        """Known names that look like ``name``, the likeliest first."""
        names = [
            *(self._workflows if kind != "activity" else ()),
            *(self._activities if kind != "workflow" else ()),
        ]
        by_lower: dict[str, str] = {}
        for known in names:
            by_lower.setdefault(known.lower(), known)
        matches = get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
        return tuple(by_lower[match] for match in matches)

    def __repr__(self) -> str:
        return f"App(workflows={self.workflow_names}, activities={self.activity_names})"

    def _add_workflow(self, cls: type) -> None:
        if not isinstance(cls, type):
            raise TypeError(f"workflows holds {cls!r}: give the workflow's class")
        definition = definition_of(cls)
        if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False):
            raise TypeError(
                f"workflow {definition.name!r}: {cls.__qualname__} is abstract; "
                "register the class that implements it"
            )
        other = self._workflows.get(definition.name)
        if other is not None:
            raise _twice("workflow", definition.name, other.cls, cls)
        self._workflows[definition.name] = definition

    def _add_activity(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"activities holds {function!r}, which cannot be called")
        definition = activity_definition_of(function)
        other = self._activities.get(definition.name)
        if other is not None:
            raise _twice("activity", definition.name, other.function, function)
        self._activities[definition.name] = definition

    def _unknown(self, kind: Kind, name: str) -> NotRegisteredError:
        known = self.workflow_names if kind == "workflow" else self.activity_names
        near = self.nearest(name, kind=kind)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        listed = ", ".join(known[:20]) + (", …" if len(known) > 20 else "") if known else "none"
        return NotRegisteredError(
            f"{kind} {name!r} is not registered on this worker.{hint} Registered: {listed}.",
            name=name,
        )


def _twice(kind: Kind, name: str, one: Any, other: Any) -> ValueError:
    places = " and ".join(
        f"{getattr(item, '__module__', '?')}.{name_of(item)}" for item in (one, other)
    )
    return ValueError(
        f"two {kind} definitions are named {name!r}: {places}; "
        f"leave one out or give it another name with @{kind}.defn(name=...)"
    )


def _load(spec: str) -> tuple[list[type], list[Callable[..., Any]]]:
    module_name, colon, attribute = spec.partition(":")
    if not module_name or (colon and not attribute):
        raise ValueError(f"cannot import {spec!r}: write package.module or package.module:app")
    module = _import(module_name, spec)
    if not colon:
        return _definitions_in(module)
    app = getattr(module, attribute, None)
    if not isinstance(app, App):
        what = "there is no such name" if app is None else f"it is {type(app).__qualname__}"
        raise ValueError(f"cannot import {spec!r}: {attribute} must be a perdure App, but {what}")
    return (
        [definition.cls for definition in app.workflows.values()],
        [definition.function for definition in app.activities.values()],
    )


def _import(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that is missing deeper inside is the imported code's own fault.
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise ModuleNotFoundError(
            f"cannot import {spec!r}: there is no module {error.name!r}. Run from the directory "
            "that holds it, install it, or add its directory to PYTHONPATH.",
            name=error.name,
        ) from error


def _definitions_in(module: ModuleType) -> tuple[list[type], list[Callable[..., Any]]]:
    workflows: dict[int, type] = {}
    activities: dict[int, Callable[..., Any]] = {}
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, type):
            # Interfaces, which cannot run, may share their implementation's name.
            abstract = inspect.isabstract(value) or getattr(value, "_is_protocol", False)
            if WORKFLOW in vars(value) and not abstract:
                workflows[id(value)] = value
        elif is_activity(value):
            activities[id(value)] = cast("Callable[..., Any]", value)
    if not workflows and not activities:
        raise ValueError(
            f"module {module.__name__} defines no workflow and no activity: mark them with "
            "@workflow.defn and @activity.defn, or name an App as "
            f"{module.__name__}:app"
        )
    return list(workflows.values()), list(activities.values())
