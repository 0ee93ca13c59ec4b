"""The link on a server that dies, refuses, goes away and comes back."""

import asyncio
from pathlib import Path

import pytest
from support.hot import Collector, create_hot_streams, eventually, linked
from support.nats_server import (
    RunningServer,
    free_port,
    running_cluster,
    running_server,
)

from perdure.adapters.jetstream.errors import Missing, ServerTooOld
from perdure.adapters.jetstream.link import ConnectOptions, Link, Message
from perdure.adapters.jetstream.log import JetStreamInbox, JetStreamLog
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.tasks import JetStreamTasks
from perdure.ports.addresses import Address, Lane, TaskKey
from perdure.ports.errors import AlreadyExists, PortError, TooLarge, Unavailable, UnknownOutcome

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

HERE = Address("default", "order:1")


async def test_nothing_listens_there() -> None:
    port = free_port()
    options = ConnectOptions(servers=[f"nats://me:secret@127.0.0.1:{port}"], start_timeout=0.5)
    with pytest.raises(Unavailable, match=rf"nats://127\.0\.0\.1:{port} .*running") as caught:
        await Link.connect(options)
    assert "secret" not in str(caught.value)


async def test_waiting_for_a_server_that_comes_later(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, {})
    options = ConnectOptions(servers=[server.url], wait_forever=True, reconnect_wait=0.05)
    connecting = asyncio.ensure_future(Link.connect(options))
    try:
        await asyncio.sleep(0)
        await asyncio.to_thread(server.start)
        link = await asyncio.wait_for(connecting, 20)
        assert link.connected
        await link.close()
    finally:
        server.kill()


async def test_a_wrong_password_fails_at_once(tmp_path: Path) -> None:
    users = {"users": [{"user": "me", "password": "right"}]}
    with running_server(tmp_path, authorization=users) as server:
        options = ConnectOptions(servers=[server.url], user="me", password="wrong")
        with pytest.raises(Unavailable, match="refuses this identity"):
            await asyncio.wait_for(Link.connect(options), 5)
        async with linked(server.url, user="me", password="right") as link:
            assert link.connected


async def test_an_old_server_is_named() -> None:
    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = b'{"server_id":"X","version":"2.10.4","max_payload":1048576,"headers":true}'
        writer.write(b"INFO %b\r\n" % info)
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(pretend, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ServerTooOld, match=r"2\.10\.4.*2\.14"):
        await Link.connect(ConnectOptions(servers=[f"nats://127.0.0.1:{port}"]))
    server.close()
    await server.wait_closed()


async def test_no_such_stream(link: Link) -> None:
    with pytest.raises(Unavailable, match="nobody answers"):
        await link.publish("no.such.stream", b"", timeout=0.2)
    with pytest.raises(Missing):
        await link.api("STREAM.INFO.NOTHING")
    with pytest.raises(Unavailable):
        await link.request("nobody.here", b"", timeout=0.5)


async def test_a_header_too_large_does_not_close_the_client(link: Link, subjects: Subjects) -> None:
    subject = subjects.lane(HERE, Lane.EXTERNAL)
    with pytest.raises(TooLarge):
        await link.publish(subject, b"x" * link.max_payload, {"A": "b"})
    with pytest.raises(TooLarge):
        await link.publish(subject, b"", {"A": "b" * 70_000})
    with pytest.raises(TooLarge):
        link.send(subject, b"x" * (link.max_payload + 1))
    assert (await link.publish(subject, b"fits")).seq == 1


async def test_nothing_slips_into_the_protocol(link: Link, subjects: Subjects) -> None:
    subject = subjects.lane(HERE, Lane.EXTERNAL)
    for forged in ("a b", "a\r\nPUB x 0", "", "a\tb"):
        with pytest.raises(ValueError, match="subject"):
            link.send(forged, b"")
    with pytest.raises(ValueError, match="subject"):
        link.send(subject, b"", reply="x\r\nPUB")
    for headers in ({"A": "b\r\nNats-Rollup: all"}, {"A\r\nB": "c"}):
        with pytest.raises(ValueError, match="line break"):
            link.send(subject, b"", headers)


async def test_headers_and_bodies_arrive_as_sent(link: Link) -> None:
    got: list[tuple[str, str, bytes, dict[str, str]]] = []
    arrived = asyncio.Event()

    def keep(message: Message) -> None:
        got.append((message.subject, message.reply, message.data, message.headers))
        if len(got) == 4:
            arrived.set()

    subscription = await link.subscribe("words.*", keep)
    big = bytes(range(256)) * 3000
    link.send("words.a", b"")
    link.send("words.b", b"\r\nMSG x 1 3\r\n", {"Käse": "ß: ü", "B": ""}, "answer.here")
    link.send("words.c", big, {"A": "1"})
    link.send("words.d", big)
    await asyncio.wait_for(arrived.wait(), 10)
    assert got[0] == ("words.a", "", b"", {})
    assert got[1][:3] == ("words.b", "answer.here", b"\r\nMSG x 1 3\r\n")
    assert got[1][3]["B"] == ""
    assert got[2] == ("words.c", "", big, {"A": "1"})
    assert got[3] == ("words.d", "", big, {})
    await subscription.unsubscribe()
    await subscription.unsubscribe()


