"""Reading workflow classes: what is accepted, and everything that is refused."""

import abc
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from perdure import workflow
from perdure.authoring import definitions
from perdure.authoring.definitions import definition_of
from perdure.common import VersioningBehavior


@workflow.defn
class Greeting:
    def __init__(self) -> None:
        self.name = ""

    @workflow.run
    async def run(self, name: str, times: int = 1, *rest: str) -> "list[Reply]":
        return []

    @workflow.signal
    def rename(self, name: str) -> None:
        """Change the name.

        Takes effect at once.
        """
        self.name = name

    @workflow.signal(name="quit", unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def leave(self) -> None: ...

    @workflow.query(name="who", description="Who is greeted")
    def current(self) -> str:
        return self.name


class Reply:
    """Named in an annotation above, before it exists."""


@workflow.defn(
    name="other",
    sandboxed=False,
    failure_exception_types=[ValueError],
    versioning_behavior=VersioningBehavior.PINNED,
)
class Named:
    @workflow.init
    def __init__(self, order: str, count: int = 2) -> None:
        self.order = order

    @workflow.run
    async def run(self, order_id: str, count: int = 2) -> None: ...


def test_a_definition_says_name_types_and_handlers() -> None:
    found = definition_of(Greeting)
    assert found.name == "Greeting"
    assert found.cls is Greeting
    assert found.run is Greeting.run
    assert found.signature.types == (str, int)
    assert (found.signature.required, found.signature.variadic) == (1, True)
    assert found.signature.returns == list[Reply]
    assert not found.init_takes_args
    assert set(found.signals) == {"rename", "quit"}
    assert found.signals["rename"].signature.types == (str,)
    assert found.signals["rename"].description == "Change the name."
    assert found.signals["quit"].is_async
    assert found.signals["quit"].function is Greeting.leave
    assert found.queries["who"].signature.returns is str
    assert found.queries["who"].description == "Who is greeted"


def test_the_run_method_leads_to_the_same_definition() -> None:
    assert definition_of(Greeting.run) is definition_of(Greeting)
    assert definition_of(Greeting().run) is definition_of(Greeting)
    assert definition_of("Greeting") is None
    assert definitions.workflow_name(Greeting.run) == "Greeting"
    assert definitions.workflow_name("Greeting") == "Greeting"


def test_options_of_the_decorator() -> None:
    found = definition_of(Named.run)
    assert found.name == "other"
    assert found.init_takes_args


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="dynamic"):
        workflow.defn(dynamic=True)(Greeting)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="no exception class"):
        workflow.defn(failure_exception_types=["ValueError"])  # pyright: ignore[reportArgumentType]


def test_names_of_signals_and_queries() -> None:
    assert definitions.signal_name(Greeting.rename) == "rename"
    assert definitions.signal_name(Greeting.leave) == "quit"
    assert definitions.signal_name("anything") == "anything"
    assert definitions.query_name(Greeting.current) == "who"
    assert definitions.query_name(Greeting().current) == "who"
    assert definitions.query_result_type(Greeting.current) is str
    assert definitions.query_result_type("who") is Any


