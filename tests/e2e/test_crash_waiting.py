"""What waits needs nobody: sleeps, retries and signals while processes, or all of them, are away."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from support.polling import until, until_found
from support.systems import System, system
from support.watching import history_when, insist, types

from perdure.client import UnavailableError
from perdure.client.description import PendingActivity

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]


async def armed_in_the_log(here: System) -> bool | None:
    """A record comes before its effects: that a sleep is decided doesn't say that it is armed."""
    stream = await here.outsider.jetstream().stream_info(
        "PERDURE_default_LOG", subjects_filter="perdure.default._timer.>"
    )
    return bool(stream.state.subjects) or None


async def fired_in_the_log(here: System) -> datetime:
    """When the log got a fired timer, whoever runs."""
    subscription = await here.outsider.jetstream().subscribe(
        "perdure.default._wf.*.*.*.in.eng", stream="PERDURE_default_LOG"
    )
    async with asyncio.timeout(60):
        async for message in subscription.messages:
            if b"timer_fired" in message.data:
                return message.metadata.timestamp
    raise AssertionError("the subscription ended")


async def nobody_asks(here: System) -> bool | None:
    """What the server still hands to a dead scheduler comes again only after its lease, and late."""
    consumers = await here.outsider.jetstream().consumers_info("PERDURE_default_LOG")
    return not any(consumer.num_waiting for consumer in consumers) or None


async def test_a_sleep_goes_on_while_everybody_is_dead(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        made = await here.deployed.start_all("scheduler", "worker")
        handle = await here.client.start_workflow("Sleeper", 6.0, id="sleep")
        rows = await history_when(here.client, "sleep", lambda rows: "start_timer" in types(rows))
        due = next(row["due"] for row in rows if row["type"] == "start_timer")
        await until_found(lambda: armed_in_the_log(here), "the sleep's timer")
        here.deployed.kill_all()
        # The server itself keeps the time, with nobody there.
        fired = await fired_in_the_log(here)
        assert fired.timestamp() * 1e9 >= due
        await here.deployed.restart(made["scheduler"])
        assert await handle.result(90) == "slept"
        rows = (await handle.fetch_history()).events
        timers = [row for row in rows if "timer" in row["type"]]
        assert [row["type"] for row in timers] == ["start_timer", "timer_fired"]
        assert datetime.fromisoformat(timers[1]["time"]).timestamp() == pytest.approx(
            fired.timestamp(), abs=0.001
        )


async def test_a_signal_while_everybody_is_dead_is_delivered(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        made = await here.deployed.start_all()
        handle = await here.client.start_workflow("Mailbox", 4, id="box")
        await handle.signal("letter", 1)
        await history_when(here.client, "box", lambda rows: "workflow_signaled" in types(rows))
        here.deployed.kill_all()
        await until_found(lambda: nobody_asks(here), "the server to see that they are gone")
        await handle.signal("letter", 2)
        await here.publish("signal.box.letter", 3)
        await here.publish("signal.box.parcel", 4)
        await asyncio.gather(*(here.deployed.restart(process) for process in made.values()))
        assert await handle.result(90) == [1, 2, 3, 4]


async def test_a_retry_keeps_its_time_and_its_number_across_a_kill(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        made = await here.deployed.start_all("scheduler", "worker")
        handle = await here.client.start_workflow("Retrier", 5.0, id="retry")
        await here.deployed.did("retry call 1")

        async def backing_off() -> PendingActivity | None:
            pending = (await handle.describe()).pending_activities
            return pending[0] if pending and pending[0].next_attempt_at else None

        pending = await until_found(backing_off, "a backoff that describe shows")
        assert pending.attempt == 2
        assert pending.last_failure is not None
        assert "does not answer" in pending.last_failure.message
        made["worker"].kill()
        await here.deployed.restart(made["worker"])
        assert await handle.result(90) == "call"
        deeds = here.deployed.deeds()
        assert [deed.line for deed in deeds] == ["retry call 1", "retry call 2", "retry call 3"]
        # Not at the restart: when it was due.
        gaps = [later.time - earlier.time for earlier, later in pairwise(deeds)]
        assert min(gaps) >= 4.9


async def test_the_server_dies_midway_and_stays_away_for_a_while(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        await here.deployed.start_all()
        handles = [await here.client.start_workflow("Errands", 10, id=f"e-{n}") for n in range(20)]
        await until(lambda: len(here.deployed.effects()) >= 50, "50 activities")
        here.server.kill()
        scheduler = here.deployed.processes[0]
        with pytest.raises(UnavailableError):
            await here.client.start_workflow(
                "Errands", 1, id="no", rpc_timeout=timedelta(seconds=2)
            )
        here.server.start()
        results = await asyncio.gather(
            *(insist(lambda handle=handle: handle.result(90)) for handle in handles)
        )
        assert results == [[f"errand-{n}" for n in range(10)]] * 20
        # What got no receipt may have been started or not.
        done = [line for line in here.deployed.effects() if not line.startswith("no ")]
        assert len({line.rpartition(" ")[0] for line in done}) == 200
        # Nobody died who had an activity in hand.
        assert len(done) == 200
        assert scheduler.alive


async def test_processes_that_are_asked_to_end_lose_nothing(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        made = await here.deployed.start_all()
        handles = [await here.client.start_workflow("Errands", 10, id=f"e-{n}") for n in range(20)]
        slow = await here.client.start_workflow("Slow", 2.0, id="slow")
        await here.deployed.did("slow work-begun 1")
        for kind in ("scheduler", "worker", "gateway"):
            made[kind].terminate()
        assert [await process.ended() for process in made.values()] == [0, 0, 0]
        # What was in hand was finished, not dropped.
        assert "slow work-done 1" in here.deployed.effects()
        await asyncio.gather(*(here.deployed.restart(process) for process in made.values()))
        results = await asyncio.gather(*(handle.result(90) for handle in handles))
        assert results == [[f"errand-{n}" for n in range(10)]] * 20
        assert await slow.result(90) == "work"
        done = here.deployed.effects()
        assert len(done) == len(set(done)) == 202
        assert all(line.endswith(" 1") for line in done)


async def test_an_activity_that_a_shutdown_cuts_keeps_its_number(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        await here.deployed.start("scheduler")
        worker = await here.deployed.start("worker", PERDURE_GRACE="100ms")
        slow = await here.client.start_workflow("Slow", 6.0, id="slow")
        await here.deployed.did("slow work-begun 1")
        worker.terminate()
        assert await worker.ended() == 0
        await here.deployed.restart(worker)
        assert await slow.result(90) == "work"
        assert here.deployed.effects() == [
            "slow work-begun 1",
            "slow work-begun 1",
            "slow work-done 1",
        ]
