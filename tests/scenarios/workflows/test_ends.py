"""How runs end: cancelled, terminated, timed out, and with signals that come at the last moment."""

import asyncio
from datetime import timedelta

import pytest
from support.world import world

from perdure import activity, workflow
from perdure.core.state import Status
from perdure.exceptions import CancelledError, TerminatedError, WorkflowNotFoundError
from perdure.exceptions import TimeoutError as WorkflowTimeout
from perdure.testing.virtual_time import run

SHORT = timedelta(seconds=10)
CLEANED: list[str] = []
STOPPED: list[str] = []


@activity.defn
async def clean(what: str) -> None:
    CLEANED.append(what)


@activity.defn
async def long_work() -> str:
    try:
        await asyncio.sleep(1_000)
    except asyncio.CancelledError:
        STOPPED.append("long_work")
        raise
    return "done"


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self, seconds: float) -> str:
        await workflow.sleep(timedelta(seconds=seconds))
        return "slept"


@workflow.defn
class Careful:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.sleep(timedelta(days=1))
        except asyncio.CancelledError:
            await workflow.execute_activity(clean, "careful", start_to_close_timeout=SHORT)
            raise
        return "never"


@workflow.defn
class Stubborn:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.sleep(timedelta(days=1))
        except asyncio.CancelledError:
            await workflow.sleep(timedelta(seconds=30))
        return "ended as it liked"


@workflow.defn
class Employer:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            long_work,
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=20),
        )


@workflow.defn
class Collector:
    """Ends at its third letter, with every letter that was accepted before the end."""

    def __init__(self) -> None:
        self.letters: list[int] = []

    @workflow.run
    async def run(self) -> list[int]:
        await workflow.wait_condition(lambda: len(self.letters) >= 3)
        return self.letters

    @workflow.signal
    def post(self, number: int) -> None:
        self.letters.append(number)


ALL = [Sleeper, Careful, Stubborn, Employer, Collector]
ACTIVITIES = [clean, long_work]


def test_cancel_ends_a_sleeping_workflow() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            sleeper = await w.start("Sleeper", 86_400.0)
            await asyncio.sleep(3)
            await asyncio.gather(w.cancel(sleeper, "not needed"), w.cancel(sleeper, "not needed"))
            with pytest.raises(CancelledError, match="not needed"):
                await w.result(sleeper, timeout=5)
            assert (await w.closed(sleeper)).status is Status.CANCELED
            with pytest.raises(WorkflowNotFoundError):
                await w.cancel(sleeper)

    run(main())


def test_cancel_lets_the_code_clean_up() -> None:
    async def main() -> None:
        CLEANED.clear()
        async with world(ALL, ACTIVITIES) as w:
            careful = await w.start("Careful")
            await asyncio.sleep(3)
            await w.cancel(careful)
            assert (await w.closed(careful, timeout=10)).status is Status.CANCELED
            assert CLEANED == ["careful"]

    run(main())


def test_cancel_is_a_request() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            stubborn = await w.start("Stubborn")
            await asyncio.sleep(3)
            await w.cancel(stubborn)
            await asyncio.sleep(5)
            entry = await w.entry(stubborn)
            assert entry is not None
            assert entry.status is Status.RUNNING
            assert await w.result(stubborn, timeout=60) == "ended as it liked"

    run(main())


def test_cancel_reaches_the_running_activity() -> None:
    async def main() -> None:
        STOPPED.clear()
        async with world(ALL, ACTIVITIES) as w:
            employer = await w.start("Employer")
            await asyncio.sleep(3)
            await w.cancel(employer)
            assert (await w.closed(employer, timeout=10)).status is Status.CANCELED
            async with asyncio.timeout(10):
                while not STOPPED:
                    await asyncio.sleep(0.1)

    run(main())


def test_cancel_while_no_scheduler_lives() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES, serve=False) as w:
            sleeper = await w.start("Sleeper", 86_400.0)
            await w.cancel(sleeper)
            await w.add_scheduler()
            assert (await w.closed(sleeper, timeout=10)).status is Status.CANCELED

    run(main())


def test_terminate_asks_nobody() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            stubborn = await w.start("Stubborn")
            await asyncio.sleep(3)
            await w.terminate(stubborn, "enough")
            with pytest.raises(TerminatedError, match="enough"):
                await w.result(stubborn, timeout=5)

    run(main())


def test_the_execution_timeout_ends_the_run_on_time() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            before = w.store.now
            late = await w.start("Sleeper", 600.0, execution_timeout=5_000_000_000)
            with pytest.raises(WorkflowTimeout, match="timed out"):
                await w.result(late)
            assert 5 <= (w.store.now - before) / 1e9 <= 7
            assert (await w.closed(late)).status is Status.TIMED_OUT

    run(main())


@pytest.mark.parametrize("extra", range(12))
def test_no_accepted_signal_is_lost_at_the_end(extra: int) -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            collector = await w.start("Collector")
            await asyncio.sleep(2)
            accepted: list[int] = []

            async def post(number: int, after: float) -> None:
                await asyncio.sleep(after)
                try:
                    await w.signal(collector, "post", number)
                except WorkflowNotFoundError:
                    return
                accepted.append(number)

            # Letters race the close by single steps of the loop.
            posts = [post(number, 0.0) for number in range(3)]
            posts += [post(3 + n, 1e-6 * n) for n in range(extra)]
            await asyncio.gather(*posts)
            got = await w.result(collector, timeout=60)
            assert sorted(got) == sorted(accepted)

    run(main())


def test_an_id_is_used_again_after_the_end() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            runs: set[str] = set()
            for _ in range(5):
                await w.start("Sleeper", 0.5, id="again")
                assert await w.result("again", timeout=30) == "slept"
                runs.add((await w.closed("again")).run)
            assert len(runs) == 5

    run(main())


def test_closed_logs_leave_the_log_after_the_grace() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES, purge_grace=60_000_000_000) as w:
            sleeper = await w.start("Sleeper", 1.0)
            await w.result(sleeper)
            from perdure.ports.addresses import Address

            address = Address("default", sleeper)
            assert await w.client.log.tip(address) is not None
            await asyncio.sleep(90)
            assert await w.client.log.tip(address) is None
            history = await w.history(sleeper)
            assert [type(e.event).__name__ for t in history.all_turns for e in t.events] == [
                "WorkflowStarted",
                "TimerFired",
            ]
            await w.start("Sleeper", 1.0, id=sleeper)
            assert await w.result(sleeper) == "slept"

    run(main())
