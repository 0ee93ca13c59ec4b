"""What is left in the log: strays, half purges, forgotten starts, stuck timers, ghosts."""

import asyncio
from datetime import timedelta

from support.gates import Gates
from support.redteam import DONE, Collector, Writer, address, alone, in_log, note
from support.world import world

from perdure import workflow
from perdure.core.events import WorkflowSignaled, encode_event
from perdure.core.state import decode_state, encode_state
from perdure.engine.patience import Deadline
from perdure.engine.starts import StartRequest, _reservation
from perdure.ports.addresses import Lane
from perdure.testing.fault_plan import At, FaultPlan
from perdure.testing.faults import Refused
from perdure.testing.virtual_time import run

MINUTE = 60 * 10**9


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self, seconds: float) -> str:
        await workflow.sleep(timedelta(seconds=seconds))
        return "slept"


def _letter(number: int) -> bytes:
    return encode_event(WorkflowSignaled(eid=f"stray:{number}", name="post"))


def test_an_id_whose_purge_stopped_half_way_can_be_used_again() -> None:
    async def main() -> None:
        async with world([Collector], serve=False, purge_grace=60 * MINUTE) as w:
            await w.add_scheduler("a")
            await w.start("Collector", 1, id="same")
            await asyncio.sleep(1)
            await w.signal("same", "post", 1)
            closed = await w.closed("same")
            w.schedulers.pop("a").cancel()
            await asyncio.sleep(1)
            w.store._server.log.purge((address("same"), Lane.EXTERNAL), closed.closed_seq)
            await w.start("Collector", 1, id="same")
            await w.add_scheduler("b")
            await w.signal("same", "post", 2)
            assert await w.result("same", timeout=60) == [2]

    run(main())


def test_strays_of_a_closed_run_leave_the_log() -> None:
    async def main() -> None:
        async with world([Collector], purge_grace=MINUTE) as w:
            await w.start("Collector", 1, id="same")
            await w.signal("same", "post", 1)
            await w.closed("same")
            await asyncio.sleep(5)
            await w.client.log.append(address("same"), Lane.EXTERNAL, _letter(1))
            await asyncio.sleep(100)
            assert in_log(w.store, "same") == []
            await w.client.log.append(address("same"), Lane.EXTERNAL, _letter(2))
            await asyncio.sleep(100)
            assert in_log(w.store, "same") == []

    run(main())


def test_a_stray_on_a_queue_that_the_id_left_is_let_go() -> None:
    async def main() -> None:
        async with world([Collector], purge_grace=MINUTE) as w:
            await w.add_scheduler("other", task_queue="other")
            await w.start("Collector", 1, id="same")
            await w.signal("same", "post", 1)
            await w.closed("same")
            await w.start("Collector", 2, id="same", task_queue="other")
            await w.signal("same", "post", 2)
            await w.client.log.append(address("same"), Lane.EXTERNAL, _letter(1))
            await asyncio.sleep(200)
            stale = [m for m in w.store._server.log.messages() if m.subject[0].queue == "default"]
            assert stale == []
            inbox = w.store._server.inbox("default", w.store._server.partition_of(address("same")))
            assert not inbox._leases
            await w.signal("same", "post", 3)
            assert await w.result("same", timeout=30) == [2, 3]

    run(main())


def test_a_start_that_was_held_beyond_the_grace_begins_no_ghost() -> None:
    async def main() -> None:
        DONE.clear()
        async with world([Writer], [note], serve=False, purge_grace=MINUTE) as w:
            gates = Gates()
            await w.add_scheduler("zombie", wrap=lambda b: gates.wrap(alone(b)))
            await w.add_worker()
            await asyncio.sleep(1)
            gates.freeze()
            await w.start("Clerk", 1, id="same")
            await asyncio.sleep(1)
            await w.add_scheduler("b", wrap=alone)
            await w.signal("same", "post", 1)
            await w.closed("same")
            await asyncio.sleep(200)
            assert in_log(w.store, "same") == []
            gates.lose(after=1)
            gates.thaw()
            await asyncio.sleep(100)
            assert DONE == ["written"]
            assert in_log(w.store, "same") == []

    run(main())


def test_a_first_record_that_was_long_on_its_way_begins_no_ghost() -> None:
    async def main() -> None:
        DONE.clear()
        async with world([Writer], [note], serve=False, purge_grace=MINUTE) as w:
            gates = Gates()
            await w.add_scheduler("zombie", wrap=lambda b: gates.wrap(alone(b)))
            await w.add_worker()
            await asyncio.sleep(1)
            # The slow way begins with a look at the log, and it stands still right there.
            look = gates.hold("state.read", after=True)
            gates.freeze()
            await w.start("Clerk", 1, id="same")
            await asyncio.sleep(40)
            gates.thaw()
            await look.reached.wait()
            gates.freeze()
            await w.add_scheduler("b", wrap=alone)
            await w.signal("same", "post", 1)
            await w.closed("same", timeout=120)
            await asyncio.sleep(200)
            assert in_log(w.store, "same") == []
            gates.thaw()
            look.release()
            await asyncio.sleep(100)
            assert DONE == ["written"]
            assert in_log(w.store, "same") == []

    run(main())


