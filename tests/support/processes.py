"""Processes of perdure, started from a test and spoken to from outside."""

import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from perdure.client import Client
from perdure.engine.waiting import wait_for_state

PATIENCE = 60.0

SHOP = '''
"""Workflows and activities for processes."""

import asyncio
from datetime import timedelta
from pathlib import Path

from perdure import activity, workflow
from perdure.common import RetryPolicy


@activity.defn
async def charge(order_id: str) -> str:
    return f"paid-{order_id}"


@activity.defn
async def gated(folder: str) -> str:
    """Says that it runs, and ends when a file appears."""
    print(f"gated begins, attempt {activity.info().attempt}", flush=True)
    while not (Path(folder) / "open").exists():
        await asyncio.sleep(0.01)
    return f"attempt {activity.info().attempt}"


@activity.defn
async def broken(n: int) -> str:
    raise ValueError(f"no luck with {n}")


@workflow.defn
class Order:
    @workflow.run
    async def run(self, order_id: str) -> str:
        return await workflow.execute_activity(
            charge, order_id, start_to_close_timeout=timedelta(seconds=30)
        )


@workflow.defn
class Gated:
    @workflow.run
    async def run(self, folder: str) -> str:
        return await workflow.execute_activity(
            gated, folder, start_to_close_timeout=timedelta(minutes=5)
        )


@workflow.defn
class Unlucky:
    @workflow.run
    async def run(self, attempts: int) -> str:
        return await workflow.execute_activity(
            broken,
            7,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=attempts),
        )


@workflow.defn
class Approval:
    def __init__(self) -> None:
        self.by: str | None = None

    @workflow.run
    async def run(self, what: str) -> str:
        await workflow.wait_condition(lambda: self.by is not None)
        return f"{what} approved by {self.by}"

    @workflow.signal
    def approve(self, by: str) -> None:
        self.by = by

    @workflow.query
    def state(self) -> str:
        return "waiting" if self.by is None else "approved"
'''


def write_shop(folder: Path) -> None:
    """A module ``shop`` that processes started in ``folder`` can import."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shop.py").write_text(SHOP)


def clean_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would steer perdure or NATS."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PERDURE_", "NATS_"))
    }
    return {**kept, "XDG_CONFIG_HOME": str(home), "PYTHONUNBUFFERED": "1", **(extra or {})}


class Process:
    """A Python process whose output is read as it comes."""

    def __init__(self, *arguments: str, folder: Path, environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._fresh: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str) -> str:
        """The next line that holds ``text``."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._fresh.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"{text!r} was not said:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"ended without saying {text!r}:\n{self.output}")
            if text in line:
                return line

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        code = self._process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        return code

    def kill(self) -> None:
        """As a crash, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(timeout=PATIENCE)

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))
                self._fresh.put(line)
        self._fresh.put(None)


class Processes:
    """Those of one test; none outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[Process] = []
        write_shop(folder)

    def perdure(self, *arguments: str, **environment: str) -> Process:
        """The ``perdure`` command."""
        return self.python("-m", "perdure_services.cli", *arguments, **environment)

    def python(self, *arguments: str, **environment: str) -> Process:
        process = Process(
            *arguments,
            folder=self.folder,
            environment=clean_environment(self.folder / "home", environment),
        )
        self._all.append(process)
        return process

    def kill_all(self) -> None:
        for process in self._all:
            process.kill()


@contextmanager
def processes(folder: Path) -> Generator[Processes]:
    made = Processes(folder)
    try:
        yield made
    finally:
        made.kill_all()


def get(url: str) -> tuple[int, str]:
    """Status and text of an HTTP resource."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def known(client: Client, workflow_id: str) -> None:
    """Return once the id is a workflow's."""
    await wait_for_state(
        client.backend, workflow_id, lambda entry: entry is not None, timeout=PATIENCE
    )


def wait_until_dead(pid: int) -> None:
    """Return once a process that need not be a child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], PATIENCE)
    finally:
        os.close(descriptor)
    assert ended, f"process {pid} still runs"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
