"""The contract of :class:`perdure.ports.archive.Archive`."""

from perdure.testing.contracts.support import Stage, expect_equal, fresh, run_all, suite


async def first_one_stays(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    workflow, run = fresh("order: ü"), fresh("run")
    expect_equal(await one.archive.get(workflow, run), None, "nothing before it is put")
    await one.archive.put(workflow, run, b"history")
    await other.archive.put(workflow, run, b"history")
    await other.archive.put(workflow, run, b"another history")
    expect_equal(await other.archive.get(workflow, run), b"history", "the first one stays")
    expect_equal(await other.archive.runs(workflow), [run], "put again or not, it is one run")


async def runs_oldest_first(stage: Stage) -> None:
    backend = await stage.connect()
    workflow, other = fresh("order"), fresh("order")
    expect_equal(await backend.archive.runs(workflow), [], "no run before one is put")
    runs = [fresh("zulu"), fresh("alpha"), fresh("mike")]
    for run in runs:
        await backend.archive.put(workflow, run, run.encode())
    await backend.archive.put(other, fresh("run"), b"another id")
    expect_equal(await backend.archive.runs(workflow), runs, "the runs of an id, oldest first")
    for run in runs:
        expect_equal(await backend.archive.get(workflow, run), run.encode(), "each has its history")


ARCHIVE = suite(first_one_stays, runs_oldest_first)


async def check_archive(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(ARCHIVE, stage)
