"""kill -9 of each process right after each event of a workflow's history.

By default a sample of the places, drawn with a seed that is printed; PERDURE_TEST_ALL=1 kills at
every one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from itertools import batched
from pathlib import Path
from typing import Any, Final, Literal

import nats
import pytest
from nats.errors import Error as NatsError
from support.deployments import Deployment, deployment
from support.nats_server import RunningServer, running_server
from support.watching import Rows, history_when, insist, types

from perdure.client import Client

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

Victim = Literal["scheduler", "worker", "gateway", "nats-server"]

EVERY: Final = bool(os.environ.get("PERDURE_TEST_ALL"))
SEED: Final = int(os.environ.get("PERDURE_TEST_SEED", random.randrange(1_000_000)))
AT_ONCE: Final = 6
"""Deployments side by side."""

KINDS: Final[dict[Victim, tuple[str, ...]]] = {
    "scheduler": ("plain", "undone"),
    "worker": ("plain", "undone"),
    "gateway": ("plain",),
    "nats-server": ("plain",),
}
SAMPLE: Final[dict[Victim, int]] = {"scheduler": 2, "worker": 2, "gateway": 1, "nats-server": 1}
LIFE: Final = {
    "plain": [
        "workflow_started",
        "schedule_activity",
        "activity_completed",
        "schedule_activity",
        "activity_completed",
        "start_timer",
        "timer_fired",
        "workflow_signaled",
        "schedule_activity",
        "activity_completed",
        "complete_workflow",
    ],
    "undone": [
        "workflow_started",
        "schedule_activity",
        "activity_completed",
        "schedule_activity",
        "activity_completed",
        "start_timer",
        "timer_fired",
        "workflow_signaled",
        "schedule_activity",
        "activity_failed",
        "schedule_activity",
        "activity_completed",
        "schedule_activity",
        "activity_completed",
        "complete_workflow",
    ],
}
RESULT: Final = {
    "plain": ["book", "pack", "anna", "leave"],
    "undone": ["book", "pack", "anna", "Refused", "unpack", "unbook"],
}
EFFECTS: Final = {
    "plain": ["book 1", "pack 1", "pack 2", "pack 3", "leave 1"],
    "undone": ["book 1", "pack 1", "pack 2", "pack 3", "leave 1", "unpack 1", "unbook 1"],
}
FIRST_FAILURE: Final = "during the backoff"


Case = tuple[Victim, str, int | str]


def every_case(victim: Victim) -> list[Case]:
    """After which rows of which history to kill, and in the middle of the retry's backoff."""
    return [
        (victim, kind, place)
        for kind in KINDS[victim]
        for place in (*range(1, len(LIFE[kind]) + 1), FIRST_FAILURE)
    ]


def batches() -> list[tuple[Case, ...]]:
    """What each test does side by side."""
    if EVERY:
        return [batch for victim in KINDS for batch in batched(every_case(victim), AT_ONCE)]
    chance = random.Random(SEED)
    chosen = [case for victim, n in SAMPLE.items() for case in chance.sample(every_case(victim), n)]
    return list(batched(chosen, AT_ONCE))


@pytest.mark.parametrize("batch", batches(), ids=lambda batch: f"{batch[0][0]}-{batch[0][2]}")
async def test_killed_anywhere(tmp_path: Path, batch: tuple[Case, ...]) -> None:
    print(f"PERDURE_TEST_SEED={SEED}: {batch}")
    async with asyncio.TaskGroup() as group:
        for case in batch:
            folder = tmp_path / "-".join(map(str, case)).replace(" ", "-")
            group.create_task(_one_life(folder, *case))


async def _one_life(folder: Path, victim: Victim, kind: str, place: int | str) -> None:
    with running_server(folder) as server:
        async with deployment(folder, server.url) as deployed:
            await deployed.start_all()
            async with await Client.connect(server.url) as client:
                killing = asyncio.create_task(_kill(deployed, server, client, kind, victim, place))
                await _publish(server.url, f"start.Journey.{kind}", {"args": [kind]})
                rows = await history_when(client, kind, lambda rows: "timer_fired" in types(rows))
                await _publish(server.url, f"signal.{kind}.approve", "anna")
                rows = await history_when(client, kind, lambda rows: bool(rows[-1].get("closes")))
                await killing
                result = await insist(lambda: client.get_workflow_handle(kind).result(30))
                assert result == RESULT[kind], f"killed at {place}"
                assert types(rows) == LIFE[kind], f"killed at {place}"
                judge(deployed.effects(), kind, victim, place, rows)


def judge(effects: list[str], kind: str, victim: Victim, place: int | str, rows: Rows) -> None:
    """Each activity once; only what a killed worker had in hand may have been done twice."""
    done = [line.removeprefix(f"{kind} ") for line in effects]
    if victim != "worker":
        assert done == EFFECTS[kind], f"{victim} killed at {place}: {done}"
        return
    wanted = Counter(line.split()[0] for line in EFFECTS[kind])
    found = Counter(line.split()[0] for line in done)
    more, less = found - wanted, wanted - found
    in_flight = _in_flight(place, rows)
    assert set(more) <= in_flight and sum(more.values()) <= 1, f"killed at {place}: {done}"
    # The attempt that died counts: an activity that fails twice has one failure behind it.
    assert set(less) <= in_flight & {"pack"} and sum(less.values()) <= 1, f"at {place}: {done}"


def _in_flight(place: int | str, rows: Rows) -> set[str]:
    """What the worker could have had in hand when row ``place`` was there, or just after it."""
    if place == FIRST_FAILURE:
        return {"pack"}
    assert isinstance(place, int)
    names = ["book", "pack", "leave", "unpack", "unbook"]
    scheduled = [row for row in rows[: place + 2] if row["type"] == "schedule_activity"]
    return {names[len(scheduled) - 1]} if scheduled else set()


async def _kill(
    deployed: Deployment,
    server: RunningServer,
    client: Client,
    kind: str,
    victim: Victim,
    place: int | str,
) -> None:
    """At its place, and start it again."""
    if isinstance(place, int):
        await history_when(client, kind, lambda rows: len(rows) >= place)
    else:
        await deployed.did(f"{kind} pack 1")
    if victim == "nats-server":
        server.kill()
        server.start()
        return
    process = next(p for p in deployed.processes if p.kind == victim)
    process.kill()
    await deployed.restart(process)


async def _publish(url: str, subject: str, body: Any) -> None:
    """As any program would: again until JetStream's acknowledgement is there."""
    outsider = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    try:
        headers = {"Nats-Msg-Id": subject}
        async with asyncio.timeout(60):
            while True:
                try:
                    await outsider.jetstream().publish(
                        f"perdure.default.{subject}", json.dumps(body).encode(), headers=headers
                    )
                    return
                except (NatsError, OSError):
                    await asyncio.sleep(0.1)
    finally:
        await outsider.close()
