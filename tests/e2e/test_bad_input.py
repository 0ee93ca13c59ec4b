"""What cannot work is refused with its cause and remedy, and harms nobody else."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta

import nats
import pytest
import pytest_asyncio
from nats.errors import MaxPayloadError
from support.deployments import Deployment, deployment
from support.journeys import Errands, Mailbox
from support.nats_server import RunningServer, running_server
from support.polling import until_found
from support.systems import System
from support.watching import history_when, types

from perdure.client import Client, WorkflowExecutionDescription, WorkflowHandle
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    InvalidInputError,
    TerminatedError,
    TimeoutError,
    TimeoutType,
    WorkflowAlreadyStartedError,
    WorkflowFailureError,
    WorkflowNotFoundError,
)

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Deployment]]:
    """One deployment for all: nothing here may hurt it."""
    folder = tmp_path_factory.mktemp("bad-input")
    with running_server(folder) as server, asyncio.Runner() as runner:
        started = deployment(folder / "services", server.url, PERDURE_PATIENCE="1s")
        deployed = runner.run(started.__aenter__())
        try:
            runner.run(deployed.start_all())
            yield server, deployed
        finally:
            runner.run(started.__aexit__(None, None, None))


@pytest_asyncio.fixture
async def here(town: tuple[RunningServer, Deployment]) -> AsyncGenerator[System]:
    """The deployment, which must still work when the test is over."""
    server, deployed = town
    outsider = await nats.connect(server.url)
    try:
        async with await Client.connect(server.url) as client:
            yield System(server, deployed, client, outsider)
            handle = await client.start_workflow(Errands.run, 1, id=f"after-{next(_numbers)}")
            assert await handle.result(30) == ["errand-0"]
            assert all(process.alive for process in deployed.processes)
    except BaseException as error:
        error.add_note(deployed.last_words())
        raise
    finally:
        await outsider.close()


async def blocked(handle: WorkflowHandle) -> WorkflowExecutionDescription:
    async def look() -> WorkflowExecutionDescription | None:
        description = await handle.describe()
        return description if description.blocked else None

    return await until_found(look, "a blocked run")


async def failure_of(handle: WorkflowHandle) -> BaseException:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result(60)
    assert caught.value.cause is not None
    return caught.value.cause


async def test_a_workflow_type_that_nobody_has(here: System) -> None:
    handle = await here.client.start_workflow("Mailbx", 1, id="mailbx")
    description = await blocked(handle)
    assert description.status.name == "RUNNING"
    for part in ("'Mailbx'", "nearest: Mailbox", "queue 'default'"):
        assert part in description.blocked
    await handle.signal("letter", 1)
    await handle.terminate(reason="mistyped")
    assert isinstance(await failure_of(handle), TerminatedError)


@pytest.mark.parametrize(
    ("subject", "body", "field"),
    [
        ("start.Mailbox.bad-1", b"{", "body"),
        ("start.Mailbox.bad-1", b"\xff\xfe\x00", "body"),
        ("start.Mailbox.bad-1", b'{"arguments": [1]}', "arguments"),
        ("start.Mailbox.bad-1", b'{"args": 1}', "args"),
        ("start.Mailbox.bad-1", b'{"id": "other"}', "id"),
        ("start.Mailbox.a.b", b"", "subject"),
        ("signal.bad-1.letter", b"{not json", "body"),
        ("cancel.bad-1", b'{"why": "no"}', "why"),
    ],
)
async def test_requests_that_make_no_sense(
    here: System, subject: str, body: bytes, field: str
) -> None:
    before = len(await here.dead_letters())
    inbox = here.outsider.new_inbox()
    answers = await here.outsider.subscribe(inbox)
    await here.outsider.flush()
    receipt = await here.outsider.jetstream().publish(
        f"perdure.default.{subject}", body, headers={"Perdure-Reply-To": inbox}
    )
    import json

    answer = json.loads((await answers.next_msg(timeout=30)).data)
    assert (answer["ok"], answer["code"], answer["field"]) == (False, "invalid_input", field)
    letters = await here.dead_letters()
    assert len(letters) == before + 1
    assert letters[-1]["ingress_seq"] == receipt.seq
    assert letters[-1]["message"] == answer["message"]
    with pytest.raises(WorkflowNotFoundError):
        await here.client.get_workflow_handle("bad-1").describe()


async def test_large_and_too_large_arguments(here: System) -> None:
    text = "x" * 3_000_000
    assert await here.client.execute_workflow("Echo", text, id="large") == text
    with pytest.raises(InvalidInputError, match=r"64 MiB|67108864|6710\d+|limit") as caught:
        await here.client.start_workflow("Echo", "x" * (64 * 1024 * 1024 + 1), id="too-large")
    assert caught.value.field == "args"
    with pytest.raises(WorkflowNotFoundError):
        await here.client.get_workflow_handle("too-large").describe()
    # Outsiders have the server's own limit, and their client says so before it sends.
    with pytest.raises(MaxPayloadError):
        await here.publish("start.Echo.too-large", {"input": text})


async def test_arguments_that_do_not_fit(here: System) -> None:
    for args in ([], [1, 2], ["three"]):
        with pytest.raises(InvalidInputError) as caught:
            await here.client.start_workflow(Mailbox.run, args=args, id="unfit")
        assert "letters" in str(caught.value) or "argument" in str(caught.value)
    box = await here.client.start_workflow(Mailbox.run, 1, id="box")
    with pytest.raises(InvalidInputError):
        await box.signal(Mailbox.letter, "a word")
    # Through the front door nobody knows the types: the workflow finds out, and goes on.
    before = len(await here.dead_letters())
    assert (await here.ask("signal.box.letter", "a word"))["ok"]

    async def rejected() -> bool | None:
        return len(await here.dead_letters()) > before or None

    await until_found(rejected, "the dead letter")
    letter = (await here.dead_letters())[-1]
    assert "letter" in str(letter)
    assert (await here.ask("signal.box.letter", 5))["ok"]
    assert await box.result(30) == [5]
    assert "reject_signal" in types((await box.fetch_history()).events)


@pytest.mark.parametrize("args", [[], [1, 2], ["three"]])
async def test_a_start_by_name_with_arguments_that_do_not_fit(
    here: System, args: list[object]
) -> None:
    answer = await here.ask(f"start.Mailbox.misfit-{len(args)}", {"args": args})
    assert answer["ok"]
    handle = here.client.get_workflow_handle(str(answer["id"]), run_id=str(answer["run_id"]))
    cause = await failure_of(handle)
    assert isinstance(cause, ApplicationError)
    assert "letters" in str(cause) or "argument" in str(cause)


async def test_an_id_that_is_taken(here: System) -> None:
    handle = await here.client.start_workflow("Mailbox", 1, id="taken")
    with pytest.raises(WorkflowAlreadyStartedError, match="taken") as caught:
        await here.client.start_workflow("Mailbox", 1, id="taken")
    assert caught.value.run_id == handle.run_id
    answer = await here.ask("start.Mailbox.taken", {"args": [1]})
    assert (answer["ok"], answer["code"]) == (False, "already_started")
    await handle.signal("letter", 1)
    assert await handle.result(30) == [1]


async def test_signals_to_closed_and_unknown_workflows(here: System) -> None:
    handle = await here.client.start_workflow("Mailbox", 1, id="closed")
    await handle.signal("letter", 1)
    assert await handle.result(30) == [1]
    for unknown in ("closed", "never-seen"):
        with pytest.raises(WorkflowNotFoundError, match=unknown):
            await here.client.get_workflow_handle(unknown).signal("letter", 2)
    for unknown, code in (("closed", "workflow_closed"), ("never-seen", "unknown_workflow")):
        answer = await here.ask(f"signal.{unknown}.letter", 2)
        assert (answer["ok"], answer["code"]) == (False, code)
        letter = (await here.dead_letters())[-1]
        assert (letter["reason"], letter["workflow_id"]) == (code, unknown)
        assert (letter["kind"], letter["body"]) == ("signal", 2)


async def test_an_activity_that_nobody_serves(here: System) -> None:
    waits = await here.client.start_workflow("Elsewhere", {}, id="waits")
    await history_when(here.client, "waits", lambda rows: "schedule_activity" in types(rows))
    (pending,) = (await waits.describe()).pending_activities
    assert (pending.activity_type, pending.task_queue, pending.attempt) == ("step", "nobody", 1)

    for name, kind in (
        ("schedule_to_start_timeout", TimeoutType.SCHEDULE_TO_START),
        ("schedule_to_close_timeout", TimeoutType.SCHEDULE_TO_CLOSE),
    ):
        handle = await here.client.start_workflow("Elsewhere", {name: 1.0}, id=name)
        error = await failure_of(handle)
        assert isinstance(error, ActivityError)
        assert isinstance(error.cause, TimeoutError)
        assert error.cause.type == kind
    await waits.terminate(reason="enough")


async def test_an_activity_that_no_worker_knows(here: System) -> None:
    handle = await here.client.start_workflow("Unskilled", id="unskilled")
    error = await failure_of(handle)
    assert isinstance(error, ActivityError)
    assert isinstance(error.cause, ApplicationError)
    assert "stepp" in str(error.cause) and "step" in str(error.cause)


async def test_a_wait_that_is_too_short_ends_the_wait_alone(here: System) -> None:
    handle = await here.client.start_workflow("Mailbox", 1, id="patient")
    with pytest.raises(Exception, match="no result yet"):
        await handle.result(timedelta(milliseconds=100))
    await handle.signal("letter", 1)
    assert await handle.result(30) == [1]
