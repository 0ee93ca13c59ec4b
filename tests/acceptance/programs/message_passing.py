"""A workflow driven by messages: async handlers behind a lock, waits with and without a timeout."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from perdure import activity, workflow
from perdure.client import Client, WorkflowQueryFailedError
from perdure.envconfig import ClientConfig
from perdure.exceptions import ApplicationError
from perdure.worker import Worker

with workflow.unsafe.imports_passed_through():
    import json


class Language(IntEnum):
    ENGLISH = 1
    FRENCH = 2
    ARABIC = 3


@dataclass
class GetLanguagesInput:
    include_unsupported: bool


@dataclass
class ApproveInput:
    name: str


@activity.defn
async def call_greeting_service(to_language: Language) -> str | None:
    return {Language.ARABIC: "مرحبا بالعالم"}.get(to_language)


@workflow.defn
class GreetingWorkflow:
    @workflow.init
    def __init__(self, default: Language) -> None:
        self.language = default
        self.greetings = {Language.ENGLISH: "Hello, world", Language.FRENCH: "Bonjour, monde"}
        self.approved_for_release = False
        self.approver_name: str | None = None
        self.lock = asyncio.Lock()
        self.reminders = 0

    @workflow.run
    async def run(self, default: Language) -> str:
        while not self.approved_for_release:
            if not await workflow.wait_condition(
                lambda: self.approved_for_release, timeout=timedelta(milliseconds=300)
            ):
                self.reminders += 1
        await workflow.wait_condition(workflow.all_handlers_finished)
        return json.dumps([self.greetings[self.language], self.approver_name], ensure_ascii=False)

    @workflow.query
    def get_languages(self, input: GetLanguagesInput) -> list[Language]:
        return list(Language) if input.include_unsupported else sorted(self.greetings)

    @workflow.query
    def get_reminders(self) -> int:
        return self.reminders

    @workflow.query
    def get_language(self) -> Language:
        return self.language

    @workflow.signal
    async def set_language(self, language: Language) -> None:
        async with self.lock:
            if language not in self.greetings:
                greeting = await workflow.execute_activity(
                    call_greeting_service, language, start_to_close_timeout=timedelta(seconds=10)
                )
                if greeting is None:
                    raise ApplicationError(f"Greeting service does not support {language.name}")
                self.greetings[language] = greeting
            self.language = language

    @workflow.signal
    def approve(self, input: ApproveInput) -> None:
        self.approved_for_release = True
        self.approver_name = input.name


async def main() -> None:
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    client = await Client.connect(**config)

    async with Worker(
        client,
        task_queue="message-passing-task-queue",
        workflows=[GreetingWorkflow],
        activities=[call_greeting_service],
    ):
        handle = await client.start_workflow(
            GreetingWorkflow.run,
            Language.ENGLISH,
            id="message-passing-workflow-id",
            task_queue="message-passing-task-queue",
        )
        languages = await handle.query(
            GreetingWorkflow.get_languages, GetLanguagesInput(include_unsupported=False)
        )
        print(f"Supported: {[language.name for language in languages]}")
        while not await handle.query(GreetingWorkflow.get_reminders):
            await asyncio.sleep(0.1)
        print("Reminded")
        await handle.signal(GreetingWorkflow.set_language, Language.FRENCH)
        print(f"Language: {(await handle.query(GreetingWorkflow.get_language)).name}")
        try:
            await handle.query("get_weather")
        except WorkflowQueryFailedError as err:
            print(f"Query failed: {'get_languages' in str(err)}")
        await handle.signal(GreetingWorkflow.set_language, Language.ARABIC)
        await handle.signal(GreetingWorkflow.approve, ApproveInput(name="Ada"))
        print(f"Result: {await handle.result()}")


if __name__ == "__main__":
    asyncio.run(main())
