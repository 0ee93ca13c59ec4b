"""The `nats` command line alone starts a workflow, signals it and reads what comes of it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Final

import pytest
from support.deployments import ROOT
from support.systems import System, system
from support.watching import insist

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

_TOOLS: Final = os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ.get("PATH", "")])
NATS: Final = shutil.which("nats", path=_TOOLS)


@pytest.fixture(autouse=True)
def required() -> None:
    if NATS is None:
        if os.environ.get("PERDURE_REQUIRE_NATS_CLI") == "1":
            pytest.fail("the nats CLI is required; scripts/install_nats_cli.sh builds it")
        pytest.skip("no nats CLI; scripts/install_nats_cli.sh builds it")


async def run(here: System, *words: str, timeout: float = 60.0) -> str:
    assert NATS is not None
    process = await asyncio.create_subprocess_exec(
        NATS,
        *words,
        env={
            "PATH": _TOOLS,
            "HOME": str(here.server.folder),
            "XDG_CONFIG_HOME": str(here.server.folder),
            "NATS_URL": here.server.url,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout)
    text = output.decode()
    assert process.returncode == 0, text
    return text


async def test_a_shell_starts_and_signals_a_workflow(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        await here.deployed.start_all()
        listed = await run(here, "stream", "ls", "--names")
        for name in ("LOG", "TASKS", "INGRESS", "EVENTS", "DLQ", "ARCHIVE"):
            assert f"PERDURE_default_{name}" in listed

        body = '{"id": "order-1"}'
        receipt = await run(here, "pub", "-J", "perdure.default.start.Approval.order-1", body)
        assert "PERDURE_default_INGRESS" in receipt
        await run(here, "pub", "-J", "perdure.default.signal.order-1.approve", "true")
        handle = here.client.get_workflow_handle("order-1")
        assert await insist(lambda: handle.result(60)) == "True"

        # Without an id in the subject, the body's counts; a plain publish will do.
        await run(here, "pub", "perdure.default.start.Approval", '{"id": "order-2"}')
        await run(here, "pub", "perdure.default.signal.order-2.approve", '"bob"')
        other = here.client.get_workflow_handle("order-2")
        assert await insist(lambda: other.result(60)) == "bob"

        about = "perdure.default.events.Approval.order-1"
        shown = await run(here, "stream", "get", "PERDURE_default_EVENTS", "--last-for", about)
        assert '"closed"' in shown and "completed" in shown


async def test_a_shell_hears_what_came_of_a_request(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        await here.deployed.start_all("gateway", "scheduler")
        answers = await here.outsider.subscribe("_INBOX.shell.>")
        await here.outsider.flush()
        header = ("-H", "Perdure-Reply-To:_INBOX.shell.1")
        subject = "perdure.default.start.Mailbox.box-1"
        await run(here, "pub", *header, subject, '{"args": [1]}')
        started = json.loads((await answers.next_msg(timeout=60)).data)
        assert (started["ok"], started["id"], started["status"]) == (True, "box-1", "started")
        header = ("-H", "Perdure-Reply-To:_INBOX.shell.2")
        await run(here, "pub", *header, "perdure.default.signal.box-1.letter", "7")
        signaled = json.loads((await answers.next_msg(timeout=60)).data)
        assert (signaled["ok"], signaled["status"]) == (True, "signaled")
        assert await here.client.get_workflow_handle("box-1").result(60) == [7]
        # A request's reply is JetStream's receipt: the request is stored, whoever runs.
        receipt = await run(here, "request", subject.replace("1", "2"), '{"args": [1]}')
        assert "PERDURE_default_INGRESS" in receipt
