"""``python -m load``: where the deployment is, then jobs, one per line of standard input."""

import asyncio
import importlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from load import growth, histories, latency, publishing, signals, throughput, timers, waiting
from load.measuring import Outcome, say
from load.session import Session, session

Job = Callable[[Session], Awaitable[Outcome]]

JOBS: Final[dict[str, Job]] = {
    "floor": publishing.floor,
    "one_step": throughput.one_step,
    "five_steps": throughput.five_steps,
    "execute": throughput.execute,
    "door": throughput.door,
    "latency": latency.whole,
    "first_step": latency.first_step,
    "signals": signals.by_client,
    "signals_door": signals.by_subject,
    "histories": histories.replays,
    "waiting": waiting.answers,
    "timers": timers.lateness,
    "growth": growth.closed,
}


async def main() -> None:
    """Jobs as they come, until there are no more."""
    place = json.loads(sys.stdin.readline())
    # Nothing else runs between jobs: a blocking read is as good as any.
    for number, line in enumerate(iter(sys.stdin.readline, "")):
        order = json.loads(line)
        async with session({**place, **order, "prefix": f"{order['job']}-{number}"}) as made:
            outcome = await JOBS[order["job"]](made)
        say({"outcome": outcome})


if __name__ == "__main__":
    try:
        factory = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
