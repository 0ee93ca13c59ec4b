"""Five activities at once."""

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.client import Client
from perdure.envconfig import ClientConfig
from perdure.worker import Worker


@activity.defn
async def say_hello_activity(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
class SayHelloWorkflow:
    @workflow.run
    async def run(self) -> list[str]:
        results = await asyncio.gather(
            *(
                workflow.execute_activity(
                    say_hello_activity,
                    f"user{number}",
                    start_to_close_timeout=timedelta(seconds=5),
                )
                for number in range(1, 6)
            )
        )
        return list(sorted(results))


async def main() -> None:
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    client = await Client.connect(**config)

    async with Worker(
        client,
        task_queue="hello-parallel-activity-task-queue",
        workflows=[SayHelloWorkflow],
        activities=[say_hello_activity],
    ):
        result = await client.execute_workflow(
            SayHelloWorkflow.run,
            id="hello-parallel-activity-workflow-id",
            task_queue="hello-parallel-activity-task-queue",
        )
        print(f"Result: {result}")


if __name__ == "__main__":
    asyncio.run(main())
