"""Blobs and archived histories: whole, checked, and gone when they should be."""

import asyncio
import os
from pathlib import Path

import pytest
from support.jetstream_namespace import namespace

from perdure.adapters.jetstream.archive import JetStreamArchive
from perdure.adapters.jetstream.blobs import LARGEST, JetStreamBlobs
from perdure.adapters.jetstream.chunks import CorruptContent
from perdure.core.ids import run_id_for
from perdure.ports.errors import Conflict, TooLarge

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]


@pytest.mark.parametrize("size", [0, 1, 100_000, 512 * 1024, 512 * 1024 + 1, 3_000_000])
async def test_blobs_come_back_as_they_went(tmp_path: Path, size: int) -> None:
    async with namespace(tmp_path) as ns:
        blobs = JetStreamBlobs(ns.link, ns.subjects)
        data = os.urandom(size)
        assert await blobs.get("order=3A1/run/7") is None
        await blobs.put("order=3A1/run/7", data)
        await blobs.put("order=3A1/run/7", data)
        assert await blobs.get("order=3A1/run/7") == data


async def test_a_blob_of_64_megabytes(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        blobs = JetStreamBlobs(ns.link, ns.subjects)
        data = os.urandom(LARGEST)
        await blobs.put("wf/run/1", data)
        assert await blobs.get("wf/run/1") == data
        with pytest.raises(TooLarge):
            await blobs.put("wf/run/2", data + b"x")
        await blobs.delete("wf/")
        info = await ns.link.api(f"STREAM.INFO.{ns.subjects.blobs_stream}")
        assert info["state"]["messages"] == 0


@pytest.mark.parametrize("size", [10, 700_000])
async def test_other_content_under_a_key_is_refused(tmp_path: Path, size: int) -> None:
    async with namespace(tmp_path) as ns:
        blobs = JetStreamBlobs(ns.link, ns.subjects)
        first, second = os.urandom(size), os.urandom(size)
        await blobs.put("wf/run/1", first)
        with pytest.raises(Conflict):
            await blobs.put("wf/run/1", second)
        assert await blobs.get("wf/run/1") == first


async def test_writers_of_other_content_do_not_mix(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        blobs = JetStreamBlobs(ns.link, ns.subjects)
        contents = [os.urandom(1_500_000) for _ in range(4)]
        results = await asyncio.gather(
            *(blobs.put("wf/run/1", content) for content in contents), return_exceptions=True
        )
        won = [at for at, result in enumerate(results) if result is None]
        assert len(won) == 1
        assert await blobs.get("wf/run/1") == contents[won[0]]


async def test_deleting_by_prefix(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        blobs = JetStreamBlobs(ns.link, ns.subjects)
        keys = ["a/r1/1", "a/r1/2", "a/r10/1", "a/r2/1", "a", "ab/r1/1", "ä b/r.1/1"]
        large = os.urandom(600_000)

        async def there() -> list[str]:
            return [key for key in keys if await blobs.get(key) is not None]

        for key in keys:
            await blobs.put(key, large)
        assert await there() == keys
        await blobs.delete("a/r1/")
        assert await there() == ["a/r10/1", "a/r2/1", "a", "ab/r1/1", "ä b/r.1/1"]
        await blobs.delete("a/r1/")
        await blobs.delete("a/r1")
        assert await there() == ["a/r2/1", "a", "ab/r1/1", "ä b/r.1/1"]
        await blobs.delete("ä b/r.")
        assert await there() == ["a/r2/1", "a", "ab/r1/1"]
        await blobs.delete("a")
        assert await there() == []
        info = await ns.link.api(f"STREAM.INFO.{ns.subjects.blobs_stream}")
        assert info["state"]["messages"] == 0
        await blobs.put("a/r1/1", b"again")
        await blobs.delete("")
        assert await there() == []


async def test_damage_is_noticed(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        blobs = JetStreamBlobs(ns.link, ns.subjects)
        await blobs.put("wf/run/1", b"content")
        stream = ns.subjects.blobs_stream
        subject = f"$O.{ns.subjects.blobs_store}.C.head.wf.run.1"
        whole = await ns.link.last_message(stream, subject, leader=True)
        assert whole is not None
        await blobs.delete("wf/")
        await ns.link.publish(
            subject, b"c0ntent", {"Perdure-Digest": whole.headers["Perdure-Digest"]}
        )
        with pytest.raises(CorruptContent, match="does not match its digest"):
            await blobs.get("wf/run/1")


async def test_a_blob_without_all_its_parts_is_none(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        blobs = JetStreamBlobs(ns.link, ns.subjects)
        await blobs.put("wf/run/1", os.urandom(1_200_000))
        await ns.link.api(f"STREAM.MSG.DELETE.{ns.subjects.blobs_stream}", {"seq": 2})
        assert await blobs.get("wf/run/1") is None


async def test_the_first_archived_history_stays(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        archive = JetStreamArchive(ns.link, ns.subjects)
        assert await archive.get("order:1", "r") is None
        assert await archive.runs("order:1") == []
        await archive.put("order:1", "r", b"first")
        await archive.put("order:1", "r", b"second")
        assert await archive.get("order:1", "r") == b"first"
        assert await archive.get("order", "1") is None


async def test_large_histories_are_archived_whole(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        archive = JetStreamArchive(ns.link, ns.subjects)
        data = os.urandom(5_000_000)
        await archive.put("wf", "r", data)
        await archive.put("wf", "r", b"other")
        assert await archive.get("wf", "r") == data
        assert await archive.runs("wf") == ["r"]


async def test_runs_come_oldest_first(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        archive = JetStreamArchive(ns.link, ns.subjects)
        runs = [run_id_for("x", n * 10**15) for n in range(1, 6)]
        for run in [*runs[::2], *runs[1::2]]:
            await archive.put("wf", run, b"{}")
        assert await archive.runs("wf") == runs
        for run in ("r10", "r9", "r11"):
            await archive.put("free", run, b"{}")
        assert await archive.runs("free") == ["r10", "r9", "r11"]
