"""``perdure.worker``: what it takes, what it runs, how it ends."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from support.nats_server import RunningServer
from support.processes import PATIENCE, Processes

from perdure import activity, workflow
from perdure.adapters.memory.backend import MemoryStore
from perdure.client import Client
from perdure.testing.virtual_time import run
from perdure.worker import Worker, build_id
from perdure.worker.interrupts import listening


@activity.defn
async def greet(name: str) -> str:
    return f"hello {name}"


@activity.defn
def shout(text: str) -> str:
    return text.upper()


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        text = await workflow.execute_activity(
            greet, name, start_to_close_timeout=timedelta(seconds=5)
        )
        return await workflow.execute_activity(
            shout, text, start_to_close_timeout=timedelta(seconds=5)
        )


@workflow.defn(name="Greeting")
class OtherGreeting:
    @workflow.run
    async def run(self) -> None: ...


def client() -> Client:
    return Client.from_backend(MemoryStore().backend())


def virtually(scenario: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await scenario(client())

    run(main())


def test_it_runs_both_kinds_and_may_be_a_context() -> None:
    async def scenario(client: Client) -> None:
        worker = Worker(client, task_queue="q", workflows=[Greeting], activities=[greet, shout])
        assert (worker.is_running, worker.is_shutdown) == (False, False)
        async with worker:
            assert worker.is_running
            result = await client.execute_workflow(Greeting.run, "ann", id="g", task_queue="q")
            assert result == "HELLO ANN"
        assert (worker.is_running, worker.is_shutdown) == (False, True)
        await worker.shutdown()
        with pytest.raises(RuntimeError, match="starts only once"):
            await worker.run()

    virtually(scenario)


def test_the_kinds_may_be_apart_and_queues_are() -> None:
    async def scenario(client: Client) -> None:
        workflows = Worker(client, task_queue="q", workflows=[Greeting])
        activities = Worker(client, task_queue="q", activities=[greet, shout])
        other = Worker(client, task_queue="other", workflows=[Greeting], activities=[greet, shout])
        async with workflows, other:
            handle = await client.start_workflow(Greeting.run, "bob", id="g", task_queue="q")
            with pytest.raises(TimeoutError):
                await handle.result(timeout=timedelta(minutes=5))
            async with activities:
                assert await handle.result() == "HELLO BOB"

    virtually(scenario)


def test_run_ends_by_shutdown_or_by_cancellation() -> None:
    async def scenario(client: Client) -> None:
        worker = Worker(client, task_queue="q", workflows=[Greeting], activities=[greet, shout])
        running = asyncio.create_task(worker.run())
        result = await client.execute_workflow(Greeting.run, "eve", id="g", task_queue="q")
        assert result == "HELLO EVE"
        await worker.shutdown()
        await running
        assert worker.is_shutdown

        again = Worker(**worker.config())
        running = asyncio.create_task(again.run())
        await client.execute_workflow(Greeting.run, "eve", id="g2", task_queue="q")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert again.is_shutdown

    virtually(scenario)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, ValueError, "at least one workflow or activity"),
        ({"workflows": [Greeting, OtherGreeting]}, ValueError, "two workflow definitions"),
        ({"activities": [greet, greet]}, ValueError, "two activity definitions"),
        ({"activities": [lambda: None]}, TypeError, "activity.defn"),
        ({"workflows": [int]}, (TypeError, ValueError), "workflow.defn"),
        ({"activities": [greet], "max_concurrent_activities": 0}, ValueError, "at least 1"),
        ({"workflows": [Greeting], "max_cached_workflows": -1}, ValueError, "negative"),
        ({"workflows": [Greeting], "task_queue": ""}, ValueError, "cannot be empty"),
        ({"workflows": [Greeting], "odd": 1}, TypeError, "unexpected keyword argument 'odd'"),
        ({"workflows": [Greeting], "interceptors": [1]}, TypeError, "does not support"),
        ({"workflows": [Greeting], "max_activities_per_second": 3}, TypeError, "in this release"),
        ({"workflows": [Greeting], "max_concurrent_activities": 0}, ValueError, "at least 1"),
    ],
)
def test_what_it_refuses(options: dict[str, Any], error: Any, said: str) -> None:
    given: dict[str, Any] = {"task_queue": "q", **options}
    with pytest.raises(error, match=said):
        Worker(client(), **given)


def test_activities_run_in_threads_not_in_processes() -> None:
    with (
        ProcessPoolExecutor(1) as pool,
        pytest.raises(TypeError, match="activity_executor must run threads"),
    ):
        Worker(client(), task_queue="q", activities=[greet], activity_executor=pool)


def test_options_without_meaning_here_are_taken() -> None:
    worker = Worker(
        client(), task_queue="q", activities=[greet], debug_mode=True, interceptors=[], plugins=[]
    )
    assert worker.config()["task_queue"] == "q"
    assert worker.build_id == ""


def test_the_build_is_a_hash_of_the_workflows_source() -> None:
    worker = Worker(client(), task_queue="q", workflows=[Greeting])
    again = Worker(client(), task_queue="q", workflows=[Greeting])
    assert worker.build_id == again.build_id
    assert len(worker.build_id) == 16
    other = Worker(client(), task_queue="q", workflows=[OtherGreeting, _elsewhere()])
    assert other.build_id != worker.build_id
    assert Worker(client(), task_queue="q", workflows=[Greeting], build_id="v1").build_id == "v1"
    assert build_id({}) == ""


def _elsewhere() -> type:
    from scenarios.doors.client_workflows import Order, Sleeper

    assert Order
    return Sleeper


class Waiter:
    """Counts its interrupts."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.count = 0

    def interrupt(self) -> None:
        self.count += 1
        self.heard.set()


