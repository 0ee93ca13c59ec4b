"""The demo: two orders and an expense, and half of the processes killed on the way.

``make demo`` runs it. It starts a nats-server, a scheduler, an activity worker and a gateway as
processes of their own, starts workflows by publishing messages, kills the scheduler and the worker
in the middle of an order (SIGKILL), starts new ones, and shows that every order went on where it
was, with each step done once. It ends with exit code 0 only if that is so.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import nats
from nats.js import JetStreamContext
from showcase.processes import DemoError, Processes, Running
from showcase.show import Show
from side_effects import effects

from perdure.adapters.jetstream.embedded import EmbeddedServer
from perdure.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory
from perdure.exceptions import WorkflowNotFoundError

ORDER: Final = "order-1"
DOOMED: Final = "no-carrier"
EXPENSE: Final = "exp-1"
RESULTS: Final = {
    ORDER: ("completed", "Order order-1 completed. Tracking: TRACK-ORDER-1"),
    DOOMED: ("failed", f"Order {DOOMED} failed and was compensated"),
    EXPENSE: ("completed", "approved"),
}
EFFECTS: Final = (
    ("reserve_inventory", ORDER),
    ("charge_payment", ORDER),
    ("ship_order", ORDER),
    ("reserve_inventory", DOOMED),
    ("charge_payment", DOOMED),
    ("refund_payment", f"payment-{DOOMED}"),
    ("release_inventory", f"reservation-{DOOMED}"),
    ("notify_manager", f"{EXPENSE} (42.50)"),
    ("process_payment", EXPENSE),
)
LIMIT: Final = 110.0


class Demo:
    """One run: what is up, and what it learnt."""

    def __init__(
        self, show: Show, server: EmbeddedServer, processes: Processes, client: Client, log: Path
    ) -> None:
        self.show = show
        self.server = server
        self.processes = processes
        self.client = client
        self.log = log
        self.running: dict[str, Running] = {}
        self.seen = 0
        self.gap = (datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

    async def tell(self) -> bool:
        """The whole story; whether it ended well."""
        await self.start_everything()
        await self.publish_the_starts()
        await self.kill_in_the_middle()
        await self.start_again()
        await self.approve()
        return await self.check()

    async def start_everything(self) -> None:
        self.show.step("Start a nats-server and three services, each a process of its own")
        await self.start("scheduler", "activity-worker", "signal-gateway")
        self.show.processes(self.running.values(), (self.server.pid, self.server.url))

    async def publish_the_starts(self) -> None:
        self.show.step("Start three workflows by publishing messages: any NATS client will do")
        async with jetstream(self.server.url) as js:
            for workflow, workflow_id, arguments in (
                ("OrderSagaWorkflow", ORDER, [ORDER]),
                ("OrderSagaWorkflow", DOOMED, [DOOMED]),
                ("ExpenseApprovalWorkflow", EXPENSE, [EXPENSE, 42.5]),
            ):
                body = {"id": workflow_id, "input": arguments}
                await self.publish(js, f"perdure.default.start.{workflow}", json.dumps(body))

    async def kill_in_the_middle(self) -> None:
        self.show.step(f"Watch {ORDER} until its second activity is done, then pull the plug")
        order = self.client.get_workflow_handle(ORDER)
        await self.follow(order, lambda history: count(history, "activity_completed") >= 2)
        for service in ("scheduler", "activity-worker"):
            victim = self.running.pop(service)
            self.processes.kill(victim)
            self.show.line(f"kill -9 {victim.pid}  ({service})", "bold red")
        self.gap = (datetime.now(UTC), self.gap[1])
        self.show.line("2 of 3 activities are in the log; the third was being carried out", "red")

    async def start_again(self) -> None:
        self.show.step("Start a new scheduler and a new worker, which know nothing")
        for one in await self.start("scheduler", "activity-worker"):
            self.show.line(f"{one.service} ready after {one.ready:.1f} s (pid {one.pid})")
        self.gap = (self.gap[0], datetime.now(UTC))

    async def approve(self) -> None:
        self.show.step("Approve the expense by publishing a signal; let the order go on")
        async with jetstream(self.server.url) as js:
            await self.publish(js, f"perdure.default.signal.{EXPENSE}.approve", "")
        self.show.note("The dead worker's task comes back when its lease of 10 s is over.")
        order = self.client.get_workflow_handle(ORDER)
        await self.follow(order, is_closed)

    async def check(self) -> bool:
        self.show.step("The results")
        rows = [(name, *(await self.outcome(name))) for name in RESULTS]
        marked = [(*row, RESULTS[row[0]] == row[1:]) for row in rows]
        self.show.results(marked)

        self.show.step("The histories, as they lie in JetStream (• event, → decision)")
        for name in RESULTS:
            history = await self.client.get_workflow_handle(name).fetch_history()
            self.show.history(history, self.gap)

        self.show.step("What was done in the outside world: each step once, in spite of it all")
        done = effects(self.log)
        self.show.effects(done, EFFECTS)
        self.show.note(
            "A second attempt carries the idempotency key of the first: what is asked with it "
            "twice is done once."
        )
        is_once = sorted((one.what, one.subject) for one in done) == sorted(EFFECTS)
        return is_once and all(is_right for *_, is_right in marked)

    async def start(self, *services: str) -> list[Running]:
        with self.show.console.status("starting …"):
            started = await self.processes.start(*services)
        self.running |= {one.service: one for one in started}
        return started

    async def publish(self, js: JetStreamContext, subject: str, body: str) -> None:
        """Publish, and show JetStream's acknowledgement: from here on it cannot be lost."""
        ack = await js.publish(subject, body.encode())
        self.show.line(f"[bold]{subject}[/bold]")
        self.show.note(f"{body}  → {ack.stream} #{ack.seq}".strip())

    async def follow(
        self, handle: WorkflowHandle[Any, Any], enough: Callable[[WorkflowHistory], bool]
    ) -> None:
        """Show what is new in a history until it is ``enough``."""
        while True:
            for one in self.running.values():
                one.check()
            try:
                history = await self.client.get_workflow_handle(handle.id).fetch_history()
            except WorkflowNotFoundError:
                # Its message is in the stream, and the gateway has not come to it yet.
                await asyncio.sleep(0.05)
                continue
            for row in history.events[self.seen :]:
                self.show.event(row)
            self.seen = len(history.events)
            if enough(history):
                return
            if is_closed(history):
                raise DemoError(f"{handle.id} ended before its time")
            await asyncio.sleep(0.05)

    async def outcome(self, workflow_id: str) -> tuple[str, str]:
        """How a workflow ended, and with what."""
        handle = self.client.get_workflow_handle(workflow_id)
        try:
            text = str(await handle.result())
        except WorkflowFailureError as error:
            text = getattr(error.cause, "message", str(error.cause))
        described = await handle.describe()
        return described.status.name.lower(), text


