"""One storm: a seed's deployment, its stories told twice on the same ids, and the judgement."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from support.storm.activities_judge import judge_activities
from support.storm.deployment import GRACE, Deployment
from support.storm.judge import judge_run
from support.storm.leftovers_judge import judge_leftovers, stuck
from support.storm.lookers import look, rounds, wait_for_result
from support.storm.loop import run_storm
from support.storm.process import Process
from support.storm.promises import Broken
from support.storm.senders_judge import judge_senders
from support.storm.state_judge import judge_announcements, judge_state
from support.storm.stories import KINDS, Senders, Story
from support.storm.trace import Trace

from perdure.adapters.memory import server
from perdure.authoring.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.core import ids
from perdure.core.durations import SECOND
from perdure.core.events import WorkflowTerminateRequested
from perdure.engine.scheduler import scheduler
from perdure.testing.fault_plan import FaultPlan

_PATIENCE = (600, 2_400)
"""Seconds until the storm is ended, and until those that are still open count as stuck."""
_SLOTS = 8


@dataclass
class Scene:
    """A storm under way."""

    one: Deployment
    senders: Senders
    stories: list[Story]

    def client(self, draws: random.Random) -> Process:
        return draws.choice(self.one.clients)


def storm(seed: int, *, level: float = 1.0, trace: Trace | None = None) -> FaultPlan:
    """Run one seed to its end; raises Broken for a broken promise."""
    with _few_slots():
        return run_storm(_storm(seed, level, trace))


@contextmanager
def _few_slots() -> Generator[None]:
    """A few slots instead of all: a scheduler opens two subscriptions for each, which is most of what
    a storm would do."""
    with ExitStack() as stack:
        for module in (ids, scheduler, server):
            stack.enter_context(patch.object(module, "SLOTS", _SLOTS))
        yield


async def _storm(seed: int, level: float, trace: Trace | None) -> FaultPlan:
    one = Deployment(seed, level, trace)
    scene = Scene(one, Senders(one), [])
    one.begin()
    background = [
        asyncio.create_task(one.weather()),
        asyncio.create_task(rounds(scene.senders, one.clients[0], random.Random(seed + 2))),
    ]
    try:
        for turn in range(one.draws.choice((1, 2, 2))):
            await _turn(scene, turn, background)
        for task in background:
            task.cancel()
        one.calm()
        await _settled(scene)
        await judge_leftovers(one.world, grace=GRACE / SECOND, forgotten=one.deaths)
    finally:
        for task in background:
            task.cancel()
        one.calm()
        await one.end()
    await _judge(scene)
    return one.plan


async def _turn(scene: Scene, turn: int, background: list[asyncio.Task[None]]) -> None:
    one = scene.one
    stories = [_new_story(one, number, turn) for number in range(one.draws.randint(3, 6))]
    rivals = [_rival(one, story) for story in stories if one.draws.random() < 0.25]
    scene.stories += stories + rivals
    lives = [asyncio.create_task(_tell(scene, story)) for story in stories + rivals]
    await _guarded(scene, lives, background)
    await _all_closed(scene, [story.workflow_id for story in stories], background)


async def _guarded(
    scene: Scene, lives: list[asyncio.Task[None]], background: list[asyncio.Task[None]]
) -> None:
    """Everybody says what they have to say; in calm weather if it takes too long."""
    done, late = await asyncio.wait(lives, timeout=_PATIENCE[0])
    if late:
        background[0].cancel()
        scene.one.calm()
        more, late = await asyncio.wait(late, timeout=_PATIENCE[1])
        done |= more
    for task in done:
        task.result()
    if late:
        ids = sorted({story.workflow_id for story in scene.stories})
        raise await stuck(scene.one.world, ids)


async def _all_closed(scene: Scene, ids: list[str], background: list[asyncio.Task[None]]) -> None:
    for patience in _PATIENCE:
        try:
            async with asyncio.timeout(patience):
                for workflow_id in ids:
                    await scene.one.world.closed(workflow_id)
            return
        except TimeoutError:
            # Too much weather to get anything done is no fault; silence afterwards is one.
            background[0].cancel()
            scene.one.calm()
    raise await stuck(scene.one.world, ids)


async def _settled(scene: Scene) -> None:
    """Every request at the front door has its outcome."""
    server = scene.one.world.store._server
    try:
        async with asyncio.timeout(_PATIENCE[1]):
            while server.door.settled < server.requests.last:
                await asyncio.sleep(1)
    except TimeoutError:
        raise Broken(f"the front door stands still at {server.door.settled}") from None


# One story


def _new_story(one: Deployment, number: int, turn: int) -> Story:
    kinds = sorted(KINDS if one.shape.two_builds else KINDS.keys() - {"Stranger", "Turncoat"})
    queue = one.draws.choice(one.shape.queues)
    return Story(one.draws.choice(kinds), f"id-{number}", queue, f"id-{number}:{turn}")


def _rival(one: Deployment, story: Story) -> Story:
    """Another start on the same id, at about the same time."""
    conflict = one.draws.choice(list(WorkflowIDConflictPolicy))
    reuse = one.draws.choice(
        (
            WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
    )
    if conflict is WorkflowIDConflictPolicy.TERMINATE_EXISTING:
        reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    return Story(
        "Brief", story.workflow_id, story.queue, f"{story.request_id}:rival", reuse, conflict
    )


async def _tell(scene: Scene, story: Story) -> None:
    draws = random.Random(f"{scene.one.seed}:{story.request_id}")
    client = scene.client(draws)
    await asyncio.sleep(draws.random() * (12 if story.request_id.endswith("rival") else 3))
    if not await scene.senders.begin(story, client, draws):
        return
    async with asyncio.TaskGroup() as group:
        group.create_task(_look_now_and_then(scene, story, client, draws))
        await _act(scene, story, client, draws)


async def _act(scene: Scene, story: Story, client: Process, draws: random.Random) -> None:
    senders, traits = scene.senders, story.traits
    async with asyncio.TaskGroup() as group:
        for number in range(traits.letters + draws.randint(0, traits.extra)):
            await asyncio.sleep(draws.choice((0.0, 0.0, 0.01, 0.1, 2.0)))
            group.create_task(senders.letter(story, number, scene.client(draws), draws))
        if draws.random() < 0.1:
            await senders.append(story, b"no event at all")
    if traits.cancelled:
        await asyncio.sleep(draws.random() * 10)
        if draws.random() < 0.3 and not _has_rival(scene, story):
            story.events.append(await senders.put("cancel", (story.workflow_id,), b""))
        else:
            await senders.cancel(story, client, draws)
    if traits.terminated:
        await asyncio.sleep(draws.random() * 10)
        await _terminate(scene, story, client, draws)
    if traits.given_up and not await wait_for_result(senders, story, client, traits.given_up):
        await _terminate(scene, story, client, draws)
    elif draws.random() < 0.3:
        await wait_for_result(senders, story, client, 300)


def _has_rival(scene: Scene, story: Story) -> bool:
    return any(
        other.workflow_id == story.workflow_id and other.request_id != story.request_id
        for other in scene.stories
    )


async def _terminate(scene: Scene, story: Story, client: Process, draws: random.Random) -> None:
    event = WorkflowTerminateRequested(eid=f"{story.request_id}:terminate", run=story.run)
    await scene.senders.send(story, event, client, draws)


async def _look_now_and_then(
    scene: Scene, story: Story, client: Process, draws: random.Random
) -> None:
    for _ in range(draws.choice((0, 0, 1, 3))):
        await asyncio.sleep(draws.uniform(0, 8))
        await look(scene.senders, story, client, draws)


async def _judge(scene: Scene) -> None:
    one = scene.one
    histories = {
        (workflow_id, run): await judge_run(one, workflow_id, run, data)
        for workflow_id, runs in one.world.store._server.archive.items()
        for run, data in runs.items()
    }
    judge_state(one, histories)
    judge_announcements(one, histories)
    judge_senders(one, scene.stories, histories)
    judge_activities(one, histories)


__all__ = ["Scene", "storm"]
