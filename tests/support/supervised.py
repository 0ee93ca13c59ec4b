"""A process under supervision whose work a test chooses: ``python supervised.py FOLDER WORK …``.

Each life leaves a line ``life <n> <pid>`` in FOLDER/lives, and what it was handed in FOLDER/strikes.
"""

import os
import signal
import sys
import time
from pathlib import Path

from perdure_services._shell.judging import Limits
from perdure_services._shell.logs import set_up_logs
from perdure_services._shell.supervision import Ward, supervise

FOLDER = Path(sys.argv[1])


def note(name: str, line: str) -> None:
    with (FOLDER / name).open("a") as file:
        file.write(f"{line}\n")


def spin(ward: Ward) -> None:
    assert ward.board is not None
    ward.board.begun("spinner", "run-1")
    while True:
        pass


def die_while_it_runs(ward: Ward) -> None:
    assert ward.board is not None
    ward.board.begun("killer", "run-1")
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


def wait_for_the_end() -> int:
    """As a service: a signal ends it, in order."""
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    note("serves", str(os.getpid()))
    while not heard:
        signal.pause()
    note("ended", str(heard[0]))
    return 7


def work(ward: Ward) -> int:
    lives = (FOLDER / "lives").read_text().count("\n") if (FOLDER / "lives").exists() else 0
    note("lives", f"{lives} {os.getpid()} {time.monotonic()}")
    note("replaced", f"{ward.replaced} {len(ward.refused) or '-'}")
    for struck in ward.strikes:
        note("strikes", f"{lives} {struck.workflow_id} {struck.run} {struck.at} {struck.reason}")
        note("stacks", struck.stack)
    plan = sys.argv[2].split(",")
    task = plan[min(lives, len(plan) - 1)]
    if "record" in task:
        ward.recorded()
    if "spin" in task:
        spin(ward)
    if "segfault" in task:
        die_while_it_runs(ward)
    if "crash" in task:
        os.kill(os.getpid(), signal.SIGKILL)
    if "pause" in task:
        assert ward.board is not None
        ward.board.begun("sleeper", "run-1")
        os.kill(os.getpid(), signal.SIGSTOP)
        ward.board.ended()
    if "many" in task:
        assert ward.board is not None
        for _ in range(200_000):
            ward.board.begun("w", "r")
            ward.board.ended()
    if "hang" in task:
        # Deaf: no handler, and C code that keeps the interpreter.
        note("serves", str(os.getpid()))
        _ = 10 ** (10**9)
    if "refuse" in task:
        return 2
    return wait_for_the_end()


if __name__ == "__main__":
    set_up_logs("human", "INFO")
    sys.exit(supervise(work, Limits(time=float(sys.argv[3]), memory=0)))
