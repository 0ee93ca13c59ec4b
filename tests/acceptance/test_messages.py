"""Signals and queries, as those who send them rely on them."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import nats
import pytest

from perdure import activity, workflow
from perdure.client import WorkflowQueryFailedError
from perdure.engine.ingress import IngressDrain
from perdure.exceptions import InvalidInputError

pytestmark = pytest.mark.integration

Town = Callable[[Callable[[Any], Any]], None]


@dataclass
class Item:
    name: str
    count: int = 1


@activity.defn
async def nothing() -> None: ...


@workflow.defn
class Ear:
    """Keeps what it hears until it hears the last."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.others: list[Any] = []
        self.is_over = False

    @workflow.run
    async def run(self) -> list[Any]:
        await workflow.wait_condition(lambda: self.is_over)
        return self.heard

    @workflow.signal
    def tell(self, what: Any) -> None:
        self.heard.append(what)

    @workflow.signal(name="tell another")
    async def tell_another(self, what: Item, again: int = 1) -> None:
        self.others.extend([what] * again)

    @workflow.signal
    def over(self) -> None:
        self.is_over = True

    @workflow.query
    def everything(self) -> list[Any]:
        return self.heard

    @workflow.query
    def item(self, name: str, place: int) -> Item:
        return [one for one in self.others if one.name == name][place]

    @workflow.query
    def summary(self) -> dict[str, int]:
        return {"heard": len(self.heard), "others": len(self.others)}

    @workflow.query
    def text(self) -> str:
        return ",".join(map(str, self.heard))

    @workflow.query
    def nothing_at_all(self) -> None: ...

    @workflow.query
    def meddle(self) -> None:
        workflow.start_activity(nothing, start_to_close_timeout=timedelta(seconds=1))

    @workflow.query
    def fail(self) -> None:
        raise ValueError("no answer to that")


async def started(here: Any, id: str = "ear") -> Any:
    return await here.client.start_workflow(Ear.run, id=id, task_queue="default")


def test_signals_before_anybody_serves_arrive_in_order(town: Town) -> None:
    async def scenario(here: Any) -> None:
        handle = await started(here)
        for number in range(50):
            await handle.signal(Ear.tell, number)
        await here.work(Ear)
        for number in range(50, 100):
            await handle.signal("tell", number)
        await handle.signal(Ear.over)
        assert await handle.result() == list(range(100))

    town(scenario)


def test_names_and_workflows_are_apart(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Ear)
        one, two = await started(here, "one"), await started(here, "two")
        await one.signal(Ear.tell, "a")
        await one.signal(Ear.tell_another, args=[Item("b", 2), 2])
        assert await one.query(Ear.summary) == {"heard": 1, "others": 2}
        assert await two.query(Ear.summary) == {"heard": 0, "others": 0}
        assert await one.query(Ear.item, args=["b", 1]) == Item("b", 2)

    town(scenario)


@pytest.mark.parametrize("value", [True, False, None, 0, 1.5, "approved", [], {"a": [None, True]}])
def test_what_a_signal_carries_keeps_its_type(town: Town, value: Any) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Ear)
        handle = await started(here)
        await handle.signal(Ear.tell, value)
        answer = await handle.query(Ear.everything)
        assert (answer, type(answer[0])) == ([value], type(value))

    town(scenario)


def test_answers_have_the_types_of_their_queries(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Ear)
        handle = await started(here)
        await handle.signal(Ear.tell, 1)
        assert await handle.query(Ear.text) == await handle.query("text") == "1"
        assert await handle.query(Ear.nothing_at_all) is None
        assert await handle.query("summary") == {"heard": 1, "others": 0}

    town(scenario)


def test_a_query_that_goes_wrong_harms_nobody(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Ear)
        handle = await started(here)
        with pytest.raises(WorkflowQueryFailedError, match="no answer to that"):
            await handle.query(Ear.fail)
        with pytest.raises(WorkflowQueryFailedError, match="start an activity"):
            await handle.query(Ear.meddle)
        with pytest.raises(WorkflowQueryFailedError, match=r"sumary.*summary"):
            await handle.query("sumary")
        with pytest.raises(WorkflowQueryFailedError, match="item"):
            await handle.query("item", args=["b", "many"])
        before = (await handle.describe()).history_length
        for _ in range(100):
            assert await handle.query(Ear.everything) == []
        assert (await handle.describe()).history_length == before
        await handle.signal(Ear.over)
        assert await handle.result() == []
        commands = [e for e in (await handle.fetch_history()).events if e["kind"] == "command"]
        assert [command["type"] for command in commands] == ["complete_workflow"]

    town(scenario)


