"""How a voyage and its scout live when nobody disturbs them, and judging those that somebody did."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from support import journeys, voyages
from support.crash_judge import (
    Death,
    Steps,
    judge_deeds,
    judge_replay,
    steps,
    without_repeats,
)
from support.deployments import Deed
from support.voyages import SCOUT
from support.watching import insist, types

from perdure.authoring.app import App
from perdure.client import Client

IMPORTS: Final = f"{journeys.__name__},{voyages.__name__}"
APP: Final = App.from_modules(IMPORTS.split(","))

WRITES: Final = 57
"""How often a voyage and its scout are written about at most, from the request to the mark of the
end."""

RESULT: Final = ["book", "pack", "anna", "land", "look", "Refused", "unpack", "unbook"]
DEEDS: Final[Steps] = steps(
    "book 1",
    "pack 1",
    "pack 2",
    "pack 3",
    "send 1",
    "await 1",
    "leave 1",
    "unpack 1",
    "unbook 1",
)
SCOUT_DEEDS: Final[Steps] = steps("look 1", "report 1")
HISTORY: Final = [
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
    "workflow_signaled",
    "schedule_activity",
    "activity_completed",
    "schedule_activity",
    "activity_failed",
    "schedule_activity",
    "activity_completed",
    "schedule_activity",
    "activity_completed",
    "complete_workflow",
]
SCOUT_HISTORY: Final = [
    "workflow_started",
    "schedule_activity",
    "activity_completed",
    "start_timer",
    "timer_fired",
    "schedule_activity",
    "activity_completed",
    "complete_workflow",
]


async def judge_voyage(
    client: Client, deeds: Sequence[Deed], workflow_id: str, deaths: Sequence[Death] = ()
) -> None:
    """It went as if nobody had been killed, and so did its scout."""
    for one, history, done in (
        (workflow_id, HISTORY, DEEDS),
        (workflow_id + SCOUT, SCOUT_HISTORY, SCOUT_DEEDS),
    ):
        judge_deeds(one, deeds, done, deaths)
        lived = await insist(client.get_workflow_handle(one).fetch_history)
        found = types(without_repeats(lived))
        # A signal may come before the result of the activity that led to it, or after.
        assert Counter(found) == Counter(history), f"{one}: {found}"
        judge_replay(lived, APP)
