"""Where settings come from, in which order, and what is said of bad ones."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from perdure_services._shell.durations import parse_duration
from perdure_services._shell.errors import Refused
from perdure_services._shell.settings import CodeSettings, ConnectionSettings, ServiceSettings
from perdure_services.scheduler.settings import SchedulerSettings
from perdure_services.signal_gateway.settings import GatewaySettings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("PERDURE_", "NATS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def write_context(tmp_path: Path, name: str, *, selected: bool = False, **fields: object) -> None:
    folder = tmp_path / "config" / "nats"
    (folder / "context").mkdir(parents=True, exist_ok=True)
    (folder / "context" / f"{name}.json").write_text(json.dumps(fields))
    if selected:
        (folder / "context.txt").write_text(f"{name}\n")


def test_the_order_is_flag_perdure_nats_file_context(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(ConnectionSettings.load().server)

    look()
    write_context(tmp_path, "chosen", selected=True, url="nats://context:1")
    look()
    (tmp_path / "perdure.toml").write_text('server = "nats://file:1"\n')
    look()
    monkeypatch.setenv("NATS_URL", "nats://nats:1")
    look()
    monkeypatch.setenv("PERDURE_SERVER", "nats://perdure:1")
    look()
    seen.append(ConnectionSettings.load(server="nats://flag:1").server)

    assert seen == [
        "nats://127.0.0.1:4222",
        "nats://context:1",
        "nats://file:1",
        "nats://nats:1",
        "nats://perdure:1",
        "nats://flag:1",
    ]


def test_a_named_context_gives_everything_that_nobody_else_gives(tmp_path: Path) -> None:
    write_context(
        tmp_path,
        "prod",
        url="tls://a:4222,tls://b:4222",
        creds="~/prod.creds",
        inbox_prefix="_INBOX_me",
        jetstream_domain="hub",
    )
    options = ConnectionSettings.load(context="prod").connect_options()
    assert options.servers == ("tls://a:4222", "tls://b:4222")
    assert options.credentials == str(Path.home() / "prod.creds")
    assert options.inbox_prefix == "_INBOX_me"
    assert options.api == "$JS.hub.API"


def test_the_nats_environment_is_read_as_its_command_line_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_context(tmp_path, "staging", url="nats://staging:4222")
    monkeypatch.setenv("NATS_CONTEXT", "staging")
    monkeypatch.setenv("NATS_USER", "ann")
    monkeypatch.setenv("NATS_PASSWORD", "hidden-word")
    settings = ConnectionSettings.load()
    options = settings.connect_options()
    assert options.servers == ("nats://staging:4222",)
    assert (options.user, options.password) == ("ann", "hidden-word")
    assert "hidden-word" not in repr(settings)


def test_an_unknown_context_is_refused() -> None:
    with pytest.raises(Refused, match=r"no NATS context 'nope'.*nats context ls"):
        ConnectionSettings.load(context="nope")


def test_a_settings_file_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('namespace = "shop"\nsubject-prefix = "acme"\n')
    monkeypatch.setenv("PERDURE_CONFIG", "other.toml")
    options = ConnectionSettings.load().jetstream_options()
    assert (options.namespace, options.prefix) == ("shop", "acme")
    assert options.subjects.log_stream == "ACME_shop_LOG"
    with pytest.raises(Refused, match=r"no settings file missing\.toml"):
        ConnectionSettings.load(config="missing.toml")
    (tmp_path / "bad.toml").write_text("= 1")
    with pytest.raises(Refused, match="is not TOML"):
        ConnectionSettings.load(config="bad.toml")


def test_words_come_parted_by_commas_or_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_IMPORT", "a.workflows, b:app")
    monkeypatch.setenv("PERDURE_TASK_QUEUE", "fast,slow,fast")
    settings = CodeSettings.load()
    assert settings.imports == ("a.workflows", "b:app")
    assert settings.task_queues == ("fast", "slow")
    assert CodeSettings.load(imports=["c"], task_queues=["one"]).task_queues == ("one",)


def test_a_gateway_starts_on_the_first_of_several_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_TASK_QUEUE", "fast,slow")
    assert GatewaySettings.load().task_queue == "fast"
    assert GatewaySettings.load(task_queue="other").task_queue == "other"
    with pytest.raises(Refused, match="task_queue cannot be empty"):
        GatewaySettings.load(task_queue=",")


def test_an_empty_variable_is_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_SERVER", "")
    monkeypatch.setenv("PERDURE_TASK_QUEUE", "")
    settings = CodeSettings.load()
    assert settings.server == "nats://127.0.0.1:4222"
    assert settings.task_queues == ("default",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"namespace": "Bad!"}, r"namespace: namespace must match"),
        ({"health_port": 70_000}, r"health-port: "),
        ({"log_level": "LOUD"}, r"log-level: .*'LOUD'"),
        ({"grace": "soon"}, r"grace: not a duration: 'soon'"),
        ({"subject_prefix": "a b"}, r"subject-prefix: "),
    ],
)
def test_a_bad_setting_is_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(Refused, match=said):
        ServiceSettings.load(**given)


def test_values_that_the_adapter_refuses_are_refused_as_settings() -> None:
    with pytest.raises(Refused, match="partitions must be one of"):
        ConnectionSettings.load(partitions=5).jetstream_options()


def test_each_role_has_an_inbox_of_its_own() -> None:
    assert SchedulerSettings.load().connect_options().inbox_prefix == "_INBOX_scheduler"
    assert GatewaySettings.load().connect_options().inbox_prefix == "_INBOX_gateway"
    assert ConnectionSettings.load().connect_options().inbox_prefix == "_INBOX_client"


def test_the_gateway_s_reply_prefixes_reach_the_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_REPLY_PREFIXES", "replies,answers.shop")
    options = GatewaySettings.load().jetstream_options()
    assert options.reply_prefixes == ("replies", "answers.shop")


def test_a_server_of_our_own_is_not_told_who_we_are() -> None:
    settings = ConnectionSettings.load(creds="/a.creds", user="ann", password="x", token="y")
    options = settings.reaching("nats://127.0.0.1:9").connect_options()
    assert options.servers == ("nats://127.0.0.1:9",)
    assert (options.credentials, options.user, options.password, options.token) == (None,) * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", timedelta(seconds=90)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("250ms", timedelta(milliseconds=250)),
        ("30d", timedelta(days=30)),
        (timedelta(seconds=3), timedelta(seconds=3)),
    ],
)
def test_durations(text: object, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1", "1x", "nan", "inf", "1e400"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
