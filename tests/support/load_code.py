"""The workflows of the load: short lives with one activity, some with a timer, some with letters.

The activity leaves ``<workflow id> <attempt>`` with its time and process in the file that
PERDURE_TEST_EFFECTS names.
"""

import os
import time
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.authoring.app import App

_CLOSE = timedelta(seconds=60)


@activity.defn
async def stamp(parcel: str) -> str:
    info = activity.info()
    deed = f"{parcel} {info.attempt}\t{time.time()}\t{os.getpid()}\n"
    number = os.open(
        os.environ["PERDURE_TEST_EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
    )
    try:
        os.write(number, deed.encode())
    finally:
        os.close(number)
    return f"stamped {parcel}"


@workflow.defn
class Parcel:
    """Rests for so many milliseconds, is stamped, and takes letters until it is told to go."""

    def __init__(self) -> None:
        self.letters: list[int] = []
        self.may_go = False

    @workflow.run
    async def run(self, rest: int, waits: bool) -> dict[str, Any]:
        if rest:
            await workflow.sleep(timedelta(milliseconds=rest))
        stamped = await workflow.execute_activity(
            stamp, workflow.info().workflow_id, start_to_close_timeout=_CLOSE
        )
        if waits:
            await workflow.wait_condition(lambda: self.may_go)
        return {"stamped": stamped, "letters": self.letters}

    @workflow.signal
    def letter(self, number: int) -> None:
        self.letters.append(number)

    @workflow.signal
    def go(self) -> None:
        self.may_go = True


APP = App(workflows=[Parcel], activities=[stamp])
