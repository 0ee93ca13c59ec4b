"""Those who only look: queries, descriptions, histories, results, and an operator's rounds.

What they are shown is kept, and judged when everything is known.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from support.storm.process import Process
from support.storm.stories import Senders, Story

from perdure.client import Client
from perdure.core.errors import WorkflowFailureError, WorkflowNotFoundError
from perdure.exceptions import WorkflowQueryFailedError
from perdure.ports.backend import Backend


@dataclass
class Sight:
    """Something that was shown of a run: ``what`` is answer, description, history or result."""

    run: str
    what: str
    shown: Any
    expected: Any = None


async def look(senders: Senders, story: Story, client: Process, draws: random.Random) -> None:
    """One look at the story's run."""
    looks = {"query": _query, "describe": _describe, "history": _history}
    sight = looks[draws.choice(sorted(looks))]
    mine = [letter for letter in story.letters if letter.accepted and letter.run == story.run]
    newest = max(mine, key=lambda letter: letter.seq, default=None)
    expected = ([newest.number] if newest and newest.proper else [], newest.seq if newest else 0)

    async def act(backend: Backend, _: bool) -> Sight | None:
        return await sight(Client.from_backend(backend), story, expected)

    try:
        shown = await senders.insist(client, act)
    except (WorkflowNotFoundError, WorkflowQueryFailedError):
        return
    if shown is not None:
        story.sights.append(shown)


async def _query(client: Client, story: Story, expected: Any) -> Sight | None:
    letters, after = expected
    if not story.traits.letters:
        return None
    client.newest(story.workflow_id, after)
    handle = client.get_workflow_handle(story.workflow_id, run_id=story.run)
    return Sight(story.run, "answer", await handle.query("so_far"), letters)


async def _describe(client: Client, story: Story, _: Any) -> Sight:
    handle = client.get_workflow_handle(story.workflow_id, run_id=story.run)
    return Sight(story.run, "description", await handle.describe())


async def _history(client: Client, story: Story, _: Any) -> Sight:
    handle = client.get_workflow_handle(story.workflow_id, run_id=story.run)
    return Sight(story.run, "history", await handle.fetch_history())


async def wait_for_result(senders: Senders, story: Story, client: Process, patience: float) -> bool:
    """Wait for the end; whether it came in time."""

    async def act(backend: Backend, _: bool) -> Sight:
        handle = Client.from_backend(backend).get_workflow_handle(
            story.workflow_id, run_id=story.run
        )
        try:
            return Sight(story.run, "result", await handle.result(timeout=patience))
        except WorkflowFailureError as error:
            return Sight(story.run, "result", error)

    try:
        story.sights.append(await senders.insist(client, act))
    except (TimeoutError, WorkflowNotFoundError):
        return False
    return True


async def rounds(senders: Senders, client: Process, draws: random.Random) -> None:
    """An operator looks after the deployment, until cancelled."""
    queues = senders.one.shape.queues

    async def inspect(backend: Backend, _: bool) -> None:
        ids = [data async for data, _ in backend.state.scan()]
        letters = [letter async for letter in backend.dead_letters.scan()]
        if letters and draws.random() < 0.5:
            await backend.dead_letters.remove(letters[0].seq)
        await backend.tasks.backlog(draws.choice(queues))
        await backend.ingress.settled()
        await backend.archive.runs(f"id-{draws.randrange(1 + len(ids))}")
        await backend.capacity.usage()

    while True:
        await asyncio.sleep(draws.uniform(5, 40))
        await senders.insist(client, inspect)


__all__ = ["Sight", "look", "rounds", "wait_for_result"]