def test_an_abandoned_start_on_a_used_id_is_finished_by_the_sweep() -> None:
    async def main() -> None:
        async with world([Collector], serve=False, purge_grace=60 * MINUTE) as w:
            await w.add_scheduler("a")
            await w.start("Collector", 1, id="same")
            await w.signal("same", "post", 1)
            await w.closed("same")
            # A client that reserves the id again, and dies.
            request = StartRequest(
                workflow_id="same",
                workflow_type="Collector",
                args=[w.converter.to_payload(0)],
                request_id="abandoned",
                requested_at=w.client.clock.now(),
            )
            entry, _ = await _reservation(w.client, request, Deadline(10, "start"))
            found = await w.client.state.read("same")
            assert found is not None
            await w.client.state.update("same", encode_state(entry), revision=found[1])
            await asyncio.sleep(10)
            await w.add_scheduler("b", wrap=alone)
            async with asyncio.timeout(60):
                while True:
                    found = await w.client.state.read("same")
                    assert found is not None
                    now = decode_state(found[0])
                    if now.run == request.run and not now.is_open:
                        break
                    await asyncio.sleep(1)

    run(main())


def test_timers_stuck_by_a_full_store_are_free_soon_after() -> None:
    async def main() -> None:
        async with world([Sleeper, Collector]) as w:
            sleeper = await w.start("Sleeper", 20.0)
            collector = await w.start("Collector", 2)
            await asyncio.sleep(10)
            seq = await w.signal(collector, "post", 1)
            assert seq
            w.store.full = True
            await asyncio.sleep(60)
            w.store.full = False
            assert await w.result(sleeper, timeout=300) == "slept"

    run(main())


def test_a_shutdown_ends_while_the_store_refuses() -> None:
    async def main() -> None:
        async with world([Writer], [note], serve=False) as w:
            plan = FaultPlan(rates={Refused(): 1.0}, only=["tasks"])
            await w.add_scheduler("a", wrap=plan.wrap)
            await w.start("Clerk", 1)
            await asyncio.sleep(5)
            task = w.schedulers.pop("a")
            task.cancel()
            async with asyncio.timeout(30):
                await asyncio.gather(task, return_exceptions=True)

    run(main())


def test_a_partition_that_could_not_be_taken_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            plan = FaultPlan(7, rates={Refused(): 0.05}, only=["messages.answer"])
            await w.add_scheduler("steady")
            await asyncio.sleep(1)
            await w.add_scheduler("a", wrap=plan.wrap)
            await asyncio.sleep(60)
            plan.calm()
            await asyncio.sleep(30)
            asked = w.store._server.asked
            listeners = [len(found) for found in asked._listeners.values()]
            assert set(listeners) == {1}

    run(main())


def test_a_letter_from_before_the_start_is_of_no_concern_to_the_run() -> None:
    """Held by an owner that stood still, it outlives the purge of the run that took it."""

    async def main() -> None:
        async with world([Collector], serve=False) as w:
            event = WorkflowSignaled(eid="old", name="post", args=[w.converter.to_payload("old")])
            await w.client.log.append(address("same"), Lane.EXTERNAL, encode_event(event))
            await w.start("Collector", 1, id="same")
            await w.add_scheduler()
            await asyncio.sleep(1)
            await w.signal("same", "post", "new")
            assert await w.result("same", timeout=60) == ["new"]

    run(main())


@workflow.defn
class Busy:
    """Has an activity and a timer under way."""

    @workflow.run
    async def run(self) -> None:
        work = workflow.execute_activity(note, "x", start_to_close_timeout=timedelta(hours=1))
        await asyncio.gather(work, workflow.sleep(timedelta(days=1)))


def test_effects_that_failed_in_part_leave_nothing_of_a_run_that_is_over() -> None:
    async def main() -> None:
        async with world([Busy], [note], serve=False) as w:
            await w.add_scheduler("a", wrap=alone)
            busy = await w.start("Busy")
            await asyncio.sleep(5)
            gates = Gates()
            plan = FaultPlan(at=[At("tasks.offer", 1, Refused(full=True))])
            armed = gates.hold("timers.arm")
            await w.add_scheduler("b", wrap=lambda b: gates.wrap(plan.wrap(alone(b))))
            asking = asyncio.create_task(w.scheduler_objects["b"].lane_of(address(busy)).bring_in())
            await armed.reached.wait()
            await w.terminate(busy)
            await w.closed(busy, timeout=60)
            armed.release()
            await asking
            await asyncio.sleep(60)
            assert not w.store._server.timers

    run(main())
