"""``python -m peers``: the load on another engine; jobs from standard input as ``load`` takes them."""

import asyncio
import json
import os
import sys
import time

from load.measuring import Outcome, Task, closed_loop, percentile, say
from load.throughput import check

from peers.known import PEERS
from peers.place import Once

_MILLION = 1_000_000


async def throughput(on: Task, once: Once) -> Outcome:
    ids = on.ids()

    async def measured() -> None:
        check(await once(next(ids)))

    return (await closed_loop(on, measured, **on.parameters)).outcome()


async def latency(on: Task, once: Once) -> Outcome:
    ids = on.ids()
    taken: list[float] = []

    async def measured() -> None:
        start = time.perf_counter_ns()
        check(await once(next(ids)))
        taken.append((time.perf_counter_ns() - start) / _MILLION)

    window = await closed_loop(on, measured, **on.parameters)
    steady = taken[-window.units :]
    return window.outcome(p50=percentile(steady, 0.5), p99=percentile(steady, 0.99))


async def main() -> None:
    place = json.loads(sys.stdin.readline())
    groups = {**place["groups"], "client": [os.getpid()]}
    async with PEERS[place["peer"]].client(place["url"]) as once:
        for number, line in enumerate(iter(sys.stdin.readline, "")):
            order = json.loads(line)
            job = {"throughput": throughput, "latency": latency}[order["job"]]
            task = Task(
                groups=groups,
                parameters=order["parameters"],
                prefix=f"{place['peer']}-{order['job']}-{number}",
            )
            say({"outcome": await job(task, once)})


if __name__ == "__main__":
    asyncio.run(main())
