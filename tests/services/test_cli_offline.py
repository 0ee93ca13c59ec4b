"""Commands that need no server, and what is said of wrong ones."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from perdure.adapters.jetstream.subjects import Subjects
from perdure.core.durations import MINUTE, SECOND
from perdure.ports.addresses import Stored
from perdure_services._shell.errors import Refused
from perdure_services.cli.__main__ import app
from perdure_services.cli.letters import read_letter, replay_of
from perdure_services.cli.output import compact, shown_duration


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def perdure(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_ids_as_tokens_and_back() -> None:
    assert perdure("id", "encode", "order:123").stdout == "order=3A123\n"
    assert perdure("id", "decode", "order=3A123").stdout == "order:123\n"
    assert "not an encoded token" in perdure("id", "decode", "a.b", code=2).stderr
    assert "cannot be empty" in perdure("id", "encode", "", code=2).stderr


def test_the_topology_is_printed_as_the_server_takes_it() -> None:
    printed = json.loads(perdure("topology", "print", "-n", "shop").stdout)
    names = [stream["name"] for stream in printed["streams"]]
    assert "PERDURE_shop_LOG" in names
    assert "KV_perdure_shop_state" in names


def test_permissions_are_printed_per_role() -> None:
    printed = perdure("permissions", "print", "--role", "worker").stdout
    assert printed.startswith("# worker\npermissions: {")
    assert "perdure.default._wf.*.*.*.in.eng" in printed
    assert "perdure.default._wf.>" not in printed
    every = json.loads(perdure("permissions", "print", "--json").stdout)
    assert set(every) == {"outsider", "client", "scheduler", "worker", "gateway", "admin"}


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["start"], ["start", "X", "--odd"], ["permissions", "print", "--role", "king"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert "Usage:" in perdure(*arguments, code=2).stderr


def test_bad_settings_are_one_line() -> None:
    said = perdure("list", "-n", "Bad!", code=2).stderr
    assert said.startswith("perdure: refused: namespace: ")
    assert said.count("\n") == 1


def test_arguments_come_one_way() -> None:
    said = perdure("start", "X", "--input", "1", "--args", "[1]", code=2).stderr
    assert "not both" in said
    assert "JSON list" in perdure("start", "X", "--args", "1", code=2).stderr


def test_durations_are_short() -> None:
    given = [0.0, 0.25, 1, 61, 3_600, 90_061, 86_405]
    assert [shown_duration(seconds) for seconds in given] == [
        "0ms", "250ms", "1s", "1m 1s", "1h", "1d 1h", "1d",
    ]  # fmt: skip
    assert shown_duration(5 * MINUTE / SECOND) == "5m"
    assert len(compact({"key": "v" * 200})) == 100


def letter(**content: object) -> Stored:
    return Stored(7, 1_000_000_000, json.dumps(content).encode())


def test_a_letter_becomes_the_request_that_it_was() -> None:
    stored = letter(
        kind="start",
        reason="invalid_input",
        message="no",
        tokens=["Order"],
        headers={"Nats-Msg-Id": "m-1", "Perdure-Sender": "ann"},
        body={"input": [1]},
        workflow_id="m:1",
        ingress_seq=3,
    )
    request = replay_of(read_letter(stored), Subjects("default"))
    assert request.subject == "perdure.default.start.Order.m=3A1"
    assert json.loads(request.body) == {"input": [1]}
    assert request.headers == {"Perdure-Sender": "ann", "Perdure-Request-Id": "dead-letter-7"}


def test_a_letter_keeps_its_bytes_and_its_request_id() -> None:
    stored = letter(
        kind="signal",
        tokens=["w-1", "go"],
        headers={"perdure-request-id": "r-1"},
        body_base64="/w==",
        workflow_id="w-1",
        ingress_seq=3,
    )
    request = replay_of(read_letter(stored), Subjects("default"))
    assert (request.subject, request.body) == ("perdure.default.signal.w-1.go", b"\xff")
    assert request.headers == {"perdure-request-id": "r-1"}


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        (letter(reason="unreadable_event", workflow_id="w"), "event"),
        (letter(reason="invalid_arguments", signal="go"), "signal"),
        (Stored(7, 1, b"\xff"), "event"),
    ],
)
def test_other_letters_are_shown_not_replayed(stored: Stored, kind: str) -> None:
    read = read_letter(stored)
    assert read.kind == kind
    with pytest.raises(Refused, match="letter 7 is no request"):
        replay_of(read, Subjects("default"))
