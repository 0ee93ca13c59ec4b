"""The services as processes: apart, killed, stopped, and while NATS is away."""

import asyncio
import json
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from support.nats_server import RunningServer, free_port
from support.processes import PATIENCE, Process, Processes, get, known

from perdure.client import Client
from perdure.core.state import Status, decode_state

pytestmark = pytest.mark.e2e

SERVES = "serves namespace 'default'"


def serve(perdures: Processes, what: str, url: str, *more: str) -> Process:
    """A service process that has begun."""
    process = start(perdures, what, url, *more)
    process.wait_for(SERVES)
    return process


def start(perdures: Processes, what: str, url: str, *more: str) -> Process:
    code = [] if what == "gateway" else ["--import", "shop"]
    return perdures.perdure(what, *code, "-s", url, "--health-port", "0", *more)


@asynccontextmanager
async def client_of(url: str) -> AsyncGenerator[Client]:
    async with await Client.connect(url) as client:
        yield client


def driven[R](url: str, work: Callable[[Client], Awaitable[R]]) -> R:
    async def main() -> R:
        async with client_of(url) as client:
            return await work(client)

    return asyncio.run(main())


async def published(url: str, subject: str, body: Any) -> None:
    """As any program would, without a word of perdure."""
    outsider = await nats.connect(url)
    try:
        await outsider.jetstream().publish(subject, json.dumps(body).encode())
    finally:
        await outsider.close()


async def begun(worker: Process, attempt: int = 1) -> None:
    """The worker runs the gated activity."""
    await asyncio.to_thread(worker.wait_for, f"gated begins, attempt {attempt}")


def test_three_services_do_what_one_publish_asks(
    perdures: Processes, server: RunningServer
) -> None:
    serve(perdures, "scheduler", server.url)
    serve(perdures, "worker", server.url)
    gateway = serve(perdures, "gateway", server.url)
    gateway.wait_for("opened the door")

    async def scenario(client: Client) -> Any:
        body = {"id": "raw-1", "input": ["order-1"]}
        await published(server.url, "perdure.default.start.Order", body)
        await known(client, "raw-1")
        return await client.get_workflow_handle("raw-1").result(timeout=PATIENCE)

    assert driven(server.url, scenario) == "paid-order-1"


@pytest.mark.parametrize("module", ["scheduler", "activity_worker", "signal_gateway"])
def test_each_service_is_a_module_with_its_settings_in_the_environment(
    perdures: Processes, server: RunningServer, module: str
) -> None:
    process = perdures.python(
        "-m",
        f"perdure_services.{module}",
        PERDURE_SERVER=server.url,
        PERDURE_IMPORT="shop",
        PERDURE_HEALTH_PORT=str(free_port()),
        PERDURE_LOG_FORMAT="json",
    )
    line = json.loads(process.wait_for(SERVES))
    assert line["level"] == "info"
    process.send(signal.SIGTERM)
    assert process.ended() == 0, process.output


def test_sigterm_lets_an_activity_end(
    perdures: Processes, server: RunningServer, tmp_path: Path
) -> None:
    serve(perdures, "scheduler", server.url)
    worker = serve(perdures, "worker", server.url, "--grace", "60s")

    async def scenario(client: Client) -> Any:
        handle = await client.start_workflow(
            "Gated", str(tmp_path), id="gated-1", task_queue="default"
        )
        await begun(worker)
        worker.send(signal.SIGTERM)
        await asyncio.to_thread(worker.wait_for, "SIGTERM")
        (tmp_path / "open").touch()
        return await handle.result(timeout=PATIENCE)

    assert driven(server.url, scenario) == "attempt 1"
    assert worker.ended() == 0, worker.output


def test_a_second_signal_hurries_and_nothing_is_lost(
    perdures: Processes, server: RunningServer, tmp_path: Path
) -> None:
    serve(perdures, "scheduler", server.url)
    worker = serve(perdures, "worker", server.url, "--grace", "10m")

    async def scenario(client: Client) -> Any:
        handle = await client.start_workflow(
            "Gated", str(tmp_path), id="gated-1", task_queue="default"
        )
        await begun(worker)
        worker.send(signal.SIGINT)
        await asyncio.to_thread(worker.wait_for, "SIGINT")
        worker.send(signal.SIGINT)
        assert await asyncio.to_thread(worker.ended) == 0, worker.output
        second = await asyncio.to_thread(serve, perdures, "worker", server.url)
        await begun(second)
        (tmp_path / "open").touch()
        return await handle.result(timeout=PATIENCE)

    # What was put back keeps its attempt's number.
    assert driven(server.url, scenario) == "attempt 1"


def test_a_killed_scheduler_is_followed_by_another(
    perdures: Processes, server: RunningServer, tmp_path: Path
) -> None:
    first = serve(perdures, "scheduler", server.url)
    worker = serve(perdures, "worker", server.url)

    async def scenario(client: Client) -> Any:
        handle = await client.start_workflow(
            "Gated", str(tmp_path), id="gated-1", task_queue="default"
        )
        await begun(worker)
        first.kill()
        (tmp_path / "open").touch()
        await asyncio.to_thread(serve, perdures, "scheduler", server.url)
        return await handle.result(timeout=PATIENCE)

    assert driven(server.url, scenario) == "attempt 1"
    assert worker.output.count("gated begins") == 1