def is_closed(history: WorkflowHistory) -> bool:
    return any("closes" in row for row in history.events)


def count(history: WorkflowHistory, kind: str) -> int:
    return sum(row["type"] == kind for row in history.events)


@asynccontextmanager
async def jetstream(url: str) -> AsyncGenerator[JetStreamContext]:
    """JetStream as any program sees it: plain nats-py, nothing of perdure."""
    connection = await nats.connect(url)
    try:
        yield connection.jetstream()
    finally:
        await connection.close()


async def run(show: Show, *, pace: float) -> bool:
    """Everything that the demo makes, it takes away again."""
    show.title("perdure", "durable workflows over NATS JetStream: what happens when processes die?")
    with tempfile.TemporaryDirectory(prefix="perdure-demo-") as directory:
        home = Path(directory)
        log = home / "effects.log"
        extra = {"PERDURE_EXAMPLE_LOG": str(log), "PERDURE_EXAMPLE_PACE": str(pace)}
        async with (
            EmbeddedServer(home / "nats", port=0, monitor_port=0) as server,
            Processes(
                home, url=server.url, imports="order_saga,expense_approval", extra=extra
            ) as processes,
        ):
            try:
                async with asyncio.timeout(LIMIT), await Client.connect(server.url) as client:
                    return await Demo(show, server, processes, client, log).tell()
            except (DemoError, TimeoutError):
                show.console.print(processes.last_words(), style="dim", markup=False)
                raise


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--pace", type=float, default=1.5, metavar="SECONDS", help="how long an activity takes"
    )
    arguments = parser.parse_args()
    show = Show()
    task = asyncio.ensure_future(run(show, pace=arguments.pace))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        is_right = await task
    except asyncio.CancelledError:
        show.console.print("\nInterrupted: every process is stopped, nothing is left behind.")
        return 130
    except (DemoError, TimeoutError) as error:
        show.console.print(f"\n[bold red]The demo failed:[/bold red] {error or 'it took too long'}")
        return 1
    show.verdict("All as promised" if is_right else "NOT as promised", is_good=is_right)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