async def test_a_handler_that_raises_stops_nothing(link: Link) -> None:
    seen = asyncio.Event()

    def fail(_message: Message) -> None:
        seen.set()
        raise RuntimeError("on purpose")

    await link.subscribe("bad", fail)
    for _ in range(2):
        seen.clear()
        link.send("bad", b"")
        await asyncio.wait_for(seen.wait(), 10)


async def test_queue_groups_share(server: RunningServer, link: Link) -> None:
    async with linked(server.url) as other:
        one, two = list[bytes](), list[bytes]()
        await link.subscribe("jobs", lambda m: one.append(m.data), "q")
        await other.subscribe("jobs", lambda m: two.append(m.data), "q")
        await other.api("INFO")
        for n in range(100):
            link.send("jobs", b"%d" % n)
        await eventually(lambda: len(one) + len(two) == 100)
        assert one and two


async def test_a_crash_midway(tmp_path: Path) -> None:
    """Kill -9 while appending, offering and consuming: everything acknowledged is there, everything
    comes once per sequence, and all parts go on by themselves."""
    with running_server(tmp_path) as server:
        async with linked(server.url) as link:
            subjects = Subjects("default")
            await create_hot_streams(link, subjects)
            log, tasks = JetStreamLog(link, subjects), JetStreamTasks(link, subjects)
            events, jobs = Collector(ack=True), Collector(ack=True)
            inbox = JetStreamInbox(link, subjects, partitions=1, lease=2_000_000_000)
            await inbox.open("default", 0, events, credit=50)
            await tasks.open("q", jobs, credit=50)
            acknowledged: list[int] = []
            stop = asyncio.Event()

            async def append(writer: int) -> None:
                n = 0
                while not stop.is_set():
                    n += 1
                    word = f"{writer}.{n}"
                    try:
                        seq = await log.append(HERE, Lane.EXTERNAL, word.encode(), dedup=word)
                        await tasks.offer(TaskKey("q", str(writer), "r", n), b"", dedup=word)
                    except PortError:
                        continue
                    acknowledged.append(seq)

            writers = [asyncio.ensure_future(append(n)) for n in range(8)]

            async def two_hundred_more() -> None:
                enough = len(acknowledged) + 200
                await eventually(lambda: len(acknowledged) >= enough)

            for _ in range(2):
                await two_hundred_more()
                server.kill()
                await asyncio.to_thread(server.start)
            await two_hundred_more()
            stop.set()
            await asyncio.gather(*writers)
            assert len(set(acknowledged)) == len(acknowledged)
            found = await log.read(acknowledged)
            assert None not in found
            await events.until(lambda: set(acknowledged) <= {one.message.seq for one in events.got})
            await jobs.until(lambda: len({one.key for one in jobs.got}) >= len(acknowledged))


async def test_a_client_closed_for_good_is_replaced(server: RunningServer, link: Link) -> None:
    subjects = Subjects("closed-for-good")
    await create_hot_streams(link, subjects)
    got = Collector(ack=True)
    tasks = JetStreamTasks(link, subjects)
    await tasks.open("q", got, credit=5)
    heard = list[bytes]()
    await link.subscribe("after.the.fall", lambda m: heard.append(m.data))
    hooks = list[int]()
    remove = link.on_reconnect(lambda: hooks.append(1))
    # A protocol violation: the server answers -ERR and the client closes itself for good.
    link.push(b"PUB too.large %d\r\n" % (64 * 1024 * 1024))
    await eventually(lambda: bool(hooks))
    await tasks.offer(TaskKey("q", "w", "r", 1), b"later")
    await got.count(1)
    link.send("after.the.fall", b"!")
    await eventually(lambda: heard == [b"!"])
    remove()