def test_unfinished_policy() -> None:
    policy = workflow.HandlerUnfinishedPolicy
    assert definitions.unfinished_policy_of(Greeting.leave) is policy.ABANDON
    assert definitions.unfinished_policy_of(Greeting.rename) is policy.WARN_AND_ABANDON


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: definitions.signal_name(Greeting.current), r"not a signal.*@workflow\.signal"),
        (lambda: definitions.query_name(Greeting.rename), r"not a query.*@workflow\.query"),
        (lambda: definitions.signal_name(""), "cannot be empty"),
        (lambda: definitions.workflow_name(""), "cannot be empty"),
        (lambda: definition_of(Reply), r"Reply is not a workflow.*@workflow\.defn$"),
        (lambda: definition_of(Child), r"Child.*@workflow\.defn again: it is not inherited"),
        (lambda: definition_of(Greeting.rename), "by its class, by its @workflow.run method"),
        (lambda: definition_of(Forgotten.run), "decorate its class with @workflow.defn"),
    ],
)
def test_what_names_nothing(call: Callable[[], object], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        call()


class Child(Greeting):
    pass


class Forgotten:
    @workflow.run
    async def run(self) -> None: ...


class Interface(Protocol):
    @workflow.run
    async def run(self, name: str) -> str: ...

    @workflow.signal
    def stop(self) -> None: ...


@workflow.defn(name="Service")
class ServiceInterface(abc.ABC):
    @workflow.run
    @abc.abstractmethod
    async def run(self, name: str) -> str: ...

    @workflow.signal
    def stop(self) -> None:
        self.stopped = True


@workflow.defn(name="Service")
class Service(ServiceInterface):
    @workflow.run
    async def run(self, name: str) -> str:
        return name


def test_interface_and_implementation_share_a_name() -> None:
    assert definition_of(ServiceInterface.run).name == definition_of(Service.run).name
    assert definition_of(Service).run is Service.run
    assert set(definition_of(Service).signals) == {"stop"}
    assert workflow.defn(name="proto")(Interface) is Interface


class RunInherited(Greeting):
    @workflow.signal
    def extra(self) -> None: ...


class RunOverriddenBare(Greeting):
    async def run(self, name: str, times: int = 1, *rest: str) -> list[Reply]:
        return []


class HandlersOverriddenBare(Greeting):
    @workflow.run
    async def run(self, name: str, times: int = 1, *rest: str) -> list[Reply]:
        return []

    def rename(self, name: str) -> None: ...

    def current(self) -> str:
        return ""


class Empty:
    pass


class TwoRuns:
    @workflow.run
    async def one(self) -> None: ...

    @workflow.run
    async def two(self) -> None: ...


class SyncRun:
    @workflow.run
    def run(self) -> None: ...


class KeywordOnly:
    @workflow.run
    async def run(self, *, name: str) -> None: ...

    @workflow.signal
    def tell(self, **options: str) -> None: ...


class Selfless:
    @workflow.run
    async def run() -> None: ...


class SameSignal:
    @workflow.run
    async def run(self) -> None: ...

    @workflow.signal(name="go")
    def one(self) -> None: ...

    @workflow.signal(name="go")
    def two(self) -> None: ...


class BothKinds:
    @workflow.run
    async def run(self) -> None: ...

    @workflow.query
    @workflow.signal
    def both(self) -> None: ...


class Static:
    @workflow.run
    async def run(self) -> None: ...

    @staticmethod
    @workflow.signal
    def tell() -> None: ...


class BadNames:
    @workflow.run
    async def run(self) -> None: ...

    @workflow.signal(name="")
    def one(self) -> None: ...

    @workflow.signal(name="__perdure_x")
    def two(self) -> None: ...

    @workflow.query(name="__stack_trace")
    def three(self) -> None: ...


class OtherInit:
    @workflow.init
    def __init__(self, name: str) -> None: ...

    @workflow.run
    async def run(self, name: int) -> None: ...


class MisplacedInit:
    @workflow.init
    def setup(self) -> None: ...

    @workflow.run
    async def run(self) -> None: ...


class NeedsArguments:
    def __init__(self, database: object) -> None: ...

    @workflow.run
    async def run(self) -> None: ...


class BorrowedRun:
    run = Greeting.run


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Empty, "no @workflow.run method: mark exactly one async method"),
        (TwoRuns, "more than one @workflow.run method: TwoRuns.one and TwoRuns.two"),
        (SyncRun, "@workflow.run method SyncRun.run must be async"),
        (RunInherited, "Greeting.run is inherited: declare it again on RunInherited"),
        (RunOverriddenBare, "@workflow.run is on Greeting.run but not on its override"),
        (KeywordOnly, "keyword-only parameter 'name'"),
        (KeywordOnly, r"takes \*\*options"),
        (Selfless, "must take self first"),
        (SameSignal, "two signal methods are named 'go': SameSignal.one and SameSignal.two"),
        (BothKinds, "has @workflow.signal, @workflow.query: one method, one decorator"),
        (Static, "Static.tell must be a plain method, not a staticmethod"),
        (BadNames, "the name of signal one cannot be empty"),
        (BadNames, "'__perdure_x': names that begin so are reserved"),
        (BadNames, "'__stack_trace': names that begin so are reserved"),
        (OtherInit, "parameters of @workflow.init and @workflow.run must be the same"),
        (MisplacedInit, "@workflow.init goes on __init__ alone"),
        (NeedsArguments, "__init__ needs the arguments database"),
        (BorrowedRun, "already is the run method of Greeting"),
    ],
)
def test_what_is_wrong_with_a_class_is_said(cls: type, text: str) -> None:
    with pytest.raises(ValueError, match=r"^Invalid workflow class: ") as refusal:
        workflow.defn(cls)
    assert refusal.match(text)
    assert "__perdure_workflow__" not in vars(cls)


def test_every_issue_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"Greeting\.rename.*Greeting\.current") as refusal:
        workflow.defn(name="")(HandlersOverriddenBare)
    assert refusal.match("name cannot be empty")


def test_a_local_class_is_refused() -> None:
    class Local:
        @workflow.run
        async def run(self) -> None: ...

    with pytest.raises(ValueError, match="it is a local class: define it at the top"):
        workflow.defn(Local)


def test_decorators_on_the_wrong_thing() -> None:
    with pytest.raises(TypeError, match="goes on a class"):
        workflow.defn("name")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"@workflow\.signal goes on a method.*by keyword"):
        workflow.signal("name")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"@workflow\.run goes on a method"):
        workflow.run(Greeting)


def test_an_async_query_is_taken_with_a_warning() -> None:
    async def look(self: object) -> int:
        return 1

    with pytest.warns(DeprecationWarning, match="a query should be a plain def") as caught:
        workflow.query(look)
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning) as caught:
        workflow.query(name="look")(look)
    assert caught[0].filename == __file__


@workflow.defn
class Unresolvable:
    @workflow.run
    async def run(self, known: int, unknown: "Missing") -> str:  # pyright: ignore[reportUndefinedVariable]  # noqa: F821
        return ""


def test_an_annotation_that_cannot_be_evaluated_is_named() -> None:
    with pytest.warns(UserWarning, match=r"Unresolvable\.run.*unknown: Missing.*TYPE_CHECKING"):
        found = definition_of(Unresolvable)
    assert found.signature.types == (int, Any)
    assert found.signature.returns is str