def test_nats_may_come_late_and_go_meanwhile(perdures: Processes, server: RunningServer) -> None:
    server.stop()
    port = free_port()
    health = f"http://127.0.0.1:{port}"
    scheduler = start(perdures, "scheduler", server.url, "--health-port", str(port))
    said = scheduler.wait_for("cannot reach NATS")
    assert server.url in said
    assert "Trying again; not ready until then" in said
    assert get(f"{health}/healthz")[0] == 200
    status, why = get(f"{health}/readyz")
    assert status == 503
    assert server.url in why

    server.start()
    scheduler.wait_for(SERVES)
    assert get(f"{health}/readyz") == (200, "ready\n")

    server.stop()
    assert get(f"{health}/readyz")[0] == 503
    server.start()
    serve(perdures, "worker", server.url)

    async def scenario(client: Client) -> Any:
        return await client.execute_workflow("Order", "late", id="late", task_queue="default")

    assert driven(server.url, scenario) == "paid-late"
    scheduler.send(signal.SIGTERM)
    assert scheduler.ended() == 0, scheduler.output


def test_a_stop_while_nats_is_away_is_a_stop(perdures: Processes) -> None:
    worker = start(perdures, "worker", f"nats://127.0.0.1:{free_port()}")
    worker.wait_for("cannot reach NATS")
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0, worker.output


@pytest.mark.slow
@pytest.mark.parametrize("what", ["scheduler", "worker", "gateway"])
def test_a_stop_after_nats_went_is_a_stop(
    perdures: Processes, server: RunningServer, what: str
) -> None:
    process = serve(perdures, what, server.url)
    server.stop()
    process.send(signal.SIGTERM)
    assert process.ended() == 0, process.output
    assert "Traceback" not in process.output


def test_missing_streams_end_it_when_it_may_not_make_them(
    perdures: Processes, server: RunningServer
) -> None:
    scheduler = start(perdures, "scheduler", server.url, "--no-create")
    assert scheduler.ended() == 2
    assert "PERDURE_default_LOG" in scheduler.output
    assert "perdure topology print" in scheduler.output
    assert "Traceback" not in scheduler.output


def test_an_old_server_ends_it(perdures: Processes) -> None:
    with old_server() as port:
        worker = start(perdures, "worker", f"nats://127.0.0.1:{port}")
        assert worker.ended() == 2
    assert "is nats-server 2.10.4; perdure needs 2.14 or newer" in worker.output


class old_server:
    """Greets as nats-server 2.10 did: no such server is at hand."""

    def __enter__(self) -> int:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        made = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(_greet, "127.0.0.1", 0), self._loop
        )
        self._server = made.result(timeout=PATIENCE)
        return self._server.sockets[0].getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(
        b'INFO {"server_id":"X","version":"2.10.4","max_payload":1048576,"headers":true}\r\n'
    )
    while line := await reader.readline():
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")
    writer.close()


def test_queues_are_apart_and_one_process_may_serve_several(
    perdures: Processes, server: RunningServer
) -> None:
    serve(perdures, "scheduler", server.url, "-q", "one", "-q", "two")
    serve(perdures, "worker", server.url, "-q", "two")

    async def scenario(client: Client) -> tuple[Any, Status]:
        await client.start_workflow("Order", "a", id="on-one", task_queue="one")
        done = await client.execute_workflow("Order", "b", id="on-two", task_queue="two")
        found = await client.backend.state.read("on-one")
        assert found is not None
        return done, decode_state(found[0]).status

    assert driven(server.url, scenario) == ("paid-b", Status.RUNNING)
    serve(perdures, "worker", server.url, "-q", "one")

    async def later(client: Client) -> Any:
        return await client.get_workflow_handle("on-one").result(timeout=PATIENCE)

    assert driven(server.url, later) == "paid-a"


def test_code_that_cannot_be_had_is_named(perdures: Processes, server: RunningServer) -> None:
    (perdures.folder / "faulty.py").write_text("import perdure\n\n1 / 0\n")
    for arguments, said in (
        (["--import", "nowhere"], "there is no module 'nowhere'"),
        (["--import", "faulty"], "ZeroDivisionError"),
        ([], "--import package.module"),
        (["--import", "shop", "--grace", "soon"], "grace: not a duration"),
    ):
        process = perdures.perdure("worker", "-s", server.url, *arguments)
        assert process.ended() == 2
        assert said in process.output
        assert "Traceback" not in process.output
    assert "faulty.py:3" in perdures_last(perdures, server.url)


def perdures_last(perdures: Processes, url: str) -> str:
    process = perdures.perdure("scheduler", "-s", url, "--import", "faulty")
    process.ended()
    return process.output
