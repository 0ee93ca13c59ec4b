"""What goes wrong with a cluster, again and again until the time is over, and heals each time.

One node is away at a time. Another one goes only when the cluster is whole again; until then the
same goes again, for what a node missed can take it a minute under load.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from support.cluster import Cluster, Node, Operator

LOG: Final = "PERDURE_default_LOG"
_BREATH: Final = 2.0
_PATIENCE: Final = 12.0


@dataclass
class Stage:
    """A cluster for a fault to play on. ``away`` is for how many seconds a node is gone at a time."""

    cluster: Cluster
    operator: Operator
    until: float
    """When the last fault must have healed, in loop time."""
    away: float
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter[str])

    @property
    def left(self) -> float:
        return self.until - asyncio.get_running_loop().time()


async def step_down(stage: Stage) -> None:
    """Every leader gives way: of each stream, each consumer, and of all."""
    while stage.left > _BREATH:
        streams = [str(one["config"]["name"]) for one in await stage.operator.streams()]
        stage.chance.shuffle(streams)
        for stream in streams:
            stage.done["streams"] += await stage.operator.step_down(stream)
            for consumer in await stage.operator.consumers(stream):
                done = await stage.operator.step_down(stream, str(consumer["name"]))
                stage.done["consumers"] += done
        stage.done["meta"] += await stage.operator.step_down_meta()
        await asyncio.sleep(stage.chance.uniform(0.2, _BREATH))


async def kill(stage: Stage) -> None:
    """Each node in turn dies and comes back with its store."""

    async def begin(node: Node) -> None:
        node.kill()

    async def end(node: Node) -> None:
        await asyncio.to_thread(node.start)

    await _in_turn(stage, begin, end)


async def pause(stage: Stage) -> None:
    """Each node in turn stands still: it keeps its connections, and does not know of the time."""

    async def begin(node: Node) -> None:
        node.pause()

    async def end(node: Node) -> None:
        node.resume()

    await _in_turn(stage, begin, end)


async def cut(stage: Stage) -> None:
    """The node that leads LOG is cut off: from its peers alone, so that its clients stay with it, and
    then from its clients as well."""
    alone = False
    node: Node | None = None
    while stage.left > stage.away + _BREATH:
        if node is None:
            node = stage.cluster.named(await stage.operator.leader_of(LOG))
        cable = node.cable
        assert cable is not None, "nodes have cables when they stand apart"
        cable.pull(clients=alone)
        try:
            await asyncio.sleep(stage.away)
        finally:
            cable.plug()
        stage.done["alone" if alone else "with its clients"] += 1
        alone = not alone
        if await _is_whole_again(stage):
            node = None


async def _in_turn(
    stage: Stage,
    begin: Callable[[Node], Awaitable[None]],
    end: Callable[[Node], Awaitable[None]],
) -> None:
    rounds = stage.cluster.rounds(stage.chance.randrange(len(stage.cluster.nodes)))
    node = next(rounds)
    while stage.left > stage.away + _BREATH:
        await begin(node)
        try:
            await asyncio.sleep(stage.away)
        finally:
            await end(node)
        stage.done[node.name] += 1
        if await _is_whole_again(stage):
            node = next(rounds)


async def _is_whole_again(stage: Stage) -> bool:
    await asyncio.sleep(stage.chance.uniform(0.5, _BREATH))
    end = min(_PATIENCE, stage.left)
    try:
        await stage.operator.settled(seconds=end)
    except AssertionError:
        return False
    return True


@dataclass(frozen=True)
class Fault:
    """``away`` is for how many seconds a node is gone at a time, ``briefly`` in a short run;
    ``blind`` for how many a worker may not see what another one did."""

    play: Callable[[Stage], Coroutine[Any, Any, None]]
    away: float = 0.0
    briefly: float = 0.0
    blind: float = 5.0
    needs_network: bool = False


FAULTS: Final[dict[str, Fault]] = {
    "step_down": Fault(step_down),
    "kill": Fault(kill, away=8, briefly=4),
    # Long enough for an election, and for clients to miss three answers to their pings. A leader that
    # stood still, or is cut off, answers reads from what it had until it hears of the new one.
    "pause": Fault(pause, away=18, briefly=7, blind=25),
    "cut": Fault(cut, away=15, briefly=7, blind=25, needs_network=True),
}
