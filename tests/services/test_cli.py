"""The commands, against a namespace that works: a real server and everything in a thread."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from support.nats_server import free_port, running_server
from support.processes import PATIENCE, Processes, known, processes
from typer.testing import CliRunner, Result

from perdure.client import Client
from perdure_services.cli.__main__ import app

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with everything that serves ``shop``."""
    folder = tmp_path_factory.mktemp("cli")
    with running_server(folder) as server, processes(folder / "work") as started:
        dev = started.perdure("dev", "-i", "shop", "-s", server.url, "--health-port", "0")
        dev.wait_for("opened the door")
        yield server.url


@pytest.fixture
def perdure(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Perdure":
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("NATS_URL", url)
    monkeypatch.setenv("COLUMNS", "200")
    return Perdure()


class Perdure:
    """Runs commands in this process."""

    def __call__(self, *arguments: str, code: int = 0, **options: Any) -> Result:
        # The command has an event loop of its own, which a test's may not be around.
        box: list[Result] = []

        def run() -> None:
            box.append(CliRunner().invoke(app, list(arguments), **options))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        result = box[0]
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    def json(self, *arguments: str, **options: Any) -> Any:
        return json.loads(self(*arguments, "--json", **options).stdout)


def until(perdure: Perdure, command: list[str], satisfied: Callable[[Any], object]) -> Any:
    """What a command prints, once it is what somebody waits for."""
    deadline = time.monotonic() + PATIENCE
    while not satisfied(found := perdure.json(*command)):
        assert time.monotonic() < deadline, found
    return found


def test_start_prints_the_id_and_result_the_result(perdure: Perdure) -> None:
    assert perdure("start", "Order", "--id", "o:1", "--input", '"a"').stdout == "o:1\n"
    assert perdure("result", "o:1").stdout == '"paid-a"\n'
    made = perdure.json("start", "Order", "--args", '["b"]')
    assert made["id"].startswith("Order-")
    assert perdure("result", made["id"], "--run", made["run_id"]).stdout == '"paid-b"\n'
    assert perdure("start", "Order", "--input", '["c"]', "--wait").stdout == '"paid-c"\n'


def test_input_comes_from_files_and_pipes_too(perdure: Perdure, tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text('"from-file"')
    done = perdure("start", "Order", "--input", "@order.json", "--wait")
    assert done.stdout == '"paid-from-file"\n'
    done = perdure("start", "Order", "--input", "-", "--wait", input='"piped"')
    assert done.stdout == '"paid-piped"\n'
    assert "cannot read" in perdure("start", "Order", "--input", "@none", code=2).stderr


def test_signals_and_queries(perdure: Perdure) -> None:
    perdure("start", "Approval", "--id", "ap-1", "--input", '"trip"')
    assert perdure("query", "ap-1", "state").stdout == '"waiting"\n'
    perdure("signal", "ap-1", "approve", '"ann"')
    assert perdure("result", "ap-1").stdout == '"trip approved by ann"\n'
    assert perdure("query", "ap-1", "state").stdout == '"approved"\n'
    assert perdure("query", "ap-1", "status").stdout == '"completed"\n'
    assert "nothing" in perdure("query", "ap-1", "nothing", code=2).stderr
    refused = perdure("signal", "ap-1", "approve", "ann", code=2).stderr
    assert "is not JSON" in refused
    assert "not_found" in perdure("signal", "ap-1", "approve", '"bob"', code=2).stderr


def test_a_wait_that_ends_too_soon_is_not_the_workflow_s_end(perdure: Perdure) -> None:
    perdure("start", "Approval", "--id", "ap-2", "--input", '"trip"')
    said = perdure("result", "ap-2", "--timeout", "100ms", code=3).stderr
    assert said.startswith("perdure: timeout: workflow 'ap-2' has no result yet")
    assert perdure.json("cancel", "ap-2", "--reason", "over") == {"id": "ap-2", "status": "cancel"}
    assert perdure("result", "ap-2", code=1).stderr.startswith("perdure: workflow_failure: ")


def test_a_failure_is_exit_code_1_and_shown(perdure: Perdure) -> None:
    failed = perdure("start", "Unlucky", "--id", "u-1", "--args", "[1]", "--wait", code=1)
    assert "no luck with 7" in failed.stderr
    found = perdure.json("describe", "u-1")
    assert found["status"] == "failed"
    assert found["failure"]["cause"]["message"] == "no luck with 7"
    shown = perdure("describe", "u-1").stdout
    assert "ValueError: no luck with 7" in " ".join(shown.split())


def test_describe_shows_what_is_pending(perdure: Perdure, tmp_path: Path) -> None:
    perdure("start", "Gated", "--id", "g-1", "--args", json.dumps([str(tmp_path)]))
    found = until(perdure, ["describe", "g-1"], lambda found: found["pending_activities"])
    assert found["pending_activities"][0]["activity_type"] == "gated"
    shown = perdure("describe", "g-1").stdout
    assert "gated" in shown
    assert "running" in shown
    (tmp_path / "open").touch()
    assert perdure("result", "g-1").stdout == '"attempt 1"\n'


def test_a_terminated_workflow(perdure: Perdure) -> None:
    perdure("start", "Approval", "--id", "t-1", "--input", '"x"')
    perdure("terminate", "t-1", "--reason", "enough")
    assert "enough" in perdure("result", "t-1", code=1).stderr
    assert perdure.json("describe", "t-1")["status"] == "terminated"


def test_history_in_three_forms(perdure: Perdure) -> None:
    perdure("start", "Order", "--id", "h-1", "--input", '"a"', "--wait")
    table = perdure("workflow", "history", "h-1").stdout
    for words in ("workflow started", "→ schedule activity 1", "charge", "→ complete workflow"):
        assert words in table
    events = perdure.json("history", "h-1")["events"]
    assert [event["type"] for event in events] == [
        "workflow_started",
        "schedule_activity",
        "activity_completed",
        "complete_workflow",
    ]
    raw = [json.loads(line) for line in perdure("history", "h-1", "--raw").stdout.splitlines()]
    records = [line["record"] for line in raw if "record" in line]
    assert [record["k"] for record in records] == [0, 1]
    assert [line["sequence"] for line in raw if "event" in line] == [
        seq for record in records for seq in record["applied"]
    ]


def test_lists_can_be_narrowed(perdure: Perdure) -> None:
    perdure("start", "Order", "--id", "l-1", "--input", '"a"', "--wait")
    perdure("start", "Approval", "--id", "l-2", "--input", '"a"')
    every = {row["id"]: row for row in perdure.json("list", "--limit", "1000")}
    assert every["l-1"]["status"] == "completed"
    assert every["l-1"]["closed_at"]
    running = perdure.json("list", "--status", "Running", "--type", "Approval", "--limit", "1000")
    assert "l-2" in {row["id"] for row in running}
    assert {row["type"] for row in running} == {"Approval"}
    newest = perdure.json("list", "--limit", "1")
    assert [row["id"] for row in newest] == ["l-2"]
    assert "l-2" in perdure("list").stdout
    assert "one of running" in perdure("list", "--status", "odd", code=2).stderr
    perdure("terminate", "l-2")


def test_ids_are_taken_once(perdure: Perdure) -> None:
    perdure("start", "Approval", "--id", "twice", "--input", '"a"')
    refused = perdure("start", "Approval", "--id", "twice", "--json", code=2).stderr
    assert json.loads(refused)["error"]["code"] == "already_started"
    again = perdure.json("start", "Approval", "--id", "twice", "--id-policy", "use_existing")
    assert again["id"] == "twice"
    assert "--id-policy" in perdure("start", "X", "--id-policy", "odd", code=2).stderr
    perdure("terminate", "twice")


def test_unknown_workflows_are_refused(perdure: Perdure) -> None:
    for arguments in (["result"], ["describe"], ["history"], ["cancel"], ["query"]):
        more = ["state"] if arguments == ["query"] else []
        said = perdure(*arguments, "nope", *more, code=2).stderr
        assert said.startswith("perdure: not_found: "), said
        assert "'nope'" in said


def test_topology_is_verified_and_applied(perdure: Perdure) -> None:
    assert "as it should be" in perdure("topology", "verify").stdout
    assert perdure.json("topology", "verify") == []
    assert "STREAM" in perdure("topology", "verify", "-n", "other", code=2).stdout
    missing = perdure("list", "-n", "other", code=2).stderr
    assert "there is no namespace 'other'" in missing
    assert "perdure topology apply" in missing
    assert "applied" in perdure("topology", "apply", "-n", "other").stdout
    assert "nothing to do" in perdure("topology", "apply", "-n", "other").stdout
    assert perdure.json("list", "-n", "other") == []


def test_dead_letters_are_looked_at_replayed_and_purged(perdure: Perdure, url: str) -> None:
    async def publish() -> None:
        outsider = await nats.connect(url)
        stream = outsider.jetstream()
        await stream.publish("perdure.default.start.Order.dl-1", b"not json")
        # Its id comes from the message; the type of its argument is wrong only once it runs.
        await stream.publish(
            "perdure.default.start.Order",
            b'{"input": ["x"], "id_policy": "reject_duplicate"}',
            headers={"Nats-Msg-Id": "dl-2"},
        )
        async with await Client.connect(url) as client:
            await known(client, "dl-2")
            await client.get_workflow_handle("dl-2").result()
        await stream.publish(
            "perdure.default.start.Order.dl-2", b'{"id_policy": "reject_duplicate"}'
        )
        await outsider.close()

    perdure("dead-letters", "purge", "--all", "--yes")
    asyncio.run(publish())
    letters = _letters(perdure, 2)
    bad, taken = letters
    assert (bad["kind"], bad["reason"], bad["workflow_id"]) == ("start", "invalid_input", "dl-1")
    assert (taken["reason"], taken["workflow_id"]) == ("already_started", "dl-2")
    assert "body is not JSON" in perdure("dead-letters", "list").stdout
    whole = perdure.json("dead-letters", "show", str(bad["seq"]))
    assert whole["tokens"] == ["Order", "dl-1"]
    assert "no dead letter 999" in perdure("dead-letters", "show", "999", code=2).stderr

    perdure("dead-letters", "replay", str(taken["seq"]))
    again = _letters(perdure, 2)
    assert again[1]["seq"] != taken["seq"], "the replayed request was refused anew"
    assert "--yes" in perdure("dead-letters", "purge", "--all", code=2).stderr
    assert "name letters" in perdure("dead-letters", "purge", code=2).stderr
    assert "deleted 2" in perdure("dead-letters", "purge", "--all", "--yes").stdout
    assert perdure.json("dead-letters", "list") == []


def _letters(perdure: Perdure, count: int) -> list[dict[str, Any]]:
    return until(perdure, ["dead-letters", "list"], lambda found: len(found) >= count)


def test_a_server_that_is_away_is_exit_code_3(perdure: Perdure) -> None:
    away = f"nats://127.0.0.1:{free_port()}"
    said = perdure("list", "-s", away, "--json", code=3).stderr
    error = json.loads(said)["error"]
    assert error["code"] == "unavailable"
    assert away in error["message"]


def test_the_same_as_a_process(perdure: Perdure, url: str, tmp_path: Path) -> None:
    with processes(tmp_path / "work") as started:
        assert isinstance(started, Processes)
        process = started.perdure("start", "Order", "-s", url, "-i", '"p"', "--wait")
        assert process.ended() == 0
        assert '"paid-p"' in process.lines
