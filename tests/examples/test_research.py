"""The research agent against the local stand-in for a language model's server."""

import asyncio
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import research
from doubles.llm_server import LLMServer, serving
from support.example_world import example_world

from perdure.exceptions import ActivityError
from perdure.testing.virtual_time import run

if TYPE_CHECKING:
    from examples.conftest import Outside

WORKFLOW = "ResearchWorkflow"


@pytest.fixture(params=["openai", "http"])
def llm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    """The server; asked through the package openai, and as if that were not installed."""
    if request.param == "http":
        monkeypatch.setitem(sys.modules, "openai", None)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield server


def test_from_questions_to_a_report(outside: "Outside", llm: LLMServer) -> None:
    async def main() -> None:
        async with example_world(research) as w:
            topic = await w.start(WORKFLOW, "tides")
            await w.nothing_for(3_600)
            assert len(llm.prompts) == 1
            questions = (await w.ask(topic, "get_messages"))[0]["content"]
            await w.signal(topic, "approve")
            result = await w.result(topic)
            assert result["status"] == "complete"
            assert result["questions"] == questions
            asked = [line for line in questions.split("\n") if line.strip()]
            assert len(asked) == 5 < len(questions.split("\n"))
            assert [item["question"] for item in result["answers"]] == asked
            assert all(
                item["answer"] in research.search(item["question"]) for item in result["answers"]
            )
            assert result["report"].startswith("Report\n- What causes tides? ")
            assert len(await w.ask(topic, "get_messages")) == 7

    run(main())
    assert outside.names == ["call_llm", *["search_knowledge_base", "call_llm"] * 5, "call_llm"]
    assert len(llm.prompts) == 7


def test_nobody_approves(outside: "Outside", llm: LLMServer) -> None:
    async def main() -> None:
        async with example_world(research) as w:
            topic = await w.start(WORKFLOW, "tides")
            await w.nothing_for(86_400 - 60)
            assert (await w.result(topic)) == {
                "status": "timeout",
                "questions": "\n".join(
                    [
                        "What causes tides?",
                        "Where are tides strongest?",
                        "",
                        "How are tides measured?",
                        "Who makes use of tides?",
                        "How are tides predicted?",
                    ]
                ),
            }

    run(main())
    assert outside.names == ["call_llm"]


def test_a_model_that_is_overloaded_is_asked_again(outside: "Outside", llm: LLMServer) -> None:
    llm.failures = 2

    async def main() -> None:
        async with example_world(research) as w:
            topic = await w.start(WORKFLOW, "tides")
            await w.signal(topic, "approve")
            assert (await w.result(topic))["status"] == "complete"

    run(main())
    assert outside.names.count("call_llm") == 7


def test_a_model_that_stays_away_fails_the_workflow(llm: LLMServer) -> None:
    llm.failures = 3

    async def main() -> None:
        async with example_world(research) as w:
            with pytest.raises(ActivityError) as raised:
                await w.result(await w.start(WORKFLOW, "tides"))
            assert "503" in str(raised.value.cause) or "overloaded" in str(raised.value.cause)

    run(main())


def test_what_was_answered_is_not_asked_again(outside: "Outside", llm: LLMServer) -> None:
    async def main() -> None:
        async with example_world(research) as w:
            topic = await w.start(WORKFLOW, "tides")
            await asyncio.sleep(60)
            await w.switch_off()
            await w.switch_on()
            await w.signal(topic, "approve")
            assert (await w.result(topic))["status"] == "complete"

    run(main())
    assert len(llm.prompts) == 7
