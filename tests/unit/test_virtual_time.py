"""Virtual time: it jumps, it is deterministic, and it says where a program hangs."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure.testing.virtual_time import (
    START,
    Deadlock,
    TimeLimitExceeded,
    VirtualTimeLoop,
    run,
)


def test_sleeping_jumps_to_the_deadline() -> None:
    async def program() -> list[float]:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        for seconds in (10.0, 0.1, 3_600.0):
            await asyncio.sleep(seconds)
            times.append(loop.time())
        return times

    assert run(program()) == [0.0, 10.0, 10.1, 3610.1]


def test_computing_takes_no_time() -> None:
    async def program() -> float:
        for _ in range(1_000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run(program()) == 0.0


@pytest.mark.parametrize("years", [1, 10, 100])
def test_years_pass_and_deadlines_are_met(years: int) -> None:
    async def program() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(years * 365 * 86_400)
        # Where a float can't hold nanoseconds any more, short waits must still end.
        for _ in range(10):
            await asyncio.sleep(0.001)
        async with asyncio.timeout(5):
            await asyncio.sleep(1e-9)
        return loop.time()

    assert run(program()) == pytest.approx(years * 365 * 86_400 + 0.01, abs=1e-3)


def test_timeouts_come_in_virtual_time() -> None:
    async def program() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(program()) == 3.0


def test_deadlines_ring_in_order() -> None:
    async def program() -> list[str]:
        rung: list[str] = []

        async def ring(name: str, after: float) -> None:
            await asyncio.sleep(after)
            rung.append(name)

        async with asyncio.TaskGroup() as group:
            for name, after in (("c", 3), ("a", 1), ("b", 2), ("a2", 1)):
                group.create_task(ring(name, after))
        return rung

    assert run(program()) == ["a", "a2", "b", "c"]


def test_same_program_same_interleaving() -> None:
    async def program() -> list[tuple[int, int]]:
        steps: list[tuple[int, int]] = []
        lock = asyncio.Lock()

        async def walk(name: int) -> None:
            for step in range(20):
                async with lock:
                    steps.append((name, step))
                await asyncio.sleep((name * 7 + step * 3) % 5 / 10)
                await asyncio.to_thread(steps.append, (name, -step))

        await asyncio.gather(*(walk(name) for name in range(10)))
        return steps

    assert run(program()) == run(program())


def test_deadlock_names_who_waits() -> None:
    async def wait_for_godot() -> None:
        await asyncio.Event().wait()

    async def program() -> None:
        task = asyncio.create_task(wait_for_godot(), name="vladimir")
        await task

    with pytest.raises(Deadlock, match=r"(?s)nothing is ready.*vladimir: .*wait_for_godot"):
        run(program())


def test_deadlock_lets_tasks_clean_up() -> None:
    cleaned: list[str] = []

    async def program() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("main")

    with pytest.raises(Deadlock):
        run(program())
    assert cleaned == ["main"]


def test_limit_ends_what_never_ends() -> None:
    async def program() -> None:
        while await asyncio.sleep(60, result=True):
            pass

    with pytest.raises(TimeLimitExceeded, match="3600 s of virtual time"):
        run(program(), limit=timedelta(hours=1))


def test_the_programs_error_comes_out() -> None:
    async def program() -> None:
        await asyncio.sleep(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(program())


def test_start_is_the_loops_epoch() -> None:
    async def epoch() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        return loop.epoch

    assert run(epoch()) == int(START.timestamp()) * 10**9
    assert run(epoch(), start=datetime(1970, 1, 2, tzinfo=UTC)) == 86_400 * 10**9


def test_naive_start_is_refused() -> None:
    with pytest.raises(ValueError, match="aware datetime"):
        VirtualTimeLoop(datetime(2026, 1, 1))


def test_executor_runs_inline_and_reports_errors() -> None:
    async def program() -> tuple[int, str]:
        value = await asyncio.to_thread(lambda: 42)
        try:
            await asyncio.to_thread(int, "no number")
        except ValueError as error:
            return value, type(error).__name__
        return value, ""

    assert run(program()) == (42, "ValueError")
