"""The contract of :class:`perdure.ports.timers.Timers`."""

import asyncio
from typing import Final

from perdure.core.durations import DAY, MILLISECOND, SECOND
from perdure.ports.addresses import Address, Lane, Stored, TimerKey
from perdure.ports.backend import Backend
from perdure.ports.errors import AlreadyExists
from perdure.ports.log import Delivery
from perdure.testing.contracts.support import (
    Seen,
    Stage,
    collect,
    eventually,
    expect,
    expect_equal,
    expect_error,
    fresh_address,
    fresh_timer,
    run_all,
    suite,
)

SOON: Final = 1_500 * MILLISECOND


async def stream_now(backend: Backend, address: Address) -> int:
    """The store's own time, read off a message."""
    seq = await backend.log.append(address, Lane.EXTERNAL, b"what time is it?")
    [stored] = await backend.log.read([seq])
    expect(stored is not None, "an acknowledged append can be read")
    return stored.timestamp if stored else 0


async def fired_events(backend: Backend, address: Address) -> list[Stored]:
    return await backend.log.following(address, Lane.ENGINE, 0)


async def wait_for_events(backend: Backend, address: Address, count: int) -> list[Stored]:
    async def enough() -> bool:
        return len(await fired_events(backend, address)) >= count

    await eventually(enough, f"{count} timer event(s) reach the ENGINE lane")
    return await fired_events(backend, address)


