"""A failure as its client sees it, cause by cause."""

import asyncio
import logging
from datetime import timedelta
from typing import NoReturn

from perdure import activity, workflow
from perdure.client import Client, WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.envconfig import ClientConfig
from perdure.exceptions import ActivityError, ApplicationError, FailureError
from perdure.worker import Worker


@activity.defn
async def compose_greeting(name: str) -> NoReturn:
    raise RuntimeError(f"Greeting exception for {name}!")


@workflow.defn
class GreetingWorkflow:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(
            compose_greeting,
            name,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


async def main() -> None:
    logging.basicConfig(level=logging.ERROR)
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    client = await Client.connect(**config)

    async with Worker(
        client,
        task_queue="hello-exception-task-queue",
        workflows=[GreetingWorkflow],
        activities=[compose_greeting],
    ):
        try:
            await client.execute_workflow(
                GreetingWorkflow.run,
                "World",
                id="hello-exception-workflow-id",
                task_queue="hello-exception-task-queue",
            )
        except WorkflowFailureError as err:
            cause = err.cause
            assert isinstance(cause, ActivityError)
            print(f"{type(cause).__name__} of {cause.activity_type}: {cause}")
            assert isinstance(cause.cause, ApplicationError)
            print(f"{cause.cause.type}: {cause.cause.message}")
            assert isinstance(cause.cause, FailureError) and cause.cause.failure
            print(f"raised in: {'compose_greeting' in cause.cause.failure.stack_trace}")


if __name__ == "__main__":
    asyncio.run(main())
