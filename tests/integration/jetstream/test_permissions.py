"""Every role does its work under its own permissions, and is refused everything else."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.jetstream_namespace import connected
from support.nats_server import running_server

from perdure.adapters.jetstream.backend import JetStreamOptions, compose
from perdure.adapters.jetstream.embedded import find_server
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.permissions import (
    Role,
    RoleUser,
    accounts,
    authorization,
    inbox_prefix,
    render_accounts,
    render_config,
)
from perdure.adapters.jetstream.streams import TopologyOptions
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.topology import ensure
from perdure.core.durations import SECOND
from perdure.ports.addresses import Address, Lane, TaskKey, TimerKey
from perdure.ports.backend import Backend
from perdure.ports.errors import Unavailable
from perdure.ports.ingress import IngressDelivery
from perdure.ports.log import Delivery
from perdure.ports.tasks import TaskDelivery

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

SUBJECTS = Subjects("default")
WF = Address("default", "order:1")
TASK = TaskKey("default", "order:1", "r", 1)
TIMER = TimerKey(WF, "r", 1)
VERIFY = TopologyOptions(create=False)


class City:
    """One connection per role, on a server that knows them apart."""

    def __init__(self, links: dict[Role, Link], backends: dict[Role, Backend]) -> None:
        self.links = links
        self.backends = backends


@asynccontextmanager
async def city(tmp_path: Path) -> AsyncGenerator[City]:
    users = [RoleUser(role=role, name=role.value, password=f"{role}-pw") for role in Role]
    with running_server(tmp_path, authorization=authorization(SUBJECTS, users)) as server:
        async with AsyncExitStack() as stack:
            links = {
                role: await stack.enter_async_context(
                    connected(
                        server.url,
                        user=role.value,
                        password=f"{role}-pw",
                        inbox_prefix=inbox_prefix(role),
                    )
                )
                for role in Role
            }
            await ensure(links[Role.ADMIN], SUBJECTS)
            backends: dict[Role, Backend] = {}
            for role in set(Role) - {Role.OUTSIDER}:
                await ensure(links[role], SUBJECTS, VERIFY)
                backends[role] = await compose(links[role], JetStreamOptions())
            yield City(links, backends)


async def refused(link: Link, subjects: Sequence[str]) -> None:
    for subject in subjects:
        with pytest.raises(Unavailable, match="forbids this user"):
            await link.publish(subject, b"{}", timeout=10)


async def next_of[T](queue: "asyncio.Queue[T]") -> T:
    async with asyncio.timeout(20):
        return await queue.get()


JETSTREAM = [
    "$JS.API.STREAM.DELETE.PERDURE_default_LOG",
    "$JS.API.STREAM.UPDATE.PERDURE_default_LOG",
    "$JS.API.STREAM.CREATE.anything",
    "$JS.API.STREAM.PURGE.KV_perdure_default_state",
    "$JS.API.CONSUMER.CREATE.PERDURE_default_AUDIT.spy",
    "$KV.other_bucket.key",
    "somewhere.else",
]
HISTORY = SUBJECTS.lane(WF, Lane.HISTORY)
EXTERNAL = SUBJECTS.lane(WF, Lane.EXTERNAL)
ENGINE = SUBJECTS.lane(WF, Lane.ENGINE)
STATE = SUBJECTS.state_key("order:1")


async def test_outsiders(tmp_path: Path) -> None:
    async with city(tmp_path) as there:
        link = there.links[Role.OUTSIDER]
        await link.publish(SUBJECTS.start("Order", "order:1"), b"{}")
        await link.publish(SUBJECTS.signal("order:1", "approve"), b"")
        await link.publish(SUBJECTS.cancel("order:1"), b"{}")
        await refused(
            link,
            [
                *JETSTREAM,
                HISTORY,
                EXTERNAL,
                ENGINE,
                STATE,
                SUBJECTS.timer(TIMER),
                SUBJECTS.task(TASK),
                SUBJECTS.beat(TASK),
                SUBJECTS.cron("x"),
                SUBJECTS.event("Order", "order:1"),
                SUBJECTS.dead_letter("signal", "order:1"),
                SUBJECTS.message(("query", "q", "1")),
                SUBJECTS.archive("order:1", "r"),
                "$JS.API.STREAM.INFO.PERDURE_default_LOG",
                "$JS.API.STREAM.MSG.GET.PERDURE_default_LOG",
                "$JS.API.DIRECT.GET.PERDURE_default_LOG",
                "$JS.ACK.PERDURE_default_INGRESS.ingress.1.1.1.1.0",
            ],
        )


async def test_clients(tmp_path: Path) -> None:
    async with city(tmp_path) as there:
        client = there.backends[Role.CLIENT]
        scheduler = there.backends[Role.SCHEDULER]
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        watching = await client.state.watch("order:1", heard.put_nowait)
        revision = await client.state.create("order:1", b"starting")
        assert await next_of(heard) == b"starting"
        await client.log.append(WF, Lane.EXTERNAL, b"started")
        await scheduler.log.commit(WF, b"record", after=0)
        await scheduler.state.update("order:1", b"running", revision=revision)
        assert await next_of(heard) == b"running"
        tip = await client.log.tip(WF)
        assert tip is not None
        assert tip.data == b"record"
        assert len(await client.log.following(WF, Lane.EXTERNAL, 0)) == 1
        await client.blobs.put("order=3A1/r/1", b"x" * 1_000_000)
        assert await client.blobs.get("order=3A1/r/1") is not None
        await scheduler.archive.put("order:1", "r", b"history")
        assert await client.archive.get("order:1", "r") == b"history"
        assert await client.archive.runs("order:1") == ["r"]

        async def echo(data: bytes) -> bytes:
            return data

        answering = await scheduler.messages.answer(("query", "q", "1"), echo)
        assert await client.messages.ask(("query", "q", "1"), b"?", timeout=5 * SECOND) == b"?"
        await answering.close()
        await watching.close()
        await refused(
            there.links[Role.CLIENT],
            [
                *JETSTREAM,
                HISTORY,
                ENGINE,
                SUBJECTS.timer(TIMER),
                SUBJECTS.task(TASK),
                SUBJECTS.event("Order", "order:1"),
                SUBJECTS.archive("order:1", "r"),
                "$JS.API.CONSUMER.CREATE.PERDURE_default_LOG.mine",
                "$JS.API.STREAM.PURGE.PERDURE_default_LOG",
            ],
        )


async def test_workers(tmp_path: Path) -> None:
    async with city(tmp_path) as there:
        worker = there.backends[Role.WORKER]
        scheduler = there.backends[Role.SCHEDULER]
        got: asyncio.Queue[TaskDelivery] = asyncio.Queue()
        open_tasks = await worker.tasks.open("default", got.put_nowait, credit=4)
        assert await scheduler.tasks.offer(TASK, b"do")
        first = await next_of(got)
        await worker.heartbeats.beat(TASK, b"half")
        assert await worker.heartbeats.last(TASK) == b"half"
        await worker.tasks.replace(TASK, b"again", seq=first.message.seq)
        second = await next_of(got)
        assert second.message.data == b"again"
        await worker.log.tip(WF)
        await worker.log.append(WF, Lane.ENGINE, b"result")
        second.ack()
        async with asyncio.timeout(20):
            while True:
                if await worker.tasks.current(TASK) is None:
                    break
                await asyncio.sleep(0.01)
        await worker.members.beat(("worker", "default"), "w1", b"", ttl=60 * SECOND)
        assert list(await worker.members.list(("worker",))) == ["default/w1"]
        await worker.blobs.put("order=3A1/r/1", b"large")
        await worker.dead_letters.put("activity", "order:1", b"failed", dedup="1")
        hints: asyncio.Queue[bytes] = asyncio.Queue()
        listening = await worker.messages.listen(("cancel", "default"), hints.put_nowait)
        await there.links[Role.WORKER].api("INFO")
        await scheduler.messages.tell(("cancel", "default"), b"1")
        assert await next_of(hints) == b"1"
        await listening.close()
        await open_tasks.close()
        await refused(
            there.links[Role.WORKER],
            [
                *JETSTREAM,
                HISTORY,
                EXTERNAL,
                STATE,
                SUBJECTS.timer(TIMER),
                SUBJECTS.cron("x"),
                SUBJECTS.start("Order"),
                SUBJECTS.event("Order", "order:1"),
                SUBJECTS.archive("order:1", "r"),
                "$JS.API.CONSUMER.CREATE.PERDURE_default_LOG.mine",
                "$JS.API.STREAM.PURGE.PERDURE_default_LOG",
                "$JS.API.STREAM.PURGE.PERDURE_default_TASKS",
            ],
        )


async def test_schedulers(tmp_path: Path) -> None:
    async with city(tmp_path) as there:
        scheduler = there.backends[Role.SCHEDULER]
        client = there.backends[Role.CLIENT]
        got: asyncio.Queue[Delivery] = asyncio.Queue()
        partition = WF.slot * scheduler.partitions // 64
        inbox = await scheduler.inbox.open("default", partition, got.put_nowait, credit=10)
        await client.log.append(WF, Lane.EXTERNAL, b"started")
        started = await next_of(got)
        assert started.message.data == b"started"
        tip = await scheduler.log.commit(WF, b"record", after=0)
        started.ack()
        await scheduler.timers.arm(TIMER, scheduler.clock.now() - SECOND, b"fired")
        fired = await next_of(got)
        assert fired.lane is Lane.ENGINE
        await scheduler.timers.arm(TIMER, scheduler.clock.now() + 3_600 * SECOND, b"later")
        await scheduler.timers.cancel(TIMER)
        assert await scheduler.tasks.offer(TASK, b"do")
        await scheduler.tasks.remove(TASK)
        await scheduler.announcements.announce("Order", "order:1", b"{}", dedup="1")
        await scheduler.dead_letters.put("event", "order:1", b"?", dedup="1")
        await scheduler.blobs.put("order=3A1/r/1", b"x" * 1_000_000)
        await scheduler.blobs.delete("order=3A1/r")
        await scheduler.blobs.delete("order=3A1/")
        await scheduler.archive.put("order:1", "r", b"x" * 2_000_000)
        await scheduler.replies.reply("_INBOX.someone", b"done")
        await scheduler.members.beat(("scheduler", "default"), "s1", b"", ttl=60 * SECOND)
        await scheduler.members.leave(("scheduler", "default"), "s1")
        await scheduler.log.purge(WF, tip)
        await scheduler.state.create("order:1", b"{}")
        assert [data async for data, _ in scheduler.state.scan()] == [b"{}"]
        await inbox.close()
        await refused(
            there.links[Role.SCHEDULER],
            [
                *JETSTREAM,
                SUBJECTS.start("Order"),
                SUBJECTS.signal("order:1", "s"),
                "$JS.API.CONSUMER.CREATE.PERDURE_default_TASKS.mine",
                "$JS.API.CONSUMER.CREATE.PERDURE_default_INGRESS.mine",
                "$JS.API.STREAM.PURGE.PERDURE_default_ARCHIVE",
            ],
        )


async def test_gateways(tmp_path: Path) -> None:
    async with city(tmp_path) as there:
        gateway = there.backends[Role.GATEWAY]
        outsider = there.links[Role.OUTSIDER]
        got: asyncio.Queue[IngressDelivery] = asyncio.Queue()
        for _ in range(2):
            door = await gateway.ingress.open(got.put_nowait, credit=10)
            await outsider.publish(SUBJECTS.start("Order", "order:1"), b"{}")
            (await next_of(got)).ack()
            await door.close()
        await gateway.ingress.settled()
        await gateway.state.create("order:1", b"starting")
        await gateway.log.append(WF, Lane.EXTERNAL, b"started")
        assert await gateway.log.tip(WF) is None
        await gateway.dead_letters.put("start", "order:1", b"?", dedup="1")
        letters = [letter async for letter in gateway.dead_letters.scan()]
        await gateway.dead_letters.remove(letters[0].seq)
        await gateway.archive.runs("order:1")
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        await outsider.subscribe("_INBOX.me", lambda message: answers.put_nowait(message.data))
        await outsider.publish(SUBJECTS.cancel("order:1"), b"{}")
        await gateway.replies.reply("_INBOX.me", b"done")
        assert await next_of(answers) == b"done"
        link = there.links[Role.GATEWAY]
        await link.subscribe(
            SUBJECTS.api("describe"), lambda message: link.send(message.reply, b"{}")
        )
        await link.api("INFO")
        assert (await outsider.request(SUBJECTS.api("describe"), b"")).data == b"{}"
        await refused(
            link,
            [
                *JETSTREAM,
                HISTORY,
                ENGINE,
                SUBJECTS.timer(TIMER),
                SUBJECTS.task(TASK),
                SUBJECTS.cron("x"),
                SUBJECTS.archive("order:1", "r"),
                "$JS.API.CONSUMER.CREATE.PERDURE_default_LOG.mine",
                "$JS.API.STREAM.PURGE.PERDURE_default_LOG",
            ],
        )


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_no_role_hears_another_ones_inbox(tmp_path: Path, role: Role) -> None:
    async with city(tmp_path) as there:
        heard: list[str] = []
        link = there.links[role]
        for other in set(Role) - {role}:
            await link.subscribe(f"{inbox_prefix(other)}.>", lambda m: heard.append(m.subject))
        await link.subscribe(">", lambda m: heard.append(m.subject))
        # A round trip: the server has seen the subscriptions.
        await (
            link.publish(SUBJECTS.start("X"), b"") if role is Role.OUTSIDER else link.api("INFO")
        )
        for other in set(Role) - {role, Role.OUTSIDER}:
            await there.links[other].api("INFO")
        assert heard == []


@pytest.mark.parametrize("rendered", [render_config, render_accounts])
async def test_the_block_that_an_operator_pastes_is_valid(
    tmp_path: Path, rendered: Callable[[str, list[RoleUser]], str]
) -> None:
    users = [RoleUser(role=role, name=f'{role}"s', password="p") for role in Role]
    config = tmp_path / "nats-server.conf"
    config.write_text(f"jetstream {{}}\n{rendered('default', users)}")
    check = await asyncio.create_subprocess_exec(
        str(find_server()), "-t", "-c", str(config), stderr=asyncio.subprocess.PIPE
    )
    _, said = await check.communicate()
    assert check.returncode == 0, said.decode()


async def test_outsiders_in_an_account_of_their_own_reach_nothing_by_reply(tmp_path: Path) -> None:
    users = [RoleUser(role=role, name=role.value, password="p") for role in Role]
    block = accounts(SUBJECTS, users, name="PERDURE", outsiders="OUTSIDERS")
    with running_server(tmp_path, accounts=block) as server:
        async with AsyncExitStack() as stack:
            admin, gateway, outsider = [
                await stack.enter_async_context(
                    connected(server.url, user=role, password="p", inbox_prefix=inbox_prefix(role))
                )
                for role in (Role.ADMIN, Role.GATEWAY, Role.OUTSIDER)
            ]
            await ensure(admin, SUBJECTS)
            ack = await outsider.publish(SUBJECTS.start("Order", "order:1"), b"{}")
            assert ack.seq == 1
            for stolen in (HISTORY, ENGINE, STATE, SUBJECTS.task(TASK)):
                outsider.send(SUBJECTS.start("Order"), b"{}", reply=stolen)
            # In order on one connection: when this is acknowledged, so are those.
            assert (await outsider.publish(SUBJECTS.signal("x", "y"), b"")).seq == 6
            for name in (
                "PERDURE_default_LOG",
                "KV_perdure_default_state",
                "PERDURE_default_TASKS",
            ):
                assert (await admin.api(f"STREAM.INFO.{name}"))["state"]["messages"] == 0
            await refused(outsider, [HISTORY, EXTERNAL, STATE, "$JS.API.INFO"])

            await gateway.subscribe(
                SUBJECTS.api("describe"), lambda message: gateway.send(message.reply, b"{}")
            )
            await gateway.api("INFO")
            assert (await outsider.request(SUBJECTS.api("describe"), b"")).data == b"{}"
            heard: asyncio.Queue[bytes] = asyncio.Queue()
            for subject in ("_INBOX.me", f"{SUBJECTS.base}events.>"):
                await outsider.subscribe(subject, lambda message: heard.put_nowait(message.data))
            await outsider.publish(SUBJECTS.cancel("x"), b"")
            gateway.send("_INBOX.me", b"answer")
            assert await next_of(heard) == b"answer"
            await gateway.publish(SUBJECTS.event("Order", "order:1"), b"event")
            assert await next_of(heard) == b"event"


async def test_a_user_needs_one_identity() -> None:
    with pytest.raises(ValueError, match="either a name and a password"):
        RoleUser(role=Role.WORKER)
    with pytest.raises(ValueError, match="either a name and a password"):
        RoleUser(role=Role.WORKER, name="a", password="b", nkey="U")