def test_signals_reach_all_that_listen_and_are_given_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    async def main() -> None:
        one, other = Waiter(), Waiter()
        with listening(one), listening(other):
            signal.raise_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                await one.heard.wait()
                await other.heard.wait()
        assert (one.count, other.count) == (1, 1)

    asyncio.run(main())
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_program_s_own_handler_stays_its_own() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:

        async def main() -> None:
            waiter = Waiter()
            with listening(waiter):
                signal.raise_signal(signal.SIGTERM)
                await asyncio.sleep(0)
            assert waiter.count == 0

        asyncio.run(main())
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


PROGRAM = """
import asyncio
from datetime import timedelta
import sys
from perdure.client import Client
from perdure.worker import Worker
from shop import Gated, Order, charge, gated

async def main():
    client = await Client.connect(sys.argv[1])
    worker = Worker(
        client, task_queue="q", workflows=[Gated, Order], activities=[charge, gated],
        graceful_shutdown_timeout=timedelta(minutes=1),
    )
    print("working", flush=True)
    await worker.run()
    await client.close()
    print("done", flush=True)

asyncio.run(main())
"""


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_that_only_works_ends_well(
    perdures: Processes, server: RunningServer, tmp_path: Any, number: signal.Signals
) -> None:
    (perdures.folder / "program.py").write_text(PROGRAM)
    program = perdures.python("program.py", server.url)
    program.wait_for("working")

    async def scenario() -> str:
        async with await Client.connect(server.url) as client:
            handle = await client.start_workflow("Gated", str(tmp_path), id="g", task_queue="q")
            await asyncio.to_thread(program.wait_for, "gated begins")
            program.send(number)
            (tmp_path / "open").touch()
            assert await asyncio.to_thread(program.ended) == 0, program.output
            # The workflow's own end may be left to whoever comes next.
            perdures.python("program.py", server.url)
            return await handle.result(timeout=PATIENCE)

    assert asyncio.run(scenario()) == "attempt 1"
    assert "done" in program.lines
    assert "Traceback" not in program.output


@workflow.defn
class Stuck:
    @workflow.run
    async def run(self, seconds: float) -> str:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            pass
        return "out again"


class Said(logging.Handler):
    """What the watchdog's thread logs."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[Said]:
    handler = Said()
    logger = logging.getLogger("perdure.worker")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_turn_that_takes_too_long_is_told_with_its_stack(said: Said) -> None:
    seen: list[str] = []

    async def scenario(client: Client) -> None:
        limit = timedelta(milliseconds=200)
        worker = Worker(client, task_queue="q", workflows=[Stuck], turn_timeout=limit)

        def look() -> None:
            # As a health check of the program would, in a thread of its own.
            while not seen and not worker.is_shutdown:
                if trouble := worker.stuck:
                    seen.append(trouble)
                time.sleep(0.01)

        async with worker:
            assert worker.stuck == ""
            looking = threading.Thread(target=look)
            looking.start()
            try:
                assert await client.execute_workflow("Stuck", 2.0, id="s", task_queue="q")
            finally:
                seen.append("") if not seen else None
                looking.join()
            assert worker.stuck == ""

    virtually(scenario)
    assert "a turn of workflow 's' has run for" in seen[0]
    assert len(said.texts) == 1
    assert "a turn of workflow 's' has run for" in said.texts[0]
    assert "in run" in said.texts[0]


@pytest.mark.parametrize(
    "options", [{"debug_mode": True}, {"turn_timeout": timedelta(0)}, {"workflows": []}]
)
def test_nobody_watches_where_nobody_should(said: Said, options: dict[str, Any]) -> None:
    async def scenario(client: Client) -> None:
        chosen: dict[str, Any] = {"workflows": [Stuck], "activities": [greet], **options}
        async with Worker(client, task_queue="q", **chosen) as worker:
            names = [thread.name for thread in threading.enumerate()]
            assert "perdure-watchdog" not in names
            assert worker.stuck == ""
            another = worker.config()
            another["task_queue"] = "p"
            assert Worker(**another).stuck == ""

    virtually(scenario)
    assert said.texts == []


def test_a_negative_turn_timeout_is_refused() -> None:
    with pytest.raises(ValueError, match="turn_timeout"):
        Worker(client(), task_queue="q", workflows=[Stuck], turn_timeout=timedelta(seconds=-1))


EXITING = """
import asyncio, sys
from datetime import timedelta

from perdure import workflow
from perdure.client import Client
from perdure.worker import Worker


@workflow.defn
class Endless:
    @workflow.run
    async def run(self) -> None:
        while True:
            pass


async def main() -> None:
    async with await Client.connect(sys.argv[1]) as client:
        limit = timedelta(milliseconds=200)
        async with Worker(
            client, task_queue="q", workflows=[Endless], turn_timeout=limit, exit_on_stuck_turn=True
        ):
            await client.execute_workflow(Endless.run, id="e", task_queue="q")


asyncio.run(main())
"""


@pytest.mark.e2e
def test_a_program_may_end_because_of_a_stuck_turn(
    perdures: Processes, server: RunningServer
) -> None:
    (perdures.folder / "exiting.py").write_text(EXITING)
    process = perdures.python("exiting.py", server.url)
    assert process.ended() == 70, process.output
    assert "a turn of workflow 'e' has run for" in process.output
    assert "in run" in process.output
