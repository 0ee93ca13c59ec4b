"""Names derived from names."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.ids import (
    SLOTS,
    check_id,
    check_namespace,
    decode_token,
    encode_token,
    run_id_for,
    slot_of,
)


@given(st.text().filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_tokens_go_there_and_back(text: str) -> None:
    token = encode_token(text)
    assert all(c.isascii() and (c.isalnum() or c in "_-=") for c in token)
    if text:
        assert decode_token(token) == text


@pytest.mark.parametrize(
    ("text", "token"), [("order-1", "order-1"), ("order:123", "order=3A123"), ("é", "=C3=A9")]
)
def test_tokens(text: str, token: str) -> None:
    assert (encode_token(text), decode_token(token)) == (token, text)


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("a b", "not an encoded token: 'a b'"),
        ("", "not an encoded token: ''"),
        ("a=3", "not an encoded token: 'a=3' (at 1)"),
        ("a=3a", "not an encoded token: 'a=3a' (at 1)"),
        ("=3A.", "not an encoded token: '=3A.' (at 3)"),
        ("=41", "not the canonical token of 'A': '=41'"),
    ],
)
def test_what_is_no_token(token: str, text: str) -> None:
    with pytest.raises(ValueError) as error:
        decode_token(token)
    assert str(error.value) == text


def test_a_token_of_bytes_that_are_no_text() -> None:
    with pytest.raises(ValueError, match="codec can't decode"):
        decode_token("=FF")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "id must be a string, not int"),
        ("", "id cannot be empty"),
        ("a\nb", "id must be printable text, got 'a\\nb'"),
        ("\ud800", "id must be printable text, got '\\ud800'"),
        ("é" * 257, "id is 514 bytes long, the limit is 512"),
    ],
)
def test_bad_ids(value: object, text: str) -> None:
    with pytest.raises(ValueError) as error:
        check_id(value, "id")
    assert str(error.value) == text


def test_good_names() -> None:
    assert check_id("order 1 é", "id") == "order 1 é"
    assert check_namespace("a-1") == "a-1"
    with pytest.raises(ValueError, match=r"namespace must match .*, got 'A'"):
        check_namespace("A")


def test_slots_and_run_ids_never_change() -> None:
    assert [slot_of(text) for text in ("order-1", "order-2", "é")] == [60, 29, 39]
    assert len({slot_of(f"w{n}") for n in range(2000)}) == SLOTS
    run = run_id_for("req-1", 1_790_000_000_000_000_000)
    assert run == "01a0c450-6c00-7d24-b3c4-62403e6c9ff3"
    assert run != run_id_for("req-2", 1_790_000_000_000_000_000)
    assert uuid.UUID(run).version == 7 and uuid.UUID(run).variant == uuid.RFC_4122


def test_an_id_that_prints_and_is_no_unicode() -> None:
    class Printable(str):
        def isprintable(self) -> bool:
            return True

    with pytest.raises(ValueError, match="id is not valid Unicode"):
        check_id(Printable("\ud800"), "id")
