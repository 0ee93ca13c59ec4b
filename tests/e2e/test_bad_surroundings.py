"""A server that is away, too old, or whose streams belong to somebody else: said clearly, mended by
what the message says, and nothing is lost meanwhile."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import nats
import pytest
from support.deployments import KINDS, ROOT, deployment, health_page
from support.nats_server import RunningServer, free_port, running_server
from support.systems import system

from perdure.adapters.jetstream.topology import TopologyError
from perdure.client import Client, UnavailableError, WorkflowNotFoundError

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]

OLD_SERVER: Final = ROOT / ".tools" / "bin" / "nats-server-old"


async def test_services_wait_for_a_server_that_comes_later(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "nats", {})
    async with deployment(tmp_path / "services", server.url) as deployed:
        with pytest.raises(UnavailableError, match=rf"{server.port}.*running"):
            await Client.connect(server.url, start_timeout=0.5)
        made = [deployed.spawn(kind) for kind in KINDS]
        for process in made:
            await process.says("cannot reach NATS")
            status, text = await health_page(process.health_port)
            assert (status, f"127.0.0.1:{server.port}" in text) == (503, True)
            assert (await health_page(process.health_port, "/healthz"))[0] == 200
        try:
            server.start()
            for process in made:
                await process.ready()
            async with await Client.connect(server.url) as client:
                assert await client.execute_workflow("Errands", 2, id="e") == [
                    "errand-0",
                    "errand-1",
                ]
        finally:
            server.kill()


async def test_a_server_that_goes_midway_is_named_everywhere(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        made = await here.deployed.start_all()
        handle = await here.client.start_workflow("Mailbox", 2, id="box")
        await handle.signal("letter", 1)
        here.server.kill()
        short = timedelta(seconds=1)
        for call in (
            lambda: here.client.start_workflow("Mailbox", 1, id="no", rpc_timeout=short),
            lambda: handle.signal("letter", 2, rpc_timeout=short),
            lambda: handle.describe(rpc_timeout=short),
        ):
            with pytest.raises(
                UnavailableError, match=r"NATS at|JetStream|the store does not answer"
            ):
                await call()
        for process in made.values():
            status, text = await health_page(process.health_port)
            assert status == 503, text
            assert text.startswith("not ready: "), text
        here.server.start()
        for process in made.values():
            await process.ready()
        # What got no receipt may have ended it.
        with contextlib.suppress(WorkflowNotFoundError):
            await handle.signal("letter", 3)
        received = await handle.result(60)
        # What got no receipt may have arrived or not; what got one has.
        assert received in ([1, 3], [1, 2])


@contextmanager
def old_server(folder: Path) -> Generator[str]:
    """The address of a server that perdure cannot use."""
    if not OLD_SERVER.exists():
        if os.environ.get("PERDURE_REQUIRE_OLD_SERVER") == "1":
            pytest.fail("an old server is required; scripts/install_old_nats_server.sh builds it")
        pytest.skip("no old nats-server; scripts/install_old_nats_server.sh builds it")
    port = free_port()
    process = subprocess.Popen(
        [OLD_SERVER, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", folder / "old"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def test_a_server_that_is_too_old(tmp_path: Path) -> None:
    with old_server(tmp_path) as url:
        with pytest.raises(UnavailableError, match=r"2\.12\.\d+; perdure needs 2\.14.*upgrade"):
            await Client.connect(url)
        async with deployment(tmp_path / "services", url) as deployed:
            for kind in KINDS:
                service = deployed.spawn(kind)
                assert await service.ended() == 2
                assert "upgrade the server" in service.log
        outsider = await nats.connect(url)
        assert await outsider.jetstream().streams_info() == []
        await outsider.close()


async def test_streams_that_nobody_may_create(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        with pytest.raises(TopologyError, match=r"(?s)--no-create.*PERDURE_default_LOG"):
            await Client.connect(server.url, create=False)
        async with deployment(
            tmp_path / "services", server.url, PERDURE_CREATE="false"
        ) as deployed:
            service = deployed.spawn("scheduler")
            assert await service.ended() == 2
            for part in ("perdure topology print", "PERDURE_default_LOG"):
                assert part in service.log
            await (await Client.connect(server.url)).close()
            await deployed.start_all("scheduler", "worker")
            async with await Client.connect(server.url, create=False) as client:
                assert await client.execute_workflow("Errands", 1, id="e") == ["errand-0"]


async def test_a_stream_that_is_somebody_else_s(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        outsider = await nats.connect(server.url)
        theirs: dict[str, Any] = {"name": "PERDURE_default_LOG", "subjects": ["theirs.>"]}
        await outsider.jetstream().add_stream(**theirs)
        await outsider.jetstream().publish("theirs.word", b"keep me")
        with pytest.raises(TopologyError, match="isn't perdure's"):
            await Client.connect(server.url)
        async with deployment(tmp_path / "services", server.url) as deployed:
            service = deployed.spawn("gateway")
            assert await service.ended() == 2
            assert "PERDURE_default_LOG" in service.log
        info = await outsider.jetstream().stream_info("PERDURE_default_LOG")
        assert (info.config.subjects, info.state.messages) == (["theirs.>"], 1)
        # Nothing else was touched either.
        assert len(await outsider.jetstream().streams_info()) == 1
        await outsider.close()
        # Another namespace is not in anybody's way.
        async with deployment(tmp_path / "others", server.url, namespace="other") as deployed:
            await deployed.start_all("scheduler", "worker")
            async with await Client.connect(server.url, namespace="other") as client:
                assert await client.execute_workflow("Errands", 1, id="e") == ["errand-0"]
