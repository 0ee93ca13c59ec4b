"""``perdure dev``: one command to a working environment, and nothing left behind."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import nats
import pytest
from support.nats_server import RunningServer, free_port
from support.processes import (
    PATIENCE,
    Process,
    Processes,
    get,
    is_alive,
    known,
    wait_until_dead,
)

from perdure.client import Client

pytestmark = pytest.mark.e2e


def dev(perdures: Processes, *more: str) -> tuple[Process, dict[str, str]]:
    """A dev environment that is ready, and what it says of itself."""
    process = perdures.perdure("dev", "--import", "shop", *more)
    said: dict[str, str] = {}
    process.wait_for("perdure dev is ready")
    for line in iter(lambda: process.wait_for("  "), None):
        label, _, text = line.strip().partition(" ")
        said[label] = text.strip()
        if label == "stop":
            break
    return process, said


def server_of(folder: Path) -> int:
    return int(json.loads((folder / ".perdure" / "server.json").read_text())["pid"])


async def order(url: str, workflow_id: str) -> object:
    """Started by one publish, awaited by the client."""
    outsider = await nats.connect(url)
    subject = f"perdure.default.start.Order.{workflow_id}"
    await outsider.jetstream().publish(subject, b'{"input": ["order-1"]}')
    await outsider.close()
    async with await Client.connect(url) as client:
        await known(client, workflow_id)
        return await client.get_workflow_handle(workflow_id).result()


def test_it_runs_a_workflow_keeps_it_and_leaves_no_process(perdures: Processes) -> None:
    process, said = dev(perdures, "--port", str(free_port()), "--health-port", str(free_port()))
    url = said["NATS"]
    assert said["data"].startswith(str(perdures.folder / ".perdure"))
    assert "every write is synced" in said["data"]
    assert said["workflows"] == "Approval, Gated, Order, Unlucky"
    assert get(said["health"].split(",")[0]) == (200, "ready\n")
    assert asyncio.run(order(url, "o-1")) == "paid-order-1"
    pid = server_of(perdures.folder)
    assert is_alive(pid)
    process.send(signal.SIGINT)
    assert process.ended() == 0, process.output
    assert not is_alive(pid)
    assert "Traceback" not in process.output

    again, said = dev(perdures, "--port", str(free_port()), "--relaxed")
    assert "relaxed" in said["data"]

    async def remembered() -> object:
        async with await Client.connect(said["NATS"]) as client:
            return await client.get_workflow_handle("o-1").result(timeout=PATIENCE)

    assert asyncio.run(remembered()) == "paid-order-1"
    again.send(signal.SIGTERM)
    assert again.ended() == 0, again.output


def test_taken_ports_give_way(perdures: Processes) -> None:
    with socket.socket() as nats_port, socket.socket() as health_port:
        for taken in (nats_port, health_port):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        port, health = (one.getsockname()[1] for one in (nats_port, health_port))
        process, said = dev(perdures, "--port", str(port), "--health-port", str(health))
        assert said["NATS"].endswith(f"(port {port} is taken)")
        url = said["NATS"].split()[0]
        assert said["use"] == f"it     export NATS_URL={url}"
        assert f":{health}/" not in said["health"]
        assert asyncio.run(order(url, "o-1")) == "paid-order-1"
        process.send(signal.SIGINT)
        assert process.ended() == 0, process.output


def test_a_killed_dev_takes_its_server_along(perdures: Processes) -> None:
    process, _ = dev(perdures, "--port", str(free_port()), "--health-port", "0")
    pid = server_of(perdures.folder)
    process.kill()
    wait_until_dead(pid)


def test_it_uses_a_given_server(perdures: Processes, server: RunningServer) -> None:
    process, said = dev(perdures, "-s", server.url, "--health-port", "0")
    assert said["NATS"] == server.url
    assert "data" not in said
    assert not (perdures.folder / ".perdure").exists()
    assert asyncio.run(order(server.url, "o-1")) == "paid-order-1"
    process.send(signal.SIGINT)
    assert process.ended() == 0, process.output
    assert is_alive(server.pid)


def test_an_interrupt_while_it_begins_leaves_nothing(perdures: Processes) -> None:
    process = perdures.perdure("dev", "-s", f"nats://127.0.0.1:{free_port()}")
    process.wait_for("cannot reach NATS")
    process.send(signal.SIGINT)
    assert process.ended() == 0, process.output
    assert "Traceback" not in process.output


def test_a_directory_that_cannot_be_used_is_named(perdures: Processes) -> None:
    (perdures.folder / "file").write_text("not a directory")
    process = perdures.perdure("dev", "--data", "file", "--port", str(free_port()))
    assert process.ended() == 2
    assert "Traceback" not in process.output
    assert "file" in process.output
    assert os.listdir(perdures.folder)
