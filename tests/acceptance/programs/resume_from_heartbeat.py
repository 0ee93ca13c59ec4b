"""A batch whose second attempt goes on where the first one stopped."""

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy
from perdure.envconfig import ClientConfig
from perdure.worker import Worker


@activity.defn
async def work_through(items: list[str]) -> int:
    done = 0
    details = activity.info().heartbeat_details
    if details:
        done = details[0]
        print(f"Resuming behind item {done}")
    for number, item in enumerate(items[done:], start=done + 1):
        if activity.info().attempt == 1 and number == 4:
            raise ConnectionError(f"no way to {item}")
        print(f"Item {item}")
        activity.heartbeat(number)
    return len(items)


@workflow.defn
class BatchWorkflow:
    @workflow.run
    async def run(self, items: list[str]) -> int:
        return await workflow.execute_activity(
            work_through,
            items,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=50)),
        )


async def main() -> None:
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    client = await Client.connect(**config)

    async with Worker(
        client, task_queue="batch-task-queue", workflows=[BatchWorkflow], activities=[work_through]
    ):
        result = await client.execute_workflow(
            BatchWorkflow.run, list("abcde"), id="batch-workflow-id", task_queue="batch-task-queue"
        )
        print(f"Result: {result}")


if __name__ == "__main__":
    asyncio.run(main())
