"""Workers die, tasks come again: nothing is lost, and what is finished is not done again."""

import asyncio

import msgspec
import pytest
from scenarios.activities.world import ADDRESS, CONVERTER, RUN, World, play

from perdure import activity
from perdure.core.durations import SECOND
from perdure.core.errors import RetryState, TimeoutType
from perdure.core.events import ActivityCompleted, ActivityFailed, encode_event
from perdure.core.retry import RetryRule
from perdure.core.tasks import encode_task
from perdure.engine.activities.heartbeats import Beat, encode_beat
from perdure.ports.addresses import Lane

RUNS: list[tuple[float, int]] = []


@activity.defn
async def slow(seconds: float = 60) -> int:
    RUNS.append((asyncio.get_running_loop().time(), activity.info().attempt))
    await asyncio.sleep(seconds)
    return activity.info().attempt


@pytest.fixture(autouse=True)
def fresh_runs() -> None:
    RUNS.clear()


def completed() -> bytes:
    event = ActivityCompleted(
        run=RUN, n=1, attempt=1, activity_type="slow", result=CONVERTER.to_payload("first")
    )
    return encode_event(event)


def test_the_death_of_a_worker_costs_one_attempt() -> None:
    async def story(world: World) -> None:
        first = await world.worker(slow)
        await world.offer("slow", 30)
        await asyncio.sleep(15)
        await world.crash(first)
        await world.worker(slow)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 2
        assert [attempt for _, attempt in RUNS] == [1, 2]
        # Extended last after four thirds of a lease; then the lease, then a backoff of one second.
        assert RUNS[1][0] == pytest.approx(10 * 4 / 3 + 10 + 1, abs=0.01)

    play(story)


def test_a_delayed_attempt_that_kills_its_worker_is_counted_too() -> None:
    async def story(world: World) -> None:
        await world.offer("slow", attempt=2, delay=5 * SECOND)
        first = await world.worker(slow)
        await asyncio.sleep(7)
        assert [attempt for _, attempt in RUNS] == [2]
        await world.crash(first)
        await world.worker(slow)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 3

    play(story)


def test_a_delayed_attempt_that_nobody_began_keeps_its_number() -> None:
    async def story(world: World) -> None:
        task = await world.offer("slow", attempt=2, delay=5 * SECOND)
        earlier = encode_beat(Beat(attempt=1, seq=0, details=[CONVERTER.to_payload("old")]))
        await world.backend.heartbeats.beat(world.key(task), earlier)
        first = await world.worker(slow)
        await asyncio.sleep(2)
        await world.crash(first)
        await asyncio.sleep(600)
        await world.worker(slow)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 2

    play(story)


@pytest.mark.parametrize(
    ("heartbeat", "kind"), [(0, TimeoutType.START_TO_CLOSE), (50 * SECOND, TimeoutType.HEARTBEAT)]
)
def test_an_activity_that_kills_every_worker_ends(heartbeat: int, kind: TimeoutType) -> None:
    async def story(world: World) -> None:
        retry = RetryRule(maximum_attempts=3)
        await world.offer("slow", retry=retry, heartbeat=heartbeat)
        for attempt in (1, 2, 3):
            worker = await world.worker(slow)
            await asyncio.sleep(40)
            assert RUNS[-1][1] == attempt
            await world.crash(worker)
        await world.worker(slow)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityFailed)
        assert event.retry_state == RetryState.MAXIMUM_ATTEMPTS_REACHED
        assert event.failure.kind == "timeout"
        assert event.failure.timeout == kind
        assert "the worker was lost" in event.failure.message
        assert [attempt for _, attempt in RUNS] == [1, 2, 3]
        await asyncio.sleep(1)
        assert len(await world.letters()) == 1

    play(story)


def test_heartbeat_details_survive_their_worker() -> None:
    seen: list[object] = []

    @activity.defn
    async def counts() -> str:
        details = activity.info().heartbeat_details
        seen.append(list(details))
        for number in range(details[0] if details else 0, 20):
            activity.heartbeat(number)
            await asyncio.sleep(1)
        return "counted"

    async def story(world: World) -> None:
        first = await world.worker(counts)
        await world.offer("counts", heartbeat=5 * SECOND)
        await asyncio.sleep(12.5)
        await world.crash(first)
        await world.worker(counts)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 2
        # Written every four seconds, each time what was newest before.
        assert seen == [[], [11]]

    play(story)


def test_beats_are_throttled_and_the_newest_is_written() -> None:
    @activity.defn
    async def chatty() -> None:
        for number in range(50):
            activity.heartbeat(number)
        await asyncio.sleep(0.5)
        for number in range(50, 100):
            activity.heartbeat(number)
        await asyncio.sleep(20)

    async def story(world: World) -> None:
        await world.worker(chatty)
        task = await world.offer("chatty", heartbeat=20 * SECOND, start_to_close=30 * SECOND)
        await asyncio.sleep(1)
        newest = await world.backend.heartbeats.last(world.key(task))
        assert newest is not None
        assert msgspec.json.decode(newest)["details"] == [49]
        await asyncio.sleep(16)
        newest = await world.backend.heartbeats.last(world.key(task))
        assert newest is not None
        assert msgspec.json.decode(newest)["details"] == [99]

    play(story)


