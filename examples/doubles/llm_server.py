"""A tiny server with the chat interface of OpenAI: always the same answer to the same prompt.

Run it with ``python -m doubles.llm_server [--port 8089] [--fail-first N]``; ``--fail-first`` answers
the first N requests with 503, for watching retries.
"""

import argparse
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def answer(prompt: str) -> str:
    """What the double says; it knows the three kinds of prompts that the research example asks."""
    if prompt.startswith("Generate"):
        topic = prompt.rpartition(" about ")[2]
        return (
            f"What causes {topic}?\n"
            f"Where are {topic} strongest?\n"
            "\n"
            f"How are {topic} measured?\n"
            f"Who makes use of {topic}?\n"
            f"How are {topic} predicted?"
        )
    if prompt.startswith("Context:"):
        context, _, question = prompt.partition("\n\nQuestion: ")
        passages = json.loads(context.removeprefix("Context: "))
        return passages[0] if passages else f"Nothing is known to answer: {question}"
    if prompt.startswith("Synthesize"):
        answers = json.loads(prompt.partition("\n")[2])
        return "Report\n" + "\n".join(f"- {item['question']} {item['answer']}" for item in answers)
    return f"You said: {prompt}"


class LLMServer(ThreadingHTTPServer):
    """``prompts`` holds what was asked, in order; the next ``failures`` requests get 503."""

    daemon_threads = False

    def __init__(self, port: int = 0, *, failures: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.prompts: list[str] = []
        self.failures = failures

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    timeout = 5

    @property
    def owner(self) -> LLMServer:
        assert isinstance(self.server, LLMServer)
        return self.server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/chat/completions":
            self.reply(404, {"error": {"message": f"no such path: {self.path}"}})
        elif self.owner.failures > 0:
            self.owner.failures -= 1
            self.reply(503, {"error": {"message": "overloaded"}})
        else:
            prompt = body["messages"][-1]["content"]
            self.owner.prompts.append(prompt)
            self.reply(200, _completion(body["model"], answer(prompt)))

    def reply(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the examples' own output is what one wants to see."""


def _completion(model: str, text: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-double",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


@contextmanager
def serving(*, port: int = 0, failures: int = 0) -> Generator[LLMServer]:
    """The server in a thread of its own, on any free port unless told."""
    server = LLMServer(port, failures=failures)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for a language model's server.")
    parser.add_argument("--port", type=int, default=8089)
    parser.add_argument("--fail-first", type=int, default=0)
    arguments = parser.parse_args()
    server = LLMServer(arguments.port, failures=arguments.fail_first)
    print(f"OPENAI_BASE_URL={server.base_url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