async def fires_by_itself_not_early(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_timer()
    due = await stream_now(backend, key.address) + SOON
    armed = await backend.timers.arm(key, due, b"fired")
    expect(armed > 0, "an armed timer has a handle")
    expect_equal(await fired_events(backend, key.address), [], "a timer doesn't fire when armed")
    [event] = await wait_for_events(backend, key.address, 1)
    expect_equal(event.data, b"fired", "the event is the one given")
    expect(event.timestamp >= due, f"a timer never fires early: {event.timestamp} < {due}")


async def fires_into_the_inbox(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_timer()
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    subscriptions = [
        await backend.inbox.open(key.address.queue, partition, seen, credit=10)
        for partition in range(backend.partitions)
    ]
    due = await stream_now(backend, fresh_address()) + SOON
    await backend.timers.arm(key, due, b"fired")
    delivery = await seen.next("a fired timer is offered by the inbox")
    expect_equal(
        (delivery.address, delivery.lane, delivery.message.data),
        (key.address, Lane.ENGINE, b"fired"),
        "a fired timer is an event of its workflow",
    )
    for subscription in subscriptions:
        await subscription.close()


async def past_due_fires_at_once(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_timer()
    due = await stream_now(backend, key.address) - SECOND
    await backend.timers.arm(key, due, b"late")
    [event] = await wait_for_events(backend, key.address, 1)
    expect_equal(event.data, b"late", "a due time in the past fires at once")


async def armed_key_is_taken(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    key = fresh_timer()
    due = await stream_now(one, key.address) + DAY
    await one.timers.arm(key, due, b"x")
    promise = "arming an armed key is refused"
    await expect_error(AlreadyExists, other.timers.arm(key, due + 1, b"y"), promise)
    await other.timers.arm(TimerKey(key.address, key.run, key.n + 1), due, b"another number")
    await one.timers.cancel(key)
    await other.timers.arm(key, due, b"anew")
    await one.timers.cancel(key)
    await one.timers.cancel(TimerKey(key.address, key.run, key.n + 1))


async def cancelled_does_not_fire(stage: Stage) -> None:
    backend = await stage.connect()
    address = fresh_address()
    cancelled, kept = fresh_timer(address, 1), fresh_timer(address, 2)
    due = await stream_now(backend, address) + SOON
    await backend.timers.arm(cancelled, due, b"cancelled")
    await backend.timers.arm(kept, due + SECOND, b"kept")
    await backend.timers.cancel(cancelled)
    await backend.timers.cancel(cancelled)
    events = await wait_for_events(backend, address, 1)
    expect_equal([e.data for e in events], [b"kept"], "a cancelled timer doesn't fire")
    await backend.timers.cancel(kept)
    events = await fired_events(backend, address)
    expect_equal([e.data for e in events], [b"kept"], "a timer that fired stays fired")


async def fire_appends_and_disarms(stage: Stage) -> None:
    backend = await stage.connect()
    address = fresh_address()
    early, later = fresh_timer(address, 1), fresh_timer(address, 2)
    due = await stream_now(backend, address) + SOON
    armed = await backend.timers.arm(early, due, b"by the store")
    await backend.timers.arm(later, due + SECOND, b"later")
    expect_equal(await backend.timers.fire(early, b"from memory", armed=armed), True, "it fires")
    events = await fired_events(backend, address)
    expect_equal([e.data for e in events], [b"from memory"], "the event given is appended now")
    expect_equal(
        await backend.timers.fire(early, b"twice", armed=armed), False, "it fires only once"
    )
    events = await wait_for_events(backend, address, 2)
    expect_equal([e.data for e in events], [b"from memory", b"later"], "a fired timer is disarmed")


async def fire_needs_the_same_arming(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_timer()
    due = await stream_now(backend, key.address) + DAY
    first = await backend.timers.arm(key, due, b"x")
    await backend.timers.cancel(key)
    fired = await backend.timers.fire(key, b"y", armed=first)
    expect_equal(fired, False, "a cancelled timer can't be fired")
    second = await backend.timers.arm(key, due, b"x")
    expect(second != first, "each arming has a handle of its own")
    fired = await backend.timers.fire(key, b"y", armed=first)
    expect_equal(fired, False, "a timer armed again can't be fired by its old handle")
    expect_equal(await fired_events(backend, key.address), [], "a refused fire has no effect")
    promise = "a refused fire leaves the timer armed"
    await expect_error(AlreadyExists, backend.timers.arm(key, due, b"z"), promise)
    await backend.timers.cancel(key)


async def fires_at_once_from_two(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    key = fresh_timer()
    due = await stream_now(one, key.address) + DAY
    armed = await one.timers.arm(key, due, b"x")
    answers = await asyncio.gather(
        one.timers.fire(key, b"y", armed=armed), other.timers.fire(key, b"y", armed=armed)
    )
    expect_equal(sorted(answers), [False, True], "of two that fire a timer one does")
    events = await fired_events(one, key.address)
    expect_equal(len(events), 1, "a timer fired by two has one event")


async def fired_key_is_free(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_timer()
    now = await stream_now(backend, key.address)
    await backend.timers.arm(key, now + SOON, b"first")
    await wait_for_events(backend, key.address, 1)

    async def armed_anew() -> bool:
        try:
            await backend.timers.arm(key, now + DAY, b"anew")
        except AlreadyExists:
            return False
        return True

    await eventually(armed_anew, "a key whose timer fired can be armed again")
    await backend.timers.cancel(key)


async def overdue_lists_none_that_is_fine(stage: Stage) -> None:
    backend = await stage.connect()
    address = fresh_address()
    fired, waiting = fresh_timer(address, 1), fresh_timer(address, 2)
    now = await stream_now(backend, address)
    await backend.timers.arm(fired, now + SOON, b"fired")
    await backend.timers.arm(waiting, now + DAY, b"waiting")
    await wait_for_events(backend, address, 1)

    async def is_none_of_ours() -> bool:
        found = await collect(backend.timers.overdue(await stream_now(backend, address)))
        expect(waiting not in found, "a timer that isn't due isn't overdue")
        return fired not in found

    await eventually(is_none_of_ours, "a timer that fired isn't overdue")
    found = await collect(backend.timers.overdue(now + 2 * DAY))
    expect(waiting in found, "a timer still armed that was due before the instant is listed")
    await backend.timers.cancel(waiting)


async def rearm_keeps_what_was_armed(stage: Stage) -> None:
    backend = await stage.connect()
    address = fresh_address()
    key, gone = fresh_timer(address, 1), fresh_timer(address, 2)
    due = await stream_now(backend, address) + SOON
    await backend.timers.arm(key, due, b"as it was")
    await backend.timers.rearm(key)
    await backend.timers.rearm(gone)
    [event] = await wait_for_events(backend, address, 1)
    expect_equal(event.data, b"as it was", "a timer armed again fires as it would have")
    expect(event.timestamp >= due, "a timer armed again doesn't fire early")
    later = fresh_timer(address, 3)
    await backend.timers.arm(later, event.timestamp + SOON, b"later")
    events = await wait_for_events(backend, address, 2)
    expect_equal([e.data for e in events], [b"as it was", b"later"], "and it fires once")


async def survives_its_process(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    key = fresh_timer()
    due = await stream_now(one, key.address) + SOON
    armed = await one.timers.arm(key, due, b"x")
    expect_equal(
        await other.timers.fire(key, b"by another", armed=armed), True, "a timer belongs to nobody"
    )


TIMERS = suite(
    fires_by_itself_not_early,
    fires_into_the_inbox,
    past_due_fires_at_once,
    armed_key_is_taken,
    cancelled_does_not_fire,
    fire_appends_and_disarms,
    fire_needs_the_same_arming,
    fires_at_once_from_two,
    fired_key_is_free,
    overdue_lists_none_that_is_fine,
    rearm_keeps_what_was_armed,
    survives_its_process,
)


async def check_timers(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(TIMERS, stage)