def test_a_closed_workflow_still_answers_after_its_worker_came_anew(town: Town) -> None:
    async def scenario(here: Any) -> None:
        worker = await here.work(Ear)
        handle = await started(here)
        await handle.signal(Ear.tell, "last words")
        await handle.signal(Ear.over)
        await handle.result()
        assert await handle.query(Ear.everything) == ["last words"]
        await worker.shutdown()
        await here.work(Ear)
        assert await handle.query(Ear.everything) == ["last words"]

    town(scenario)


def test_status_is_answered_without_any_worker_and_other_queries_say_what_is_missing(
    town: Town,
) -> None:
    async def scenario(here: Any) -> None:
        handle = await started(here)
        assert await handle.query("status") == "running"
        with pytest.raises(WorkflowQueryFailedError, match=r"scheduler|worker"):
            await handle.query(Ear.everything, rpc_timeout=timedelta(seconds=0.5))

    town(scenario)


def test_nobody_is_signaled_without_names(town: Town) -> None:
    async def scenario(here: Any) -> None:
        handle = await started(here)
        with pytest.raises(InvalidInputError, match="signal"):
            await handle.signal("")
        with pytest.raises(InvalidInputError, match="id"):
            here.client.get_workflow_handle("")

    town(scenario)


def test_history_shows_each_signal_once_with_its_sender(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Ear)
        handle = await started(here)
        sender = await here.another_client(identity="the-boss")
        await sender.get_workflow_handle("ear").signal("tell", {"ok": True})
        await handle.signal(Ear.over)
        await handle.result()
        history = await handle.fetch_history()
        signals = [event for event in history.events if event["type"] == "workflow_signaled"]
        assert [(one["name"], one.get("args", [])) for one in signals] == [
            ("tell", [{"ok": True}]),
            ("over", []),
        ]
        assert signals[0]["sender"] == "the-boss"
        assert signals[0]["sent_at"] > 0
        ids = [event["event_id"] for event in history.events]
        times = [event["time"] for event in history.events]
        assert ids == list(range(1, len(ids) + 1))
        assert times == sorted(times)
        assert json.loads(history.to_json())["events"] == history.events

    town(scenario)


def test_one_message_sent_three_times_is_one_signal(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Ear)
        handle = await started(here)
        outsider = await nats.connect(here.url)
        subject = f"perdure.{here.client.namespace}.signal.ear.tell"
        async with IngressDrain(here.client.backend):
            for _ in range(3):
                await outsider.jetstream().publish(
                    subject, b'"once"', headers={"Perdure-Request-Id": "request-1"}
                )
            await outsider.jetstream().publish(subject.replace("tell", "over"), b"")
            assert await handle.result() == ["once"]
        await outsider.close()

    town(scenario)


def test_a_signal_that_does_not_fit_is_set_aside_and_the_workflow_goes_on(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Ear)
        handle = await started(here)
        await handle.signal("tell another", {"count": "many"})
        await handle.signal(Ear.over)
        assert await handle.result() == []
        letters = [json.loads(x.data) async for x in here.client.backend.dead_letters.scan()]
        assert [letter["workflow_id"] for letter in letters] == ["ear"]
        assert "tell another" in json.dumps(letters)

    with caplog.at_level(logging.WARNING):
        town(scenario)
    assert any("dead letters" in record.getMessage() for record in caplog.records)


def test_a_signal_that_nobody_handles_is_kept_and_shown(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Ear)
        handle = await started(here)
        await handle.signal("whisper", 1)
        while not (description := await handle.describe()).unhandled_signals:
            await asyncio.sleep(0)
        assert list(description.unhandled_signals) == ["whisper"]
        await handle.signal(Ear.over)
        assert await handle.result() == []

    with caplog.at_level(logging.WARNING):
        town(scenario)
    assert any("whisper" in record.getMessage() for record in caplog.records)
