"""Workflows that wait in great numbers."""

import asyncio
from datetime import datetime, timedelta

from perdure import workflow


@workflow.defn
class Alarm:
    """Sleeps until an instant; says when it woke, by its own clock."""

    @workflow.run
    async def run(self, until: str) -> str:
        await workflow.sleep(datetime.fromisoformat(until) - workflow.now())
        return workflow.now().isoformat()


@workflow.defn
class Patient:
    """Waits for one word, and answers it."""

    def __init__(self) -> None:
        self.word: str | None = None

    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.wait_condition(lambda: self.word is not None)
        return f"{name} heard {self.word}"

    @workflow.signal
    def hear(self, word: str) -> None:
        self.word = word

    @workflow.query
    def heard(self) -> str | None:
        return self.word


@workflow.defn
class Quick:
    @workflow.run
    async def run(self, text: str) -> str:
        await asyncio.sleep(0)
        return text


@workflow.defn
class Either:
    """Waits for a word as long as its time lasts."""

    def __init__(self) -> None:
        self.word = ""

    @workflow.run
    async def run(self, seconds: float) -> str:
        limit = timedelta(seconds=seconds)
        heard = await workflow.wait_condition(lambda: bool(self.word), timeout=limit)
        return self.word if heard is not False else "nothing"

    @workflow.signal
    def hear(self, word: str) -> None:
        self.word = word