async def test_in_flight_when_the_server_dies(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with linked(server.url) as link:
            subjects = Subjects("default")
            await create_hot_streams(link, subjects)
            subject = subjects.lane(HERE, Lane.EXTERNAL)
            await link.publish(subject, b"")
            # Nobody reads this one's answer: the process is stopped before it can write it.
            server.pause()
            plain = asyncio.ensure_future(link.publish(subject, b"plain"))
            repeated = asyncio.ensure_future(
                link.publish(subject, b"again", {"Nats-Msg-Id": "1"}, idempotent=True, timeout=20)
            )
            reading = asyncio.ensure_future(
                link.last_message(subjects.log_stream, subject, leader=True)
            )
            await asyncio.sleep(0.05)
            server.kill()
            await asyncio.to_thread(server.start)
            with pytest.raises(UnknownOutcome):
                await plain
            assert (await repeated).seq >= 2
            assert (await reading) is not None


async def test_away_for_longer_than_the_timeout(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with linked(server.url) as link:
            subjects = Subjects("default")
            await create_hot_streams(link, subjects)
            server.kill()
            await eventually(lambda: not link.connected)
            subject = subjects.lane(HERE, Lane.EXTERNAL)
            with pytest.raises(Unavailable, match="no connection"):
                await link.publish(subject, b"", timeout=0.1)
            with pytest.raises(Unavailable, match="no connection"):
                await link.api("INFO", timeout=0.1)
            link.send(subject, b"held back")
            await asyncio.to_thread(server.start)
            await eventually(lambda: link.connected)
            last = None
            while last is None:
                last = await link.last_message(subjects.log_stream, subject, leader=True)
            assert last.data == b"held back"


async def test_close_while_the_server_is_away(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with linked(server.url) as link:
            server.kill()
            await eventually(lambda: not link.connected)
            async with asyncio.timeout(10):
                await link.close()
            with pytest.raises(Unavailable):
                await link.publish("x", b"", timeout=0.1)


async def test_permissions_name_the_subject(tmp_path: Path) -> None:
    me = {
        "user": "me",
        "password": "x",
        "permissions": {"publish": ["$JS.>", "mine.>"], "subscribe": ["_INBOX_me.>"]},
    }
    with running_server(tmp_path, authorization={"users": [me]}) as server:
        async with linked(server.url, user="me", password="x", inbox_prefix="_INBOX_me") as link:
            with pytest.raises(Unavailable, match=r"Theirs\.Secret.*permissions"):
                await link.publish("Theirs.Secret", b"", timeout=30)
            with pytest.raises(Unavailable, match="nobody answers"):
                await link.publish("mine.a", b"", timeout=0.1)
            assert any("theirs.secret" in text for text in link.violations)


@pytest.mark.slow
async def test_lame_duck_moves_on(tmp_path: Path) -> None:
    options = {"lame_duck_duration": "30s", "lame_duck_grace_period": "1s"}
    with running_cluster(tmp_path, 3, **options) as servers:
        urls = [server.url for server in servers]
        async with linked(urls) as link:
            subjects = Subjects("default")
            await eventually_created(link, subjects)
            log, got = JetStreamLog(link, subjects, replicas=3), Collector(ack=True)
            await JetStreamInbox(link, subjects, partitions=1).open("default", 0, got, credit=9)
            await log.append(HERE, Lane.EXTERNAL, b"before")
            await got.count(1)
            here = next(server for server in servers if server.name == link.server_name)
            here.lame_duck()
            await eventually(lambda: link.connected and link.server_name != here.name)
            await log.append(HERE, Lane.EXTERNAL, b"after", dedup="after")
            await got.until(lambda: b"after" in got.bodies)


@pytest.mark.slow
async def test_a_replicated_log_through_a_lost_node(tmp_path: Path) -> None:
    with running_cluster(tmp_path, 3) as servers:
        async with linked([server.url for server in servers]) as link:
            subjects = Subjects("default")
            await eventually_created(link, subjects)
            log, got = JetStreamLog(link, subjects, replicas=3), Collector(ack=True)
            inbox = JetStreamInbox(link, subjects, partitions=1, lease=2_000_000_000)
            await inbox.open("default", 0, got, credit=20)
            tip, sent = 0, list[int]()
            for n in range(150):
                if n == 50:
                    servers[0].kill()
                tip = await commit_at_last(log, b"%d" % n, tip)
                found = await log.tip(HERE)
                assert found is not None and found.seq == tip
                word = str(n)
                seq = await insist(log, word)
                sent.append(seq)
                (read,) = await log.read([seq])
                assert read is not None and read.data == word.encode()
                after = await log.following(HERE, Lane.EXTERNAL, seq - 1)
                assert [one.seq for one in after] == [seq]
            await got.until(lambda: set(sent) <= {one.message.seq for one in got.got})


async def eventually_created(link: Link, subjects: Subjects) -> None:
    """A cluster takes a moment until it has a leader to create streams with."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await create_hot_streams(link, subjects, replicas=3)
            except AlreadyExists:
                raise
            except PortError:
                await asyncio.sleep(0.2)


async def commit_at_last(log: JetStreamLog, data: bytes, after: int) -> int:
    """As an engine does: whatever is unknown is read before it is tried again."""
    while True:
        try:
            return await log.commit(HERE, data, after=after)
        except PortError:
            await asyncio.sleep(0.05)
        try:
            tip = await log.tip(HERE)
        except PortError:
            continue
        if tip is not None and tip.seq > after:
            assert tip.data == data
            return tip.seq


async def insist(log: JetStreamLog, word: str) -> int:
    while True:
        try:
            return await log.append(HERE, Lane.EXTERNAL, word.encode(), dedup=word)
        except PortError:
            await asyncio.sleep(0.05)


async def test_a_subscription_is_the_server_s_before_it_is_returned(server: RunningServer) -> None:
    async with linked(server.url) as link, linked(server.url) as other:
        for number in range(100):
            heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

            def hear(message: Message, heard: asyncio.Future[bytes] = heard) -> None:
                heard.set_result(message.data)

            await link.subscribe(f"at.once.{number}", hear)
            other.send(f"at.once.{number}", b"word")
            assert await asyncio.wait_for(heard, 10) == b"word"
