"""The onboarding: two mails with three days between them, whatever happens meanwhile."""

import asyncio
from typing import TYPE_CHECKING

import onboarding
import pytest
from support.example_world import example_world

from perdure.testing.virtual_time import run

if TYPE_CHECKING:
    from examples.conftest import Outside

DAY = 86_400.0
MAILS = [
    ("send_email", "ada@example.com: Welcome!"),
    ("send_email", "ada@example.com: How is it going?"),
]


def test_three_days_between_two_mails(outside: "Outside") -> None:
    async def main() -> None:
        async with example_world(onboarding) as w:
            loop = asyncio.get_running_loop()
            user = await w.start("OnboardingWorkflow", "ada")
            await w.nothing_for(3 * DAY - 60)
            assert outside.done == MAILS[:1]
            assert await w.result(user) == "Onboarding complete for ada"
            assert 3 * DAY <= loop.time() <= 3 * DAY + 60

    run(main())
    assert outside.done == MAILS


def test_a_pause_of_one_s_choice(outside: "Outside") -> None:
    async def main() -> None:
        async with example_world(onboarding) as w:
            loop = asyncio.get_running_loop()
            await w.result(await w.start("OnboardingWorkflow", "ada", 5))
            assert 5 <= loop.time() <= 60

    run(main())
    assert outside.done == MAILS


@pytest.mark.parametrize("when", [0.2, 600.0])
def test_everything_is_off_beyond_the_due_time(outside: "Outside", when: float) -> None:
    async def main() -> None:
        async with example_world(onboarding) as w:
            user = await w.start("OnboardingWorkflow", "ada")
            await asyncio.sleep(when)
            await w.switch_off()
            await asyncio.sleep(5 * DAY)
            await w.switch_on()
            assert await w.result(user) == "Onboarding complete for ada"

    run(main())
    assert outside.done == MAILS
