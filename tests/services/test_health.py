"""Health and metrics as a probe sees them."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from support.nats_server import free_port
from support.processes import get

from perdure.engine.activities.intake import AttemptReport
from perdure_services._shell.errors import Refused
from perdure_services._shell.health import HealthServer
from perdure_services._shell.metrics import (
    OTHER,
    Bounded,
    CountedAttempts,
    CountingObserver,
    count_request,
    exposition,
)

pytestmark = pytest.mark.asyncio


class Part:
    """Something that may be ready."""

    reason = ""

    async def why_not_ready(self) -> str:
        return self.reason


@asynccontextmanager
async def health(part: Part, port: int = 0, *, any_port: bool = False) -> AsyncGenerator[str]:
    server = HealthServer(
        host="127.0.0.1", port=port or free_port(), any_port=any_port, ready=part.why_not_ready
    )
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()


async def fetch(url: str) -> tuple[int, str]:
    return await asyncio.to_thread(get, url)


async def test_alive_and_ready_are_two_things() -> None:
    part = Part()
    async with health(part) as url:
        assert await fetch(f"{url}/healthz") == (200, "ok\n")
        assert await fetch(f"{url}/readyz?verbose") == (200, "ready\n")
        part.reason = "no partition is owned yet"
        assert await fetch(f"{url}/readyz") == (503, "not ready: no partition is owned yet\n")
        assert await fetch(f"{url}/healthz") == (200, "ok\n")
        status, text = await fetch(f"{url}/metrics")
        assert status == 200
        assert "perdure_ready 0.0" in text
        assert (await fetch(f"{url}/else"))[0] == 404


async def test_only_reading_and_only_http() -> None:
    async with health(Part()) as url:
        port = int(url.rpartition(":")[2])
        for sent, answered in (
            (b"POST /healthz HTTP/1.1\r\n\r\n", b"HTTP/1.1 405"),
            (b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200"),
            (b"\r\n\r\n", b"HTTP/1.1 405"),
            (b"GET\r\n\r\n", b"HTTP/1.1 405"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            answer = await reader.read()
            assert answer.startswith(answered)
            writer.close()
        assert answer.split(b"\r\n\r\n")[0] != b""
        assert (await fetch(f"{url}/healthz"))[0] == 200


async def test_a_taken_port_is_refused_or_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Refused, match=f"health port 127.0.0.1:{port} is taken.*health-port"):
            async with health(Part(), port):
                pass
        async with health(Part(), port, any_port=True) as url:
            assert not url.endswith(f":{port}")
            assert (await fetch(f"{url}/healthz"))[0] == 200


async def test_no_port_is_no_server() -> None:
    server = HealthServer(host="127.0.0.1", port=0, any_port=False, ready=Part().why_not_ready)
    await server.start()
    assert server.port == 0
    await server.stop()


async def test_what_happens_is_counted() -> None:
    observer = CountingObserver()
    observer.turn("Counted", events=2, commands=1)
    observer.closed("Counted", "completed")
    observer.loaded("Counted", events=5)
    observer.blocked("Counted", "nondeterminism")
    observer.conflict()
    observer.failed(RuntimeError("away"))
    CountedAttempts()(
        AttemptReport(
            activity_type="counted",
            task_queue="q",
            attempt=1,
            outcome="completed",
            duration=1_000_000,
            waited=2_000_000,
        )
    )
    count_request("start", "started")
    text = exposition().decode()
    for line in (
        'perdure_workflow_turns_total{workflow_type="Counted"} 1.0',
        'perdure_workflow_events_total{workflow_type="Counted"} 2.0',
        'perdure_workflows_closed_total{status="completed",workflow_type="Counted"} 1.0',
        'perdure_workflow_replays_total{workflow_type="Counted"} 1.0',
        'perdure_workflows_blocked_total{workflow_type="Counted"} 1.0',
        'activity_type="counted",outcome="completed",task_queue="q"} 1.0',
        'perdure_ingress_requests_total{kind="start",outcome="started"} 1.0',
    ):
        assert line in text


async def test_labels_are_bounded() -> None:
    bounded = Bounded(2)
    assert [bounded(word) for word in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]
