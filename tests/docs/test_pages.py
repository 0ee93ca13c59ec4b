"""What the pages say to click, to type and to set is there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from support.pages import ROOT, blocks, commands, links, name_of, pages, texts_with_commands

from perdure.adapters.jetstream.streams import DEFAULT_PARTITIONS
from perdure.adapters.jetstream.subjects import Subjects
from perdure.client import WorkflowExecutionStatus
from perdure.core.state import Status
from perdure.engine.ingress.requests import EventRequest, read_request
from perdure.engine.starts import StartRequest
from perdure.ports.addresses import Stored
from perdure_services._shell import metrics
from perdure_services.activity_worker.settings import ActivityWorkerSettings
from perdure_services.cli.__main__ import app
from perdure_services.scheduler.settings import SchedulerSettings
from perdure_services.signal_gateway.settings import GatewaySettings

NAMES = (ROOT / "docs" / "reference" / "names.md").read_text(encoding="utf-8")
SETTINGS = (SchedulerSettings, ActivityWorkerSettings, GatewaySettings)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [target for target in links(page) if not (page.parent / target).exists()]
    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_python_blocks_are_python(page: Path) -> None:
    for block in blocks(name_of(page), "python"):
        compile(block.text, f"{block.page}:{block.file_name}", "exec")


# ------------------------------------------------------------------- commands


def _typed(program: str) -> Iterator[tuple[str, list[str]]]:
    for place, text in texts_with_commands():
        for words in commands(text, program):
            yield place, words


@pytest.mark.parametrize(("place", "words"), list(_typed("perdure")))
def test_commands_exist_with_their_flags(place: str, words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):
        assert rest[0] in command.commands, f"{place}: no command {rest[0]!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    # Raises for an unknown flag and for a missing or surplus argument.
    command.make_context(words[0], list(rest))


@pytest.mark.parametrize(("place", "words"), list(_typed("nats")))
def test_published_messages_are_requests(place: str, words: list[str]) -> None:
    program, verb, subject, body = words
    assert (program, verb) == ("nats", "pub"), place
    kind, tokens = Subjects("default").parse_ingress(subject)
    message = Stored(1, 1, body.encode())
    request = read_request(
        SimpleNamespace(kind=kind, tokens=tokens, headers={}, message=message)  # pyright: ignore[reportArgumentType]
    )
    assert isinstance(request, StartRequest if kind == "start" else EventRequest)


@pytest.mark.parametrize(("place", "words"), list(_typed("make")))
def test_make_targets_exist(place: str, words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{words[1]}:.*##", makefile, re.M), f"{place}: {words}"


@pytest.mark.parametrize(("place", "words"), list(_typed("python")))
def test_modules_that_one_runs_exist(place: str, words: list[str]) -> None:
    assert words[1] == "-m", place
    module = ROOT / "examples" / (words[2].replace(".", "/") + ".py")
    assert module.exists(), f"{place}: {words}"


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "examples").glob("*.py")) if path.stem != "demo"],
    ids=lambda path: path.stem,
)
def test_examples_import_from_their_own_directory(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {path.stem}"],
        cwd=ROOT / "examples",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------- names


def test_settings_are_those_of_the_processes() -> None:
    written = set(re.findall(r"PERDURE_([A-Z_]+)", NAMES)) | {"NKEY", "USER", "PASSWORD", "TOKEN"}
    known = {name.upper() for settings in SETTINGS for name in settings.model_fields}
    known = {{"IMPORTS": "IMPORT", "TASK_QUEUES": "TASK_QUEUE"}.get(name, name) for name in known}
    streams = {"LOG", "TASKS", "INGRESS", "ARCHIVE", "EVENTS", "DLQ", "AUDIT"}
    assert {name for name in written if name.strip("_") and name not in streams} <= known
    unmentioned = {"ANY_HEALTH_PORT", "API_PREFIX", "DOMAIN", "INBOX_PREFIX", "NKEY_SEED"}
    unmentioned |= {"TLS_CA", "TLS_CERT", "TLS_FIRST", "TLS_KEY"}
    assert known - written <= unmentioned


def test_defaults_are_as_written() -> None:
    scheduler, worker, gateway = SchedulerSettings(), ActivityWorkerSettings(), GatewaySettings()
    assert scheduler.partitions is None
    assert f"| the namespace's own, {DEFAULT_PARTITIONS} when it is made | all |" in NAMES
    assert scheduler.health_port == 9464
    assert scheduler.max_cached_workflows == 5_000
    assert scheduler.state_retention.days == 30
    assert worker.max_concurrent_activities == 100
    assert (gateway.credit, gateway.patience.total_seconds()) == (4_096, 60)


def test_streams_and_buckets_are_as_written() -> None:
    names = Subjects("<ns>".strip("<>"))
    for stream in (
        names.log_stream,
        names.tasks_stream,
        names.ingress_stream,
        names.archive_stream,
        names.events_stream,
        names.dead_letters_stream,
        names.audit_stream,
    ):
        assert f"`{stream.replace('_ns_', '_<ns>_')}`" in NAMES
    for bucket in (names.state_bucket, names.members_bucket, names.blobs_store):
        assert f"`{bucket.replace('_ns_', '_<ns>_')}`" in NAMES


def test_statuses_are_as_written() -> None:
    assert ", ".join(f"`{status.value}`" for status in Status) in NAMES
    assert {status.name for status in Status} == {one.name for one in WorkflowExecutionStatus}


def test_metrics_are_as_written() -> None:
    section = NAMES.partition("## Metrics")[2]
    exposed = metrics.exposition().decode()
    found = set(re.findall(r"^# TYPE (perdure_\w+)", exposed, re.M))
    made = {name for name in found if not name.endswith("_created")}
    assert set(re.findall(r"`(perdure_\w+)`", section)) == made


def test_commands_are_as_written() -> None:
    section = NAMES.partition("## Commands")[2].partition("##")[0]
    known: Any = typer.main.get_command(app)
    for name, command in known.commands.items():
        assert command.hidden or re.search(rf"`(perdure )?{name}`", section), name
