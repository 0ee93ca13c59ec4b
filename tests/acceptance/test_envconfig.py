"""A program connects to whatever its surroundings name."""

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from perdure.envconfig import ClientConfig
from perdure.exceptions import InvalidInputError

load = ClientConfig.load_client_connect_config


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("PERDURE_SERVER", "NATS_URL", "PERDURE_CONTEXT", "NATS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)


def write_context(folder: Path, name: str, **values: object) -> None:
    (folder / "nats" / "context").mkdir(parents=True, exist_ok=True)
    (folder / "nats" / "context" / f"{name}.json").write_text(json.dumps(values))


def test_there_is_always_an_address() -> None:
    assert load(override_env_vars={}) == {"target_host": "nats://127.0.0.1:4222"}
    config = load(override_env_vars={"PERDURE_SERVER": "", "PERDURE_NAMESPACE": "shop"})
    config.setdefault("target_host", "localhost:7233")
    assert config == {"target_host": "nats://127.0.0.1:4222", "namespace": "shop"}


def test_the_first_that_has_a_value_gives_it(tmp_path: Path) -> None:
    write_context(tmp_path, "staging", url="nats://context", user="c", creds="~/c.creds")
    (tmp_path / "perdure.toml").write_text(
        'server = "nats://file"\nsubject-prefix = "acme"\ntls-first = true\nhealth-port = 1\n'
    )
    variables = {"NATS_CONTEXT": "staging", "NATS_URL": "nats://nats", "NATS_USER": "n"}
    config = load(override_env_vars={**variables, "PERDURE_SERVER": "nats://own"})
    assert config == {
        "target_host": "nats://own",
        "user": "n",
        "credentials": str(Path.home() / "c.creds"),
        "prefix": "acme",
        "tls_first": True,
    }
    assert load(override_env_vars=variables)["target_host"] == "nats://nats"
    assert load("staging", override_env_vars={})["target_host"] == "nats://file"
    assert load("staging", disable_env=True).get("user") == "c"
    only = load(override_env_vars=variables, disable_file=True)
    assert only == {"target_host": "nats://nats", "user": "n"}


def test_certificates_become_a_context(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "perdure test")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=3_650))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    config = load(override_env_vars={"NATS_CA": str(tmp_path / "ca.pem")})
    tls = config.get("tls")
    assert isinstance(tls, ssl.SSLContext)
    assert tls.cert_store_stats()["x509"] == 1


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PERDURE_CONFIG": "missing.toml"}, r"no settings file missing\.toml"),
        ({"NATS_CONTEXT": "nope"}, "no NATS context 'nope'"),
        ({"PERDURE_TLS_FIRST": "maybe"}, "tls_first must be true or false, not 'maybe'"),
        ({"NATS_CERT": "missing.pem"}, "TLS files"),
    ],
)
def test_what_is_named_must_be_there(variables: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        load(override_env_vars=variables)
