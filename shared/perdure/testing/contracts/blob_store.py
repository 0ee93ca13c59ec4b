"""The contract of :class:`perdure.ports.blobs.BlobStore`."""

from perdure.testing.contracts.support import Stage, expect, expect_equal, fresh, run_all, suite


async def put_and_get(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    for data in (b"", b"\x00\xff", b"large" * one.max_message):
        key = f"{fresh('order')}/{fresh('run')}/1"
        expect_equal(await one.blobs.get(key), None, "no blob before it is put")
        await one.blobs.put(key, data)
        await one.blobs.put(key, data)
        expect(await other.blobs.get(key) == data, f"{len(data)} bytes come back, put twice or not")


async def delete_by_prefix(stage: Stage) -> None:
    backend = await stage.connect()
    workflow = fresh("order")
    gone = [f"{workflow}/run-a/{n}" for n in (1, 2, 10)]
    kept = [f"{workflow}/run-b/1", f"{fresh('order')}/run-a/1"]
    for key in (*gone, *kept):
        await backend.blobs.put(key, key.encode())
    for _ in range(2):
        await backend.blobs.delete(f"{workflow}/run-a/")
    expect_equal(
        [await backend.blobs.get(key) for key in gone], [None] * 3, "the prefix is deleted"
    )
    expect_equal(
        [await backend.blobs.get(key) for key in kept],
        [key.encode() for key in kept],
        "other blobs stay",
    )
    await backend.blobs.put(gone[0], b"again")
    expect_equal(await backend.blobs.get(gone[0]), b"again", "a deleted key can be put again")


BLOB_STORE = suite(put_and_get, delete_by_prefix)


async def check_blob_store(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(BLOB_STORE, stage)
