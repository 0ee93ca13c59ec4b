"""The protocol parser and the small codecs around it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from perdure.adapters.jetstream.dedup import message_id
from perdure.adapters.jetstream.errors import ApiError, denied_subject, err_code_of, port_error
from perdure.adapters.jetstream.mux import command
from perdure.adapters.jetstream.options import ConnectOptions
from perdure.adapters.jetstream.pull import parse_ack
from perdure.adapters.jetstream.reads import format_time, parse_time
from perdure.adapters.jetstream.wire import Message, WireClient, decode_headers, encode_headers
from perdure.ports.errors import (
    AlreadyExists,
    Conflict,
    PortError,
    StoreFull,
    TooLarge,
    Unavailable,
    UnknownOutcome,
)

HEADERS = st.dictionaries(
    st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True),
    st.text(st.characters(exclude_categories=("C", "Z")), max_size=20),
    max_size=4,
)
BODIES = st.one_of(st.binary(max_size=40), st.just(b"\r\nMSG a 1 3\r\nabc\r\n"))
MESSAGES = st.lists(st.tuples(HEADERS, BODIES, st.booleans()), max_size=6)


class Listening(WireClient):
    """A client whose subscription 1 is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Message] = []
        self._direct[1] = self.got.append


def on_the_wire(headers: dict[str, str], body: bytes, reply: bool) -> bytes:
    answer = b" answer.here" if reply else b""
    if not headers:
        return b"MSG a.b 1%b %d\r\n%b\r\n" % (answer, len(body), body)
    head = encode_headers(headers)
    size = len(head)
    return b"HMSG a.b 1%b %d %d\r\n%b%b\r\n" % (answer, size, size + len(body), head, body)


@given(MESSAGES, st.integers(1, 50))
def test_messages_survive_any_cut(
    messages: list[tuple[dict[str, str], bytes, bool]], cut: int
) -> None:
    async def run() -> list[Message]:
        client = Listening()
        stream = b"+OK\r\n".join(on_the_wire(*one) for one in messages)
        while stream:
            await client.feed(stream[:cut])
            stream = stream[cut:]
        return client.got

    got = asyncio.run(run())
    assert [(one.headers, one.data, one.reply) for one in got] == [
        (headers, body, "answer.here" if reply else "") for headers, body, reply in messages
    ]


@pytest.mark.parametrize("garbage", [b"HELLO\r\n", b"MSG a\r\n", b"MSG a 1 x\r\n", b"HMSG 1 2\r\n"])
def test_garbage_is_a_protocol_error(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        asyncio.run(Listening().feed(garbage))


def test_a_status_and_its_words() -> None:
    head = b"NATS/1.0 409 Leadership Change\r\nNats-Pending-Messages: 7\r\n\r\n"
    message = Message(b"a", b"", b"", head)
    assert (message.status, message.description) == (409, "Leadership Change")
    assert message.headers == {"Nats-Pending-Messages": "7"}
    assert Message(b"a", b"", b"", b"NATS/1.0 503\r\n\r\n").status == 503
    assert Message(b"a", b"", b"", encode_headers({"A": "b"})).status == 0
    assert Message(b"a", b"", b"", b"").description == ""


@given(HEADERS)
def test_headers_come_back(headers: dict[str, str]) -> None:
    assert decode_headers(encode_headers(headers)) == headers


@given(st.integers(0, 9_000_000_000_000_000_000))
def test_times_come_back(nanoseconds: int) -> None:
    assert parse_time(format_time(nanoseconds)) == nanoseconds


def test_times_as_go_writes_them() -> None:
    assert parse_time("1970-01-01T00:00:01Z") == 1_000_000_000
    assert parse_time("1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert parse_time("1970-01-01T02:00:00.000000001+02:00") == 1
    assert format_time(1) == "1970-01-01T00:00:00.000000001Z"


def test_acknowledgement_subjects() -> None:
    old = b"$JS.ACK.PERDURE_a_LOG.q-1.3.41.7.1795278171207344435.9"
    new = b"$JS.ACK.hub.ACCHASH.PERDURE_a_LOG.q-1.3.41.7.1795278171207344435.9.rand"
    assert parse_ack(old) == parse_ack(new) == (3, 41, 1795278171207344435)
    assert parse_ack(new.rpartition(b".")[0]) == (3, 41, 1795278171207344435)


@pytest.mark.parametrize(
    ("code", "err_code", "text", "kind"),
    [
        (400, 10071, "wrong last sequence: 4", Conflict),
        (400, 10164, "wrong last sequence", UnknownOutcome),
        (503, 10163, "expected last sequence per subject temporarily unavailable", UnknownOutcome),
        (409, 10158, "duplicate message id is in process", UnknownOutcome),
        (503, 10077, "maximum messages per subject exceeded", AlreadyExists),
        (503, 10077, "maximum bytes exceeded", StoreFull),
        (503, 10023, "insufficient resources", StoreFull),
        (500, 10047, "insufficient storage resources available", StoreFull),
        (400, 10054, "message size exceeds maximum allowed", TooLarge),
        (400, 10097, "header size exceeds maximum allowed of 64k", TooLarge),
        (503, 10008, "JetStream system temporarily unavailable", Unavailable),
        (503, 10039, "JetStream not enabled for account", Unavailable),
        (404, 10059, "stream not found", Unavailable),
        (400, 19999, "news", Unavailable),
    ],
)
def test_the_table_of_errors(code: int, err_code: int, text: str, kind: type[PortError]) -> None:
    error = port_error(ApiError(code, err_code, text), "publish to x")
    assert isinstance(error, kind)
    assert text in str(error)
    assert "publish to x" in str(error)
    assert err_code_of(error) == err_code


def test_denied_subjects() -> None:
    text = 'nats: Permissions Violation for Publish to "a.b"'
    assert denied_subject(text) == "a.b"
    assert denied_subject("nats: stale connection") is None


def test_identities_depend_on_subject_and_word() -> None:
    assert message_id("a", "b") == message_id("a", "b")
    assert len({message_id("a", "b"), message_id("b", "a"), message_id("a", "c")}) == 3


def test_commands() -> None:
    assert command("a", "", b"", b"xy") == b"PUB a  2\r\nxy\r\n"
    assert command("a", "r", b"HH", b"xy") == b"HPUB a r 2 4\r\nHHxy\r\n"


def test_options_hide_secrets_and_know_domains() -> None:
    options = ConnectOptions(servers=["nats://me:secret@a:4222", "b:1"], domain="hub")
    assert options.addresses == "nats://a:4222, nats://b:1"
    assert options.api == "$JS.hub.API"
    assert ConnectOptions().api == "$JS.API"
    assert ConnectOptions(api_prefix="js.over.there").api == "js.over.there"
