"""A workflow whose activity hears of the cancellation by its heartbeats, and which then cleans up."""

import asyncio
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import NoReturn

from perdure import activity, workflow
from perdure.client import Client, WorkflowFailureError
from perdure.envconfig import ClientConfig
from perdure.exceptions import CancelledError
from perdure.worker import Worker


@activity.defn
def never_complete_activity() -> NoReturn:
    try:
        while True:
            print("Heartbeating activity")
            activity.heartbeat()
            time.sleep(0.2)
    finally:
        print(f"Activity cancelled: {activity.is_cancelled()}")


@activity.defn
def cleanup_activity() -> None:
    print("Executing cleanup activity")


@workflow.defn
class CancellationWorkflow:
    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.execute_activity(
                never_complete_activity,
                start_to_close_timeout=timedelta(seconds=1000),
                heartbeat_timeout=timedelta(seconds=2),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        finally:
            await workflow.execute_activity(
                cleanup_activity, start_to_close_timeout=timedelta(seconds=5)
            )


async def main() -> None:
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    client = await Client.connect(**config)

    async with Worker(
        client,
        task_queue="hello-cancellation-task-queue",
        workflows=[CancellationWorkflow],
        activities=[never_complete_activity, cleanup_activity],
        activity_executor=ThreadPoolExecutor(5),
    ):
        handle = await client.start_workflow(
            CancellationWorkflow.run,
            id="hello-cancellation-workflow-id",
            task_queue="hello-cancellation-task-queue",
        )
        await asyncio.sleep(1)
        await handle.cancel()
        try:
            await handle.result()
            raise RuntimeError("Should not succeed")
        except WorkflowFailureError as err:
            if isinstance(err.cause, CancelledError):
                print("Got expected cancellation")
            else:
                traceback.print_exception(err)


if __name__ == "__main__":
    asyncio.run(main())
