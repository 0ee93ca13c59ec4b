"""Arguments and results: what goes in comes out in the type that the code names."""

import asyncio
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import pydantic
import pytest

from perdure import activity, workflow
from perdure.client import WorkflowFailureError
from perdure.exceptions import ActivityError, ApplicationError

pytestmark = pytest.mark.integration

Town = Callable[[Callable[[Any], Any]], None]


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Place(NamedTuple):
    x: int
    y: int


class Options(TypedDict, total=False):
    fast: bool


class Person(pydantic.BaseModel):
    name: str
    born: datetime


@dataclass
class Everything:
    text: str = "ü"
    number: int = 2**53 + 1
    ratio: float = 0.1
    flag: bool = True
    maybe: int | None = None
    raw: bytes = b"\x00\xff"
    when: datetime = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    long: timedelta = timedelta(days=3, microseconds=1)
    id: UUID = field(default_factory=lambda: UUID(int=7))
    price: Decimal = Decimal("1.10")
    color: Color = Color.RED
    level: Level = Level.HIGH
    place: Place = field(default_factory=lambda: Place(1, 2))
    pair: tuple[int, str] = (1, "a")
    words: set[str] = field(default_factory=lambda: {"a", "b"})
    rows: list[dict[str, Any]] = field(default_factory=lambda: [{"a": None}, {"b": [1.5]}])
    options: Options = field(default_factory=lambda: Options(fast=True))
    mode: Literal["a", "b"] = "b"
    person: Person = field(
        default_factory=lambda: Person(name="Ada", born=datetime(1815, 12, 10, tzinfo=UTC))
    )
    child: "Everything | None" = None


@activity.defn
async def echo(value: Everything) -> Everything:
    assert isinstance(value, Everything)
    return value


@activity.defn
def join(a: str, b: int, c: list[str], model: str = "small") -> str:
    return f"{a}{b}{''.join(c)} {model}"


@activity.defn
def needs_a_library() -> None:
    importlib.import_module("a_library_that_is_not_installed")


@workflow.defn
class Round:
    @workflow.run
    async def run(self, value: Everything, times: int = 2) -> list[Everything]:
        config = workflow.ActivityConfig(start_to_close_timeout=timedelta(seconds=10))
        return [await workflow.execute_activity(echo, value, **config) for _ in range(times)]


@workflow.defn
class Joining:
    @workflow.run
    async def run(self) -> list[str]:
        limit = timedelta(seconds=10)
        return [
            await workflow.execute_activity(
                join, args=["a", 1, ["b", "c"]], start_to_close_timeout=limit
            ),
            await workflow.execute_activity(
                "join", args=["a", 1, [], "large"], schedule_to_close_timeout=limit, result_type=str
            ),
        ]


@workflow.defn
class Needy:
    @workflow.run
    async def run(self) -> list[Any]:
        options = workflow.ActivityConfig(
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=workflow.RetryPolicy(maximum_attempts=1),
        )
        tasks: list[asyncio.Task[Any]] = [
            workflow.start_activity(needs_a_library, **options),
            workflow.start_activity(join, args=["a", 1, []], **options),
        ]
        failed, joined = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, ActivityError)
        assert isinstance(failed.cause, ApplicationError)
        return [failed.cause.type, joined]


def test_values_keep_their_types_through_workflow_and_activity(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Round, echo)
        value = Everything(child=Everything(text="inner"))
        result = await here.client.execute_workflow(
            Round.run, value, id="round", task_queue="default"
        )
        assert result == [value, value]

    town(scenario)


def test_several_arguments_and_defaults(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Joining, join)
        result = await here.client.execute_workflow(Joining.run, id="j", task_queue="default")
        assert result == ["a1bc small", "a1 large"]

    town(scenario)


def test_a_library_that_is_missing_fails_only_its_activity(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Needy, needs_a_library, join)
        result = await here.client.execute_workflow(Needy.run, id="n", task_queue="default")
        assert result == ["ModuleNotFoundError", "a1 small"]

    town(scenario)


def test_an_argument_that_does_not_fit_fails_the_workflow_by_name(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Round, echo)
        with pytest.raises(WorkflowFailureError) as caught:
            await here.client.execute_workflow(
                "Round", {"number": "many"}, id="bad", task_queue="default"
            )
        assert "number" in str(caught.value.cause)

    town(scenario)
