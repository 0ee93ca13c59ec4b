"""Many workflows at once through the front door, and what must have come of each at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from support.crash_judge import Death, judge_deeds, judge_letters, judge_replay, steps
from support.deployments import Deployment
from support.outsiders import Publisher
from support.voyage_life import APP, RESULT, judge_voyage
from support.watching import insist

from perdure.client import Client

ERRANDS: Final = 5
"""Activities of each workflow of that name, one after another."""
LETTERS: Final = 4
"""Signals to each mailbox."""
_PATIENCE: Final = 100.0


class Traffic:
    """Voyages, errands and mailboxes."""

    def __init__(self, client: Client, deployed: Deployment, outsider: Publisher) -> None:
        self._client = client
        self._deployed = deployed
        self._outsider = outsider
        self._voyages: list[str] = []
        self._errands: list[str] = []
        self._mailboxes: list[str] = []

    async def begin(
        self, name: str, *, voyages: int = 0, errands: int = 0, mailboxes: int = 0
    ) -> None:
        """Start so many, ``<name>-voyage-0`` and so on, and send them all their signals."""
        async with asyncio.TaskGroup() as group:
            for number in range(voyages):
                group.create_task(self._voyage(f"{name}-voyage-{number}"))
            for number in range(errands):
                group.create_task(self._errand(f"{name}-errands-{number}"))
            for number in range(mailboxes):
                group.create_task(self._mailbox(f"{name}-mailbox-{number}"))

    async def end(self, deaths: Sequence[Death] = ()) -> None:
        """Wait for every result, and judge it and what was done for it. ``deaths`` are of workers,
        and cut what they had in hand."""
        wanted: dict[str, Any] = dict.fromkeys(self._voyages, RESULT)
        wanted |= {one: [f"errand-{n}" for n in range(ERRANDS)] for one in self._errands}
        results = dict(zip(wanted, await asyncio.gather(*map(self._result, wanted)), strict=True))
        for one, result in results.items():
            assert result == wanted[one], f"{one}: {result}"
        for one in self._mailboxes:
            # An owner that goes between two signals may swap them.
            result = await self._result(one)
            assert sorted(result) == list(range(LETTERS)), f"{one}: {result}"
        await self._judge_deeds(deaths)
        await judge_letters(self._client)

    async def _judge_deeds(self, deaths: Sequence[Death]) -> None:
        deeds = self._deployed.deeds()
        life = steps(*(f"errand-{n} 1" for n in range(ERRANDS)))
        for one in self._voyages:
            await judge_voyage(self._client, deeds, one, deaths)
        for one in self._errands:
            judge_deeds(one, deeds, life, deaths)
        for one in (*self._errands, *self._mailboxes):
            judge_replay(await insist(self._client.get_workflow_handle(one).fetch_history), APP)

    async def _result(self, one: str) -> Any:
        handle = self._client.get_workflow_handle(one)
        try:
            return await insist(lambda: handle.result(_PATIENCE), seconds=_PATIENCE)
        except TimeoutError:
            rows = await insist(handle.fetch_history)
            shown = [f"{row['sequence']} {row['type']}" for row in rows.events]
            raise AssertionError(f"{one} did not end: {shown}") from None

    async def _voyage(self, one: str) -> None:
        self._voyages.append(one)
        await self._outsider.publish(f"start.Voyage.{one}", {}, key=one)
        await self._outsider.publish(f"signal.{one}.approve", "anna", key=f"{one}-approve")

    async def _errand(self, one: str) -> None:
        self._errands.append(one)
        await self._outsider.publish(f"start.Errands.{one}", {"args": [ERRANDS]}, key=one)

    async def _mailbox(self, one: str) -> None:
        self._mailboxes.append(one)
        await self._outsider.publish(f"start.Mailbox.{one}", {"args": [LETTERS]}, key=one)
        for letter in range(LETTERS):
            name = "letter" if letter % 2 else "parcel"
            key = f"{one}-{letter}"
            await self._outsider.publish(f"signal.{one}.{name}", letter, key=key)
