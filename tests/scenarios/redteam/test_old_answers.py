"""A replicated store whose leader was cut off, and does not know of it, answers from what it had."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from support.redteam import Collector, in_log, until
from support.world import world

from perdure.core.durations import SECOND
from perdure.core.events import WorkflowSignaled, encode_event
from perdure.core.ids import SLOTS
from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend
from perdure.ports.log import Delivery
from perdure.ports.state import StateStore
from perdure.testing.virtual_time import run

HERE = Address("default", "old")


class Old:
    """STATE as it was before anything was written, until it is ``healed``."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self.healed = False
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    async def read(self, workflow_id: str) -> tuple[bytes, int] | None:
        self.asked += 1
        return await self._state.read(workflow_id) if self.healed else None


def test_what_came_just_now_is_not_let_go_by_an_old_answer() -> None:
    async def main() -> None:
        async with world([Collector], [], serve=False) as w:
            # Another owner has the start: whoever gets the signal looks at STATE.
            taken: list[Delivery] = []
            partition = HERE.slot * w.client.partitions // SLOTS
            elsewhere = await w.client.inbox.open("default", partition, taken.append, credit=1)
            await w.start("Collector", 1, id=HERE.workflow_id)
            await until(lambda: bool(taken), 60)
            await elsewhere.close()
            await w.signal(HERE.workflow_id, "post", "here")
            seen: list[Old] = []

            def behind(backend: Backend) -> Backend:
                seen.append(Old(backend.state))
                return replace(backend, state=seen[0], unsure=30 * SECOND)

            await w.add_scheduler(wrap=behind)
            await until(lambda: seen[0].asked > 0, 60)
            await asyncio.sleep(1)
            seen[0].healed = True
            taken[0].nak()
            assert await w.result(HERE.workflow_id, timeout=600) == ["here"]

    run(main())


def test_what_nobody_takes_is_let_go_when_answers_are_sure() -> None:
    async def main() -> None:
        async with world([Collector], [], serve=False) as w:
            await w.add_scheduler(wrap=lambda backend: replace(backend, unsure=30 * SECOND))
            stray = encode_event(WorkflowSignaled(eid="1", name="post", args=[]))
            await w.client.log.append(HERE, Lane.EXTERNAL, stray)
            await asyncio.sleep(20)
            assert in_log(w.store, HERE.workflow_id)
            await until(lambda: not in_log(w.store, HERE.workflow_id), 60)

    run(main())
