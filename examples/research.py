"""An AI agent with a person in the loop: questions, approval, answers, report.

A language model is slow, costs money per call and fails now and then: good reasons to have each
answer in the log the moment it arrives. However often processes die, no question that was answered
is asked a second time, and the approval may take all day.

``call_llm`` speaks to any server with the chat interface of OpenAI: through the package ``openai``
where it is installed (``pip install perdure[agents]``), by plain HTTP otherwise. These variables
say which server: ``OPENAI_BASE_URL`` (the double below when unset), ``OPENAI_API_KEY`` and
``PERDURE_EXAMPLE_MODEL``.

Try it (in the directory ``examples``), without an account anywhere::

    python -m doubles.llm_server &
    perdure dev --import research

and in another terminal::

    nats pub perdure.default.start.ResearchWorkflow '{"id": "tides", "input": ["tides"]}'
    perdure query tides get_messages
    nats pub perdure.default.signal.tides.approve ''
    perdure result tides
"""

import json
import os
import urllib.error
import urllib.request
from datetime import timedelta
from typing import Any

from knowledge import search
from side_effects import perform

from perdure import activity, workflow

DEFAULT_BASE_URL = "http://127.0.0.1:8089/v1"
PATIENT = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=5),
    retry_policy=workflow.RetryPolicy(maximum_attempts=3, backoff_coefficient=2.0),
)


@activity.defn
def call_llm(prompt: str) -> str:
    """The model's answer. What fails here is tried again, as the retry policy says."""
    base_url = os.environ.get("OPENAI_BASE_URL", DEFAULT_BASE_URL)
    key = os.environ.get("OPENAI_API_KEY", "none")
    model = os.environ.get("PERDURE_EXAMPLE_MODEL", "double")
    messages: Any = [{"role": "user", "content": prompt}]
    try:
        import openai
    except ImportError:
        answer = _by_http(base_url, key, {"model": model, "messages": messages})
    else:
        # Retries are the workflow's business: it records them.
        with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            made: Any = client.chat.completions.create(model=model, messages=messages)
        answer = made.choices[0].message.content or ""
    perform(prompt.splitlines()[0][:60])
    return answer


def _by_http(base_url: str, key: str, body: dict[str, Any]) -> str:
    request = urllib.request.Request(
        f"{base_url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=240) as response:
            return json.load(response)["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        with error:
            said = error.read().decode(errors="replace")
            raise ConnectionError(f"the model's server answers {error.code}: {said}") from None


@activity.defn
def search_knowledge_base(query: str) -> list[str]:
    """The passages of our own documents that fit the question best."""
    found = search(query)
    perform(query[:60])
    return found


@workflow.defn
class ResearchWorkflow:
    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.approved = False

    @workflow.run
    async def run(self, topic: str) -> dict[str, Any]:
        questions = await self.ask(f"Generate 5 research questions about {topic}")

        workflow.logger.info("Waiting for the approval of the questions")
        approved = await workflow.wait_condition(lambda: self.approved, timeout=timedelta(hours=24))
        if not approved:
            return {"status": "timeout", "questions": questions}

        answers: list[dict[str, str]] = []
        for question in filter(None, map(str.strip, questions.splitlines())):
            context = await workflow.execute_activity(
                search_knowledge_base, question, start_to_close_timeout=timedelta(seconds=10)
            )
            answer = await self.ask(f"Context: {json.dumps(context)}\n\nQuestion: {question}")
            answers.append({"question": question, "answer": answer})

        report = await self.ask(f"Synthesize these Q&A into a report:\n{json.dumps(answers)}")
        return {
            "status": "complete",
            "questions": questions,
            "answers": answers,
            "report": report,
        }

    async def ask(self, prompt: str) -> str:
        answer = await workflow.execute_activity(call_llm, prompt, **PATIENT)
        self.messages.append({"role": "assistant", "content": answer})
        return answer

    @workflow.signal
    def approve(self) -> None:
        """A person has read the questions and finds them good."""
        self.approved = True

    @workflow.query
    def get_messages(self) -> list[dict[str, str]]:
        """What the model said so far."""
        return self.messages
