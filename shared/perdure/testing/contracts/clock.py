"""The contract of :class:`perdure.ports.clock.Clock`."""

from perdure.core.durations import HOUR
from perdure.ports.addresses import Lane
from perdure.testing.contracts.support import Stage, expect, fresh_address, run_all, suite


async def never_ahead_of_the_store(stage: Stage) -> None:
    backend = await stage.connect()
    address = fresh_address()
    for _ in range(5):
        before = backend.clock.now()
        seq = await backend.log.append(address, Lane.EXTERNAL, b"x")
        [stored] = await backend.log.read([seq])
        expect(stored is not None, "an acknowledged append can be read")
        if stored is not None:
            expect(
                stored.timestamp >= before, f"the clock was ahead: {before} > {stored.timestamp}"
            )
            backend.clock.observe(stored.timestamp)
            now = backend.clock.now()
            expect(now >= stored.timestamp, f"the clock is behind what it saw: {now}")


async def observing_moves_forward_only(stage: Stage) -> None:
    backend = await stage.connect()
    backend.clock.observe(backend.clock.now() + HOUR)
    ahead = backend.clock.now()
    backend.clock.observe(ahead - HOUR // 2)
    expect(backend.clock.now() >= ahead, "an older timestamp doesn't turn the clock back")
    fresh = await stage.connect()
    expect(fresh.clock.now() < ahead, "a clock belongs to its process")


CLOCK = suite(never_ahead_of_the_store, observing_moves_forward_only)


async def check_clock(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(CLOCK, stage)
