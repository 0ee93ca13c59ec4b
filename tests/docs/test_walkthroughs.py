"""The README and the first steps, done word for word: files saved, commands typed, messages sent."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import nats
import pytest
from support.pages import Block, blocks, commands

from perdure.adapters.jetstream.embedded import EmbeddedServer

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

PERDURE = [sys.executable, "-m", "perdure_services.cli"]


class Walk:
    """Does what a page says, in order, in an empty directory."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("NATS_", "PERDURE_"))},
            "NATS_URL": url,
            "XDG_CONFIG_HOME": str(directory),
            "COLUMNS": "120",
        }
        self.said: list[str] = []
        self.dev: subprocess.Popen[str] | None = None

    async def follow(self, block: Block) -> None:
        if block.language == "python":
            text = block.text.replace("nats://127.0.0.1:4222", self.url)
            (self.directory / block.file_name).write_text(text)
            if "asyncio.run(" in text:
                self.run([sys.executable, block.file_name])
        elif block.language == "sh":
            for line in block.text.splitlines():
                for words in commands(line, "perdure"):
                    if words[1] == "dev":
                        self.start_dev(words[2:])
                    else:
                        self.run([*PERDURE, *words[1:]])
                for _, _, subject, body in commands(line, "nats"):
                    await self.publish(subject, body)

    async def publish(self, subject: str, body: str) -> None:
        connection = await nats.connect(self.url)
        try:
            await connection.jetstream().publish(subject, body.encode())
        finally:
            await connection.close()

    def run(self, words: list[str]) -> None:
        done = subprocess.run(
            words,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        self.said.append(done.stdout)

    def start_dev(self, flags: list[str]) -> None:
        """``perdure dev`` on the test's own server, until it says that it is ready."""
        self.dev = subprocess.Popen(
            [*PERDURE, "dev", *flags, "--server", self.url, "--health-port", "0"],
            cwd=self.directory,
            env=self.environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.dev.stdout is not None
        assert self.dev.stdout.readline().startswith("perdure dev is ready")

    def kill_dev(self) -> None:
        if self.dev is not None:
            self.dev.send_signal(signal.SIGKILL)
            self.dev.wait()
            with contextlib.suppress(AttributeError):
                self.dev.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
            self.dev = None


async def test_readme(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "nats", port=0, monitor_port=0, durable=False) as server:
        walk = Walk(tmp_path, server.url)
        try:
            for block in blocks("README.md"):
                await walk.follow(block)
            walk.run([*PERDURE, "result", "hello-1"])
        finally:
            walk.kill_dev()
    started, history, from_python, from_message = walk.said
    assert "Hello, Ada!" in started
    assert "greet" in history
    assert from_python == "Hello, Ada!\n"
    assert "Hello, Ada!" in from_message


async def test_getting_started(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "nats", port=0, monitor_port=0, durable=False) as server:
        walk = Walk(tmp_path, server.url)
        try:
            for block in blocks("docs/getting-started.md"):
                if "signal" in block.text and block.language == "sh":
                    # The page says to kill it and to start it again.
                    walk.kill_dev()
                    walk.start_dev(["--import", "invoice"])
                await walk.follow(block)
            walk.run([*PERDURE, "result", "invoice-1"])
        finally:
            walk.kill_dev()
    everything = "".join(walk.said)
    assert "invoice-1" in everything
    assert "invoice-Grace paid after 0 reminders" in everything
    assert walk.said[-2].splitlines() == [
        "reminders: 0",
        "result: invoice-Alan paid after 0 reminders",
    ]
    assert "invoice-Ada paid after 0 reminders" in walk.said[-1]
