"""Every process with a user of its own, which may do what its role does and nothing else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import nats
import pytest
from nats.aio.client import Client as NatsClient
from support.deployments import Kind, deployment
from support.nats_server import RunningServer, running_server
from support.watching import insist

from perdure.adapters.jetstream.permissions import (
    Role,
    RoleUser,
    authorization,
    inbox_prefix,
)
from perdure.adapters.jetstream.subjects import Subjects
from perdure.client import Client
from perdure.exceptions import CancelledError, WorkflowFailureError

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]

USERS: Final = [RoleUser(role=role, name=role.value, password=f"{role.value}-pw") for role in Role]
FORBIDDEN: Final = {
    Role.OUTSIDER: (
        "perdure.default._wf.default.3.victim.in.ext",
        "perdure.default._wf.default.3.victim.in.eng",
        "perdure.default._wf.default.3.victim.hist",
        "perdure.default._task.default.victim.r.1",
        "$KV.perdure_default_state.victim",
        "$JS.API.STREAM.DELETE.PERDURE_default_LOG",
        "$JS.API.STREAM.PURGE.PERDURE_default_LOG",
    ),
    Role.CLIENT: (
        "perdure.default._wf.default.3.victim.in.eng",
        "perdure.default._wf.default.3.victim.hist",
        "$JS.API.STREAM.PURGE.PERDURE_default_LOG",
    ),
    Role.WORKER: (
        "perdure.default._wf.default.3.victim.hist",
        "perdure.default._wf.default.3.victim.in.ext",
        "$KV.perdure_default_state.victim",
        "$JS.API.STREAM.DELETE.PERDURE_default_LOG",
    ),
    Role.GATEWAY: (
        "perdure.default._wf.default.3.victim.in.eng",
        "perdure.default._wf.default.3.victim.hist",
        "perdure.default._task.default.victim.r.1",
    ),
    Role.SCHEDULER: ("$JS.API.STREAM.DELETE.PERDURE_default_LOG",),
}


def identity(role: Role) -> dict[str, Any]:
    return {"user": role.value, "password": f"{role.value}-pw"}


async def make_streams(server: RunningServer) -> None:
    """As an operator does, once."""
    admin = await Client.connect(
        server.url, **identity(Role.ADMIN), inbox_prefix=inbox_prefix(Role.ADMIN)
    )
    await admin.close()


async def refused(server: RunningServer, role: Role, subject: str) -> bool:
    """Whether the server says that the role may not publish there."""
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def complaint(error: Exception) -> None:
        if not heard.done() and "permissions violation" in str(error).lower():
            heard.set_result(str(error))

    connection: NatsClient = await nats.connect(
        server.url,
        error_cb=complaint,
        inbox_prefix=inbox_prefix(role).encode(),
        **identity(role),
    )
    try:
        await connection.publish(subject, b"{}")
        await connection.flush()
        return await asyncio.wait_for(heard, 10) != ""
    finally:
        await connection.close()


async def test_a_whole_workflow_with_one_user_per_role(tmp_path: Path) -> None:
    rules = authorization(Subjects("default"), USERS)
    with running_server(tmp_path, authorization=rules) as server:
        await make_streams(server)
        async with deployment(
            tmp_path / "services", server.url, PERDURE_CREATE="false"
        ) as deployed:
            roles: dict[Kind, Role] = {
                "scheduler": Role.SCHEDULER,
                "worker": Role.WORKER,
                "gateway": Role.GATEWAY,
            }
            processes = [
                deployed.spawn(kind, PERDURE_USER=role.value, PERDURE_PASSWORD=f"{role.value}-pw")
                for kind, role in roles.items()
            ]
            await asyncio.gather(*(process.ready() for process in processes))
            outsider = await nats.connect(server.url, **identity(Role.OUTSIDER))
            try:
                receipt = await outsider.request(
                    "perdure.default.start.Journey.j-1", json.dumps({"args": ["undone"]}).encode()
                )
                assert json.loads(receipt.data)["stream"] == "PERDURE_default_INGRESS"
                await outsider.request("perdure.default.signal.j-1.approve", b'"anna"')
            finally:
                await outsider.close()
            client = await Client.connect(
                server.url,
                create=False,
                inbox_prefix=inbox_prefix(Role.CLIENT),
                **identity(Role.CLIENT),
            )
            async with client:
                handle = client.get_workflow_handle("j-1")
                wanted = ["book", "pack", "anna", "Refused", "unpack", "unbook"]
                assert await insist(lambda: handle.result(60)) == wanted
                own = await client.start_workflow("Mailbox", 2, id="box")
                await own.signal("letter", 1)
                await own.signal("parcel", 2)
                assert await own.result(60) == [1, 2]
                assert (await own.describe()).status.name == "COMPLETED"
                assert (await own.fetch_history()).events
                sleeper = await client.start_workflow("Sleeper", 3_600.0, id="sleeper")
                assert (await sleeper.describe()).status.name == "RUNNING"
                await sleeper.cancel("enough")
                with pytest.raises(WorkflowFailureError) as caught:
                    await sleeper.result(60)
                assert isinstance(caught.value.cause, CancelledError)
            for process in processes:
                assert "refuses" not in process.log.lower(), process.log
                assert "permissions violation" not in process.log.lower(), process.log


@pytest.mark.parametrize("role", FORBIDDEN, ids=str)
async def test_what_a_role_may_not_do_is_refused(tmp_path: Path, role: Role) -> None:
    rules = authorization(Subjects("default"), USERS)
    with running_server(tmp_path, authorization=rules) as server:
        await make_streams(server)
        for subject in FORBIDDEN[role]:
            assert await refused(server, role, subject), subject