def test_a_finished_activity_does_not_run_again_when_its_task_comes_again() -> None:
    """The worker dies between the outcome's acknowledgement and the task's."""

    async def story(world: World) -> None:
        first = await world.worker(slow)
        task = await world.offer("slow", 60)
        await asyncio.sleep(1)
        await world.crash(first)
        await world.backend.log.append(ADDRESS, Lane.ENGINE, completed())
        await world.worker(slow)
        await asyncio.sleep(120)
        assert len(RUNS) == 1
        assert len(await world.events()) == 1
        assert await world.queue_is_empty(task)

    play(story)


@pytest.mark.parametrize("why", ["again", "late"])
def test_a_task_published_again_or_late_is_verified(why: str) -> None:
    async def story(world: World) -> None:
        await world.backend.log.append(ADDRESS, Lane.ENGINE, completed())
        await asyncio.sleep(100)
        now = world.backend.clock.now()
        changes = {"again": True} if why == "again" else {"cause_at": now - 31 * SECOND}
        task = await world.offer("slow", **changes)
        await world.worker(slow)
        await asyncio.sleep(120)
        assert RUNS == []
        assert await world.queue_is_empty(task)

    play(story)


def test_a_verified_task_that_still_counts_runs() -> None:
    async def story(world: World) -> None:
        await world.offer("slow", 1, again=True)
        await world.worker(slow)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 1

    play(story)


def test_a_task_of_a_closed_run_is_dropped() -> None:
    async def story(world: World) -> None:
        await world.close_run()
        task = await world.offer("slow", again=True)
        await world.worker(slow)
        await asyncio.sleep(5)
        assert RUNS == []
        assert await world.events() == []
        assert await world.queue_is_empty(task)

    play(story)


def test_a_task_that_a_crashed_store_offers_as_if_it_were_new_is_not_run_again() -> None:
    async def story(world: World) -> None:
        task = await world.offer("slow", 1)
        await world.backend.log.append(ADDRESS, Lane.ENGINE, completed())
        # Its acknowledgement, and that it was ever offered, went with the store's last moments.
        await world.worker(slow)
        while not await world.queue_is_empty(task):
            await asyncio.sleep(0.05)
        assert RUNS == []
        assert len(await world.events()) == 1

    play(story)


def test_outcomes_of_others_do_not_count() -> None:
    async def story(world: World) -> None:
        for run, n in (("run-0", 1), (RUN, 2)):
            event = ActivityCompleted(run=run, n=n, attempt=1, activity_type="slow")
            await world.backend.log.append(ADDRESS, Lane.ENGINE, encode_event(event))
        await world.offer("slow", 1, again=True)
        await world.worker(slow)
        await world.outcome(count=3)
        assert len(RUNS) == 1

    play(story)


def test_a_worker_that_missed_its_lease_stops_and_says_nothing() -> None:
    ended: list[str] = []

    @activity.defn
    async def long() -> str:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return "done"

    async def story(world: World) -> None:
        worker = await world.worker(long)
        await world.offer("long")
        await asyncio.sleep(1)
        (held,) = worker._leases
        held.extended_at -= 20
        await asyncio.sleep(5)
        assert ended == ["cancelled"]
        assert worker.running == 0
        assert await world.events() == []

    play(story)


def test_a_replaced_attempt_stops_at_a_lease_round() -> None:
    async def story(world: World) -> None:
        worker = await world.worker(slow)
        task = await world.offer("slow", 300)
        await asyncio.sleep(7)
        current = await world.backend.tasks.current(world.key(task))
        assert current is not None
        other = msgspec.structs.replace(task, attempt=2, delay=30 * SECOND)
        await world.backend.tasks.replace(world.key(task), encode_task(other), seq=current.seq)
        await asyncio.sleep(8)
        assert worker.running == 0
        assert await world.events() == []
        assert (await world.current(task)).attempt == 2

    play(story)


def test_a_redelivery_of_what_is_in_hand_starts_nothing() -> None:
    async def story(world: World) -> None:
        worker = await world.worker(slow)
        await world.offer("slow", 5)
        await asyncio.sleep(1)
        (held,) = worker._leases
        worker._on_delivery(held.delivery)
        await world.outcome()
        assert len(RUNS) == 1

    play(story)


def test_two_attempts_of_one_activity_never_run_at_once_in_a_worker() -> None:
    running: list[int] = []
    most: list[int] = []

    @activity.defn
    async def slow_to_end() -> int:
        running.append(activity.info().attempt)
        most.append(len(running))
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0.5)
            running.remove(activity.info().attempt)
        return activity.info().attempt

    async def story(world: World) -> None:
        await world.worker(slow_to_end)
        task = await world.offer("slow_to_end")
        await asyncio.sleep(1)
        current = await world.backend.tasks.current(world.key(task))
        assert current is not None
        second = encode_task(msgspec.structs.replace(task, attempt=2))
        await world.backend.tasks.replace(world.key(task), second, seq=current.seq)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 2
        assert most == [1, 1]

    play(story)
