"""The examples' outside world: it knows a call that it has seen."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from knowledge import PASSAGES, search
from side_effects import effects, perform
from support.world import world

from perdure import activity, workflow
from perdure.testing.virtual_time import run

if TYPE_CHECKING:
    from examples.conftest import Outside


@activity.defn
def charge(order_id: str) -> int:
    """Dies, in its first two attempts, after the call and before its result is known."""
    perform(order_id)
    attempt = activity.info().attempt
    if attempt < 3:
        raise ConnectionError("the line went dead")
    return attempt


@workflow.defn
class ChargingTwice:
    @workflow.run
    async def run(self) -> list[int]:
        return [
            await workflow.execute_activity(
                charge, "order-1", start_to_close_timeout=timedelta(seconds=5)
            )
            for _ in range(2)
        ]


def test_attempts_share_an_effect_and_calls_do_not(outside: "Outside") -> None:
    async def main() -> None:
        async with world([ChargingTwice], [charge]) as w:
            assert await w.result(await w.start("ChargingTwice")) == [3, 3]

    run(main())
    assert outside.done == [("charge", "order-1"), ("charge", "order-1")]
    assert [effect.attempt for effect in effects(outside.path)] == [1, 1]


def test_nothing_was_done_where_there_is_no_file(tmp_path: Path) -> None:
    assert effects(tmp_path / "none") == []


def test_the_knowledge_base_finds_what_fits() -> None:
    assert search("How are tides predicted by tables?")[0] == PASSAGES[4]
    assert search("quantum chromodynamics") == []
    assert len(search("tide", limit=2)) == 2
