"""An activity that succeeds on its fourth attempt."""

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy
from perdure.envconfig import ClientConfig
from perdure.exceptions import ApplicationError
from perdure.worker import Worker


@activity.defn
async def compose_greeting(greeting: str, name: str) -> str:
    attempt = activity.info().attempt
    print(f"Invoking activity, attempt number {attempt}")
    if attempt < 4:
        raise ApplicationError(f"Failing attempt {attempt}", type="Deliberate")
    return f"{greeting}, {name}!"


@workflow.defn
class GreetingWorkflow:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(
            compose_greeting,
            args=["Hello", name],
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=50),
                maximum_interval=timedelta(milliseconds=100),
            ),
        )


async def main() -> None:
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    client = await Client.connect(**config)

    async with Worker(
        client,
        task_queue="hello-activity-retry-task-queue",
        workflows=[GreetingWorkflow],
        activities=[compose_greeting],
    ):
        result = await client.execute_workflow(
            GreetingWorkflow.run,
            "World",
            id="hello-activity-retry-workflow-id",
            task_queue="hello-activity-retry-task-queue",
        )
        print(f"Result: {result}")


if __name__ == "__main__":
    asyncio.run(main())
