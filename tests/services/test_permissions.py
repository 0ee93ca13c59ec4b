"""The services and the command line with no more rights than their roles have."""

import asyncio
from pathlib import Path

import nats
import pytest
from support.nats_server import running_server
from support.processes import Process, Processes

from perdure.adapters.jetstream.permissions import Role, RoleUser, authorization
from perdure.adapters.jetstream.subjects import Subjects

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SUBJECTS = Subjects("default")


def test_each_process_needs_only_its_role(perdures: Processes, tmp_path: Path) -> None:
    users = [RoleUser(role=role, name=role.value, password="word") for role in Role]
    with running_server(tmp_path, authorization=authorization(SUBJECTS, users)) as server:

        def perdure(role: Role, *arguments: str) -> Process:
            return perdures.perdure(
                *arguments, "-s", server.url, "--user", role.value, "--password", "word"
            )

        def done(role: Role, *arguments: str) -> str:
            process = perdure(role, *arguments)
            assert process.ended() == 0, process.output
            return process.output

        assert "applied" in done(Role.ADMIN, "topology", "apply")
        started: list[Process] = []
        for role, arguments in (
            (Role.SCHEDULER, ["scheduler", "-i", "shop"]),
            (Role.WORKER, ["worker", "-i", "shop"]),
            (Role.GATEWAY, ["gateway"]),
        ):
            process = perdure(role, *arguments, "--no-create", "--health-port", "0")
            process.wait_for("serves namespace")
            started.append(process)
        started[-1].wait_for("opened the door")

        async def publish() -> None:
            outsider = await nats.connect(
                server.url, user="outsider", password="word", inbox_prefix=b"_INBOX_outsider"
            )
            # A request, since an outsider may not ask the JetStream API about anything.
            subject = "perdure.default.start.Order.o-1"
            receipt = await outsider.request(subject, b'{"input": ["a"]}', timeout=10)
            assert b'"seq"' in receipt.data
            await outsider.close()

        asyncio.run(publish())
        done(Role.CLIENT, "start", "Approval", "--id", "a-1", "--input", '"trip"')
        assert '"waiting"' in done(Role.CLIENT, "query", "a-1", "state")
        done(Role.CLIENT, "signal", "a-1", "approve", '"ann"')
        assert "approved by ann" in done(Role.CLIENT, "result", "a-1")
        assert '"paid-a"' in done(Role.CLIENT, "result", "o-1")
        for command in (["history", "o-1"], ["describe", "o-1"], ["list"]):
            assert "Order" in done(Role.CLIENT, *command)
        assert "0 dead letters" in done(Role.ADMIN, "dead-letters", "list")
        for process in started:
            assert "ermissions" not in process.output
