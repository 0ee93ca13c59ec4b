"""Signals and queries."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.driver import Driver, flow, kinds, pack

from perdure import workflow
from perdure.core import commands as co
from perdure.core.definitions import Signature
from perdure.core.errors import (
    ApplicationError,
    NondeterminismError,
    ReadOnlyContextError,
    WorkflowQueryFailedError,
)
from perdure.core.events import TimerFired, WorkflowSignaled

type Drive = Callable[..., Driver]
S5 = timedelta(seconds=5)


def call(name: str = "work", *args: Any) -> Any:
    return workflow.execute_activity(name, args=args, start_to_close_timeout=S5)


class Letters:
    def __init__(self) -> None:
        self.got: list[Any] = []
        self.event = asyncio.Event()


async def until_two(self: Letters) -> Any:
    await workflow.wait_condition(lambda: len(self.got) >= 2)
    return self.got


def post(self: Letters, *items: Any) -> None:
    self.got.extend(items)


# signals


def test_signals_sync_and_async(drive: Drive) -> None:
    async def slowly(self: Letters, item: Any) -> None:
        self.got.append(await call("look", item))

    d = drive(flow(until_two, cls=Letters, signals={"post": post, "slowly": slowly}))
    assert d.signal("post", "a") == []
    assert kinds(d.signal("slowly", "b")) == ["schedule_activity 1: look"]
    d.done(1, "B")
    assert d.result() == ["a", "B"]


def test_handlers_may_be_awaited_before_the_end(drive: Drive) -> None:
    async def slowly(self: Letters, item: Any) -> None:
        assert not workflow.all_handlers_finished()
        self.got.append(await call("look", item))

    async def until_all_are_done(self: Letters) -> Any:
        assert workflow.all_handlers_finished()
        await self.event.wait()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.got

    def finish(self: Letters) -> None:
        self.event.set()

    code = flow(until_all_are_done, cls=Letters, signals={"slowly": slowly, "finish": finish})
    d = drive(code)
    d.signal("slowly", "a")
    d.signal("slowly", "b")
    d.signal("finish")
    d.done(2, "B")
    assert d.instance.close is None
    d.done(1, "A")
    assert d.result() == ["B", "A"]


def test_a_signal_counts_once(drive: Drive) -> None:
    d = drive(flow(until_two, cls=Letters, signals={"post": post}))
    d.signal("post", 1, eid="x")
    d.signal("post", 1, eid="x")
    assert d.instance.close is None
    d.signal("post", 1, eid="y")
    assert d.result() == [1, 1]


def test_an_unknown_signal_is_kept(drive: Drive) -> None:
    d = drive(flow(until_two, cls=Letters, signals={"post": post}))
    for name in ("b", "a", "b"):
        assert d.signal(name) == []
    assert d.instance.unhandled_signals == ["a", "b"]


def test_a_signal_that_does_not_decode_is_rejected_and_the_run_goes_on(drive: Drive) -> None:
    d = drive(
        flow(
            until_two,
            cls=Letters,
            signals={"post": post},
            handler_signature=Signature(types=(int,), required=1),
        )
    )
    (rejected,) = d.signal("post", "text", eid="bad")
    assert isinstance(rejected, co.RejectSignal)
    assert (rejected.eid, rejected.name) == ("bad", "post")
    assert rejected.reason.startswith("signal 'post': argument 1 does not fit: a payload does not")
    (counted,) = d.signal("post", eid="short")
    assert counted == co.RejectSignal(
        eid="short", name="post", reason="signal 'post' takes 1 argument(s), got 0"
    )
    d.signal("post", 1)
    d.signal("post", 2)
    assert d.result() == [1, 2]


def test_a_handler_that_raises_fails_the_run(drive: Drive) -> None:
    def broken(self: Letters) -> None:
        raise ValueError("no such letter")

    d = drive(flow(until_two, cls=Letters, signals={"broken": broken}))
    assert kinds(d.signal("broken")) == ["fail_workflow: application"]
    with pytest.raises(ApplicationError, match="ValueError: no such letter"):
        d.result()


def test_a_handler_that_is_cancelled_ends_alone(drive: Drive) -> None:
    async def lazy(self: Letters) -> None:
        self.got.append(asyncio.current_task())
        await asyncio.Event().wait()

    async def run(self: Letters) -> Any:
        await workflow.wait_condition(lambda: bool(self.got))
        self.got[0].cancel()
        return await call()

    d = drive(flow(run, cls=Letters, signals={"lazy": lazy}))
    d.signal("lazy")
    d.done(1, "fine")
    assert d.result() == "fine"


def test_signals_that_came_with_the_start_run_before_run(drive: Drive) -> None:
    async def run(self: Letters) -> Any:
        return self.got

    d = drive(flow(run, cls=Letters, signals={"post": post}), start=False)
    assert d.signal("post", "a") == d.signal("post", "b") == []
    d.start()
    assert d.result() == ["a", "b"]


def test_a_handler_going_on_when_the_run_ends_is_over(drive: Drive) -> None:
    async def slowly(self: Letters, item: Any) -> None:
        self.got.append(item)
        await call("look", item)

    d = drive(flow(until_two, cls=Letters, signals={"slowly": slowly}))
    d.signal("slowly", 1)
    assert kinds(d.signal("slowly", 2)) == [
        "schedule_activity 2: look",
        "cancel_activity 1",
        "cancel_activity 2",
        "complete_workflow",
    ]


# queries


def test_queries_answer_at_any_time(drive: Drive) -> None:
    async def run(self: Letters) -> Any:
        self.got.append(await call())
        return "end"

    d = drive(flow(run, cls=Letters, queries={"got": lambda self, *args: [self.got, *args]}))
    assert d.query("got", 1) == [[], 1]
    d.done(1, "x")
    assert d.result() == "end"
    assert d.query("got") == [["x"]]
    assert d.log[-1].commands == [co.CompleteWorkflow(result=pack("end"))]


@pytest.mark.parametrize(("queries", "known"), [({}, "none"), ({"b": print, "a": print}, "a, b")])
def test_an_unknown_query_names_the_known(
    drive: Drive, queries: dict[str, Any], known: str
) -> None:
    d = drive(flow(until_two, cls=Letters, queries=queries))
    with pytest.raises(WorkflowQueryFailedError) as error:
        d.query("what")
    assert str(error.value) == (
        f"unknown query 'what' of workflow type 'Test'; known queries: {known}"
    )


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_a_query_that_raises(drive: Drive, kind: type[BaseException]) -> None:
    def broken(self: Any) -> None:
        raise kind("oh")

    d = drive(flow(until_two, cls=Letters, queries={"broken": broken}))
    with pytest.raises(WorkflowQueryFailedError) as error:
        d.query("broken")
    assert str(error.value) == f"query 'broken' failed: {kind.__name__}: oh"
    assert isinstance(error.value.cause, kind)


def test_a_query_of_a_run_that_was_never_built(drive: Drive) -> None:
    class Broken:
        def __init__(self) -> None:
            raise ValueError

    d = drive(flow(until_two, cls=Broken, queries={"q": print}))
    with pytest.raises(WorkflowQueryFailedError, match="the workflow object could not be built"):
        d.query("q")


def test_a_query_with_wrong_arguments(drive: Drive) -> None:
    signature = Signature(types=(int, int), required=1)
    d = drive(flow(until_two, cls=Letters, queries={"q": print}, handler_signature=signature))
    with pytest.raises(WorkflowQueryFailedError, match="query 'q' takes 1 to 2 arguments, got 3"):
        d.query("q", 1, 2, 3)


@pytest.mark.parametrize(
    ("attempt", "action"),
    [
        (lambda self: workflow.start_activity("x", start_to_close_timeout=S5), "start an activity"),
        (lambda self: asyncio.create_task(call()), "start a task"),
        (lambda self: asyncio.get_running_loop().create_future(), "make a future"),
        (lambda self: asyncio.get_running_loop().call_later(1, print), "start a timer"),
        (lambda self: self.event.set(), "wake a task"),
        (lambda self: workflow.sleep(1), "sleep"),
        (lambda self: workflow.wait_condition(lambda: True), "wait for a condition"),
    ],
)
def test_a_query_may_not_decide(drive: Drive, attempt: Callable[..., Any], action: str) -> None:
    async def run(self: Letters) -> Any:
        await self.event.wait()

    d = drive(flow(run, cls=Letters, queries={"q": attempt}))
    with pytest.raises(WorkflowQueryFailedError) as error:
        d.query("q")
    assert isinstance(error.value.cause, ReadOnlyContextError)
    assert str(error.value.cause) == (
        f"While in read-only function, action attempted: {action}. "
        "A query may only read the workflow's state."
    )


@pytest.mark.parametrize("has_drawn", [False, True])
def test_a_query_leaves_no_trace(drive: Drive, has_drawn: bool) -> None:
    async def run(self: Letters) -> Any:
        if has_drawn:
            workflow.random().random()
        await call()
        return workflow.random().random()

    def peek(self: Letters) -> Any:
        return [workflow.random().random(), workflow.unsafe.is_read_only()]

    d = drive(flow(run, cls=Letters, queries={"peek": peek}))
    first = d.query("peek")
    assert d.query("peek") == first
    d.done(1)
    assert d.result() == first[0]
    assert first[1] is True


def test_an_async_query_may_not_wait(drive: Drive) -> None:
    async def quick(self: Letters) -> Any:
        return 5

    async def slow(self: Letters) -> Any:
        await asyncio.sleep(0)

    d = drive(flow(until_two, cls=Letters, queries={"quick": quick, "slow": slow}))
    assert d.query("quick") == 5
    with pytest.raises(WorkflowQueryFailedError, match="a query cannot wait: answer from what"):
        d.query("slow")


# several events as one step


def test_events_applied_together_reach_their_handlers_before_the_code_goes_on() -> None:
    definition = flow(until_two, cls=Letters, signals={"post": post})
    live = Driver(definition)
    live.start()
    letters = [WorkflowSignaled(eid=str(n), name="post", args=[pack(n)]) for n in range(3)]
    letters.append(WorkflowSignaled(eid="x", name="post", run="another"))
    at = live.now + 5
    commands = live.instance.apply_together([(event, at) for event in letters])
    assert live.result() == [0, 1, 2]
    assert live.instance.host.history_length == 6
    again = live.replayed()
    fired = TimerFired(run=live.started.run, n=9, due=0)
    again.replay(
        [(2, at, letters[0]), (3, at, fired), (4, at, None), *((5, at, e) for e in letters[1:])],
        commands,
        joined=True,
    )
    assert again.close == live.instance.close
    assert not again.host.is_replaying
    assert live.instance.apply_together([(letters[0], at)]) == []
    for instance in (live.instance, again):
        instance.dispose()


def test_a_replay_that_does_not_fit_drops_the_run() -> None:
    d = Driver(flow(until_two, cls=Letters, signals={"post": post}))
    d.start()
    with pytest.raises(NondeterminismError):
        d.instance.replay([], [co.CompleteWorkflow()])
    assert d.instance.host.loop.is_gone
