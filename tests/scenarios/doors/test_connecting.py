"""What ``Client.connect`` makes of its options."""

import logging
import ssl
from typing import Any

import pytest

from perdure.client import Client, InvalidInputError
from perdure.client.connecting import DEFAULT_TARGET, options_of
from perdure.testing.virtual_time import run


def read(target_host: str = DEFAULT_TARGET, **given: Any) -> Any:
    named: dict[str, Any] = {"namespace": "default", "tls": None, "api_key": None}
    named |= {name: given.pop(name) for name in list(given) if name in named}
    return options_of(target_host, **named, others=given)


@pytest.mark.parametrize(
    ("target", "servers"),
    [
        ("nats://a:4222", ("nats://a:4222",)),
        ("tls://a:4222", ("tls://a:4222",)),
        ("ws://a:80", ("ws://a:80",)),
        ("a:4222", ("nats://a:4222",)),
        ("a:1, b:2", ("nats://a:1", "nats://b:2")),
    ],
)
def test_addresses(target: str, servers: tuple[str, ...]) -> None:
    assert read(target).connection.servers == servers


def test_temporal_s_address_means_the_configured_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NATS_URL", "nats://configured:4222")
    with caplog.at_level(logging.WARNING, logger="perdure.client"):
        for _ in range(2):
            assert read("localhost:7233").connection.servers == ("nats://configured:4222",)
    assert len(caplog.records) == 1
    monkeypatch.setenv("PERDURE_SERVER", "nats://own:4222")
    assert read("localhost:7233").connection.servers == ("nats://own:4222",)


def test_security_options_are_translated_and_never_dropped() -> None:
    context = ssl.create_default_context()
    assert read(tls=context).connection.tls is context
    assert isinstance(read(tls=True).connection.tls, ssl.SSLContext)
    assert read(tls=False).connection.tls is None
    assert read(api_key="secret").connection.token == "secret"
    assert read(credentials="a.creds").connection.credentials == "a.creds"
    with pytest.raises(TypeError, match=r"ssl\.SSLContext"):
        read(tls="yes")
    with pytest.raises(TypeError, match="http_connect_proxy_config"):
        read(http_connect_proxy_config=object())


def test_options_without_a_meaning_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="perdure.client"):
        read(keep_alive_config=None)
        read(keep_alive_config=None)
    assert [record.getMessage() for record in caplog.records] == [
        "Client.connect(): keep_alive_config has no meaning on NATS and is ignored"
    ]


def test_adapter_options_go_to_the_adapter_and_others_are_refused() -> None:
    options = read(namespace="shop", prefix="p", partitions=8, user="u")
    assert (options.namespace, options.prefix, options.partitions) == ("shop", "p", 8)
    assert options.connection.user == "u"
    with pytest.raises(TypeError, match="'colour'"):
        read(colour="red")
    with pytest.raises(TypeError, match="interceptors"):
        read(interceptors=[object()])
    with pytest.raises(InvalidInputError, match="partitions"):
        read(partitions=3)


def test_bad_targets_name_their_field() -> None:
    async def scenario() -> None:
        with pytest.raises(InvalidInputError) as caught:
            await Client.connect("")
        assert caught.value.field == "target_host"
        for target in ("http://ann:hidden@nats", "nats:many"):
            with pytest.raises(InvalidInputError, match="host:port") as caught:
                await Client.connect(target)
            assert "hidden" not in str(caught.value)
        with pytest.raises(InvalidInputError) as caught:
            await Client.connect(namespace="No Such")
        assert caught.value.field == "namespace"

    run(scenario())
