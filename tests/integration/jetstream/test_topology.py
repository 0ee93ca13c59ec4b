"""Streams are made, amended and refused as declared."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.jetstream_namespace import connected, namespace
from support.nats_server import running_server

from perdure.adapters.jetstream.backend import JetStreamOptions, connect
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.options import ConnectOptions
from perdure.adapters.jetstream.streams import TopologyOptions, declared
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.topology import TopologyError, ensure, manifest, verify

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

SUBJECTS = Subjects("default")


async def change(link: Link, stream: str, **fields: Any) -> None:
    config = (await link.api(f"STREAM.INFO.{stream}"))["config"]
    await link.api(f"STREAM.UPDATE.{stream}", {**config, **fields})


async def test_everything_is_made_once_and_then_left_alone(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with connected(server.url) as link:
            made = await ensure(link, SUBJECTS)
            assert {d.remedy for d in made} == {"create"}
            assert len(made) == len(declared(SUBJECTS, TopologyOptions()))
            assert await verify(link, SUBJECTS) == []
            assert await ensure(link, SUBJECTS) == []


async def test_two_namespaces_share_a_server(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        await ensure(ns.link, Subjects("other"))
        assert await verify(ns.link, ns.subjects) == []


async def test_no_create_names_what_is_missing_and_makes_nothing(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with connected(server.url) as link:
            with pytest.raises(TopologyError, match="--no-create") as caught:
                await ensure(link, SUBJECTS, TopologyOptions(create=False))
            assert caught.value.stream == SUBJECTS.log_stream
            assert (await link.api("STREAM.NAMES"))["streams"] in (None, [])


async def test_the_manifest_is_enough_for_an_operator(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with connected(server.url) as link:
            for config in json.loads(manifest(SUBJECTS))["streams"]:
                await link.api(f"STREAM.CREATE.{config['name']}", config)
            assert await ensure(link, SUBJECTS, TopologyOptions(create=False)) == []


async def test_what_was_weakened_is_amended(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        await change(ns.link, ns.subjects.log_stream, max_age=3_600 * 10**9, allow_direct=False)
        await change(
            ns.link, ns.subjects.archive_stream, discard="old", discard_new_per_subject=False
        )
        await change(ns.link, ns.subjects.state_stream, republish=None)
        found = {(d.stream, d.field) for d in await ensure(ns.link, ns.subjects)}
        assert found == {
            (ns.subjects.log_stream, "max_age"),
            (ns.subjects.log_stream, "allow_direct"),
            (ns.subjects.archive_stream, "discard"),
            (ns.subjects.archive_stream, "discard_new_per_subject"),
            (ns.subjects.state_stream, "republish"),
        }
        assert await verify(ns.link, ns.subjects) == []


async def test_a_change_that_deletes_messages_is_refused(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        month = TopologyOptions(retention=timedelta(days=30))
        assert await ensure(ns.link, ns.subjects, month) == []
        with pytest.raises(TopologyError, match="would delete messages") as caught:
            await ensure(ns.link, ns.subjects, TopologyOptions(retention=timedelta(days=1)))
        error = caught.value
        assert (error.stream, error.field) == (ns.subjects.archive_stream, "max_age")
        assert error.found == 30 * 86_400 * 10**9
        assert error.wanted == 86_400 * 10**9
        longer = TopologyOptions(retention=timedelta(days=60))
        assert [d.field for d in await ensure(ns.link, ns.subjects, longer)] == ["max_age"]
        assert await verify(ns.link, ns.subjects) == []


async def test_a_stream_of_someone_else_is_refused(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with connected(server.url) as link:
            name = SUBJECTS.tasks_stream
            await link.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": ["theirs.>"]})
            with pytest.raises(TopologyError, match="isn't perdure's") as caught:
                await ensure(link, SUBJECTS)
            assert caught.value.stream == name
            # Refused before anything was touched.
            assert (await link.api("STREAM.NAMES"))["streams"] == [name]


async def test_a_newer_topology_is_refused(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        await change(ns.link, ns.subjects.dead_letters_stream, metadata={"perdure-topology": "2"})
        with pytest.raises(TopologyError, match="upgrade this one") as caught:
            await ensure(ns.link, ns.subjects)
        assert (caught.value.found, caught.value.wanted) == ("2", "1")


async def test_foreign_subjects_are_refused(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        subjects = [*ns.subjects.log_subjects, "perdure.default._cron.>", "orders.>"]
        await change(ns.link, ns.subjects.log_stream, subjects=subjects)
        with pytest.raises(TopologyError, match="not perdure's"):
            await ensure(ns.link, ns.subjects)


async def test_what_an_operator_may_choose_is_kept(tmp_path: Path) -> None:
    async with namespace(tmp_path, topology=TopologyOptions(max_bytes={"events": 10**7})) as ns:
        await change(ns.link, ns.subjects.archive_stream, max_age=90 * 86_400 * 10**9)
        await change(ns.link, ns.subjects.ingress_stream, max_bytes=10**8)
        assert await ensure(ns.link, ns.subjects) == []
        info = await ns.link.api(f"STREAM.INFO.{ns.subjects.events_stream}")
        assert info["config"]["max_bytes"] == 10**7


async def test_streams_with_open_work_cannot_be_bounded() -> None:
    with pytest.raises(ValueError, match="cannot be set for log"):
        TopologyOptions(max_bytes={"log": 10**9})


async def test_outsiders_headers_have_no_power_over_ingress(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        await ns.link.publish(ns.subjects.start("Order", "one"), b"{}")
        powers = (
            {"Nats-Rollup": "all"},
            {"Nats-TTL": "1s"},
            {
                "Nats-Schedule": "@at 2026-01-01T00:00:00Z",
                "Nats-Schedule-Target": ns.subjects.cancel("one"),
            },
        )
        for headers in powers:
            with pytest.raises(Exception, match=r"not permitted|disabled"):
                await ns.link.publish(ns.subjects.start("Order", "two"), b"{}", headers)
        info = await ns.link.api(f"STREAM.INFO.{ns.subjects.ingress_stream}")
        assert info["state"]["messages"] == 1


async def test_cron_schedules_live_in_the_log(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        await ns.link.publish(
            ns.subjects.cron("nightly"),
            b"{}",
            {
                "Nats-Schedule": "@daily",
                "Nats-Schedule-Target": f"{ns.subjects.base}_wf.default.00.nightly.in.eng",
            },
        )
        info = await ns.link.api(f"STREAM.INFO.{ns.subjects.log_stream}")
        assert info["state"]["messages"] == 1


async def test_the_number_of_partitions_is_the_namespace_s_for_ever(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:

        def options(partitions: int | None) -> JetStreamOptions:
            connection = ConnectOptions(servers=[server.url])
            return JetStreamOptions(connection=connection, partitions=partitions)

        async with connect(options(8)) as backend:
            assert backend.partitions == 8
        async with connect(options(None)) as backend:
            assert backend.partitions == 8
        with pytest.raises(TopologyError, match="leave partitions unset") as raised:
            async with connect(options(4)):
                pass
        assert (raised.value.found, raised.value.wanted) == ("8", "4")
