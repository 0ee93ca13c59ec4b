"""The contract of :class:`perdure.ports.tasks.Heartbeats`."""

from perdure.testing.contracts.support import Stage, expect_equal, fresh_task, run_all, suite


async def newest_progress_is_kept(stage: Stage) -> None:
    backend = await stage.connect()
    key, other = fresh_task(), fresh_task()
    expect_equal(await backend.heartbeats.last(key), None, "no beat, no progress")
    for details in (b"1", b"", b"3"):
        await backend.heartbeats.beat(key, details)
        expect_equal(await backend.heartbeats.last(key), details, "the newest progress is kept")
    expect_equal(await backend.heartbeats.last(other), None, "progress belongs to its key")


async def progress_outlives_its_worker(stage: Stage) -> None:
    worker, next_worker = await stage.connect(), await stage.connect()
    key = fresh_task()
    await worker.heartbeats.beat(key, b"half way")
    expect_equal(
        await next_worker.heartbeats.last(key), b"half way", "another process reads the progress"
    )


HEARTBEATS = suite(newest_progress_is_kept, progress_outlives_its_worker)


async def check_heartbeats(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(HEARTBEATS, stage)
