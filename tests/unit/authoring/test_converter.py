"""The default converter: round trips, the same bytes always, envelopes, and clear refusals."""

import asyncio
import base64
import dataclasses
import ipaddress
import json
import socket
import subprocess
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.authoring import converter_models as models

from perdure.common import RawValue
from perdure.converter import DataConverter, DefaultPayloadConverter, Payload, default
from perdure.core.payloads import NULL
from perdure.exceptions import SerializationError

converter = DefaultPayloadConverter()


def written(value: Any) -> bytes:
    return bytes(converter.to_payload(value))


def read(data: bytes, hint: Any = Any) -> Any:
    return converter.from_payload(msgspec.Raw(data), hint)


@pytest.mark.parametrize(
    ("value", "hint"), models.ROUND_TRIPS, ids=[str(n) for n in range(len(models.ROUND_TRIPS))]
)
def test_round_trips(value: object, hint: object) -> None:
    back = converter.from_payload(converter.to_payload(value), hint)
    assert back == value
    if not isinstance(value, list | dict):
        assert type(back) is type(value)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$payload"), inner),
    max_leaves=20,
)


@given(plain_values)
def test_json_values_round_trip_and_are_json(value: Any) -> None:
    payload = converter.to_payload(value)
    json.loads(bytes(payload))
    assert converter.from_payload(payload) == value
    assert bytes(converter.to_payload(converter.from_payload(payload))) == bytes(payload)


@given(st.binary())
def test_bytes_round_trip(value: bytes) -> None:
    payload = converter.to_payload(value)
    assert converter.from_payload(payload) == value
    assert converter.from_payload(payload, bytes) == value


@given(st.sets(st.text() | st.integers() | st.booleans() | st.none()))
def test_mixed_sets_are_written_in_an_order_of_their_own(value: set[Any]) -> None:
    assert written(value) == written(set(reversed(list(value))))


@given(st.sets(st.text()))
def test_sets_of_text_are_sorted(value: set[str]) -> None:
    assert json.loads(written(value)) == sorted(value)


SETS_EVERYWHERE = """
import sys
sys.path[:0] = sys.argv[1:]
from unit.authoring import converter_models as m
from perdure.converter import DefaultPayloadConverter
words = {f"w{n}" for n in range(20)}
address = m.Address(street="s", labels=words)
values = [
    words, [words], {"k": (words, frozenset(words))}, m.Struct("s", set(range(99, 0, -7))),
    m.Household([m.PERSON.model_copy(update={"home": address})], {"k": words}),
    address, [address], m.Names2(words), m.Open(words=words, nested={"a": [words]}),
    m.Box[m.Address](item=address), {m.Point(n, -n) for n in range(9)}, {"a": 1}.keys() | words,
]
for value in values:
    print(bytes(DefaultPayloadConverter().to_payload(value)).decode())
"""


def test_the_bytes_are_the_same_in_every_process(request: pytest.FixtureRequest) -> None:
    tests = str(request.config.rootpath / "tests")

    def lines(seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", SETS_EVERYWHERE, tests],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    first = lines("1")
    assert len(first.splitlines()) == 12
    assert first == lines("2")


def test_writing_leaves_the_value_as_it_was() -> None:
    household = models.Household([models.PERSON], {"k": {"b", "a"}})
    twin = models.Household([models.PERSON], {"k": {"b", "a"}})
    written(household)
    assert household == twin
    assert isinstance(models.ADDRESS.labels, set)


def test_the_order_of_dicts_is_kept() -> None:
    assert written({"b": 1, "a": {"d": {"y", "x"}, "c": 1}}) == b'{"b":1,"a":{"d":["x","y"],"c":1}}'


def test_none_is_null() -> None:
    assert converter.to_payload(None) is NULL


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"hi", '{"$payload":{"encoding":"binary/plain","metadata":{},"data":"aGk="}}'),
        (memoryview(b"hi"), '{"$payload":{"encoding":"binary/plain","metadata":{},"data":"aGk="}}'),
        (
            {"$payload": 1},
            f'{{"$payload":{{"encoding":"json/plain","data":"{base64.b64encode(b'{"$payload":1}').decode()}"}}}}',
        ),
        ({"a": {"$payload": 1}}, '{"a":{"$payload":1}}'),
        (["$payload"], '["$payload"]'),
        (float("nan"), "null"),
        ([float("inf")], "[null]"),
        (deque([1, {2}]), "[1,[2]]"),
        (OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
        (MappingProxyType({"a": {2, 1}}), '{"a":[1,2]}'),
        ({"b": 1, "a": 2}.keys(), '["a","b"]'),
        (PurePosixPath("/a/b"), '"/a/b"'),
        (ipaddress.ip_address("::1"), '"::1"'),
        (type("Text", (str,), {})("t"), '"t"'),
        (type("Number", (int,), {})(5), "5"),
        (type("Ratio", (float,), {})(0.5), "0.5"),
        ({Exception: 1}.values() and {"when": models.Level.HIGH}, '{"when":2}'),
    ],
)
def test_the_form_on_the_wire(value: object, text: str) -> None:
    assert written(value).decode() == text


@pytest.mark.parametrize(
    "value",
    [{"$payload": 1, "b": 2}, {"b": 2, "$payload": {"encoding": "binary/plain"}}, {"$payload": {}}],
)
def test_a_users_key_is_no_envelope(value: dict[str, Any]) -> None:
    assert read(written(value)) == value
    assert read(written(value), dict[str, Any]) == value


def test_foreign_envelopes() -> None:
    assert read(b' { "$payload" : {"data": "aGk=", "encoding": "binary/plain"} } ') == b"hi"
    inner = base64.b64encode(b'{"retries": 2}').decode()
    wrapped = f'{{"$payload": {{"encoding": "json/plain", "data": "{inner}"}}}}'.encode()
    assert read(wrapped, models.Options) == {"retries": 2}
    assert read(b'{"$payload": 1, "more": 2}') == {"$payload": 1, "more": 2}


def test_raw_values_pass_through() -> None:
    raw = RawValue(msgspec.Raw(b'{"a": 1}'))
    assert converter.to_payload(raw) is raw.payload
    assert converter.to_payload(raw.payload) is raw.payload
    assert converter.from_payload(raw.payload, RawValue) == raw


def test_foreign_types_that_pydantic_reads() -> None:
    assert read(b'"/a/b"', PurePosixPath) == PurePosixPath("/a/b")
    assert read(b'["127.0.0.1"]', list[ipaddress.IPv4Address]) == [
        ipaddress.ip_address("127.0.0.1")
    ]
    assert read(b"[1,2]", Iterable[int]) == [1, 2]
    assert read(b"[1,2]", deque[int]) == deque([1, 2])


class Unknown:
    def __init__(self) -> None:
        self.value = 1


def recursive() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def recursive_with_a_set() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["self"] = [loop, Unknown]
    return loop


def open_socket() -> socket.socket:
    with socket.socket() as one:
        return one


@dataclasses.dataclass
class Broken:
    @property
    def nothing(self) -> int:
        raise RuntimeError

    handle: Any = None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            open_socket,
            "Cannot write a value of type socket: values of type socket.socket have no JSON",
        ),
        (
            lambda: lambda: 1,
            "Cannot write a value of type function: values of type builtins.function",
        ),
        (lambda: {"a": [Unknown()]}, r"of type dict: values of type .*\.Unknown have no JSON form"),
        (lambda: Unknown, "Cannot write a value of type type"),
        (lambda: models.Address, "Cannot write a value of type ModelMetaclass"),
        (lambda: ValueError("x"), "Cannot write a value of type ValueError"),
        (lambda: "\ud800", "of type str: it holds text with a lone surrogate"),
        (lambda: {"a": ["\ud800"]}, "of type dict: it holds text with a lone surrogate"),
        (recursive, "of type list: it contains itself, or is nested too deeply"),
        (recursive_with_a_set, "of type dict: it contains itself, or is nested too deeply"),
        (lambda: {(1, 2): 3}, r"of type dict: a dict has \(1, 2\) as a key"),
        (lambda: [{True: 3}], "of type list: a dict has True as a key"),
        (lambda: [{None: 3}], "of type list: a dict has None as a key"),
        (lambda: 10**5000, "of type int: Exceeds the limit"),
        (lambda: {1j}, "of type set: values of type builtins.complex"),
        (lambda: Broken(handle=object()), "values of type builtins.object"),
    ],
)
def test_what_cannot_be_written_says_what_to_do(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(SerializationError, match=text) as refusal:
        converter.to_payload(make())
    assert refusal.match("Pass JSON-like values, dataclasses")
    assert refusal.value.cause is not None


@pytest.mark.parametrize(
    ("data", "hint", "text"),
    [
        (b'"1"', int, "does not fit the type int: Expected `int`, got `str`"),
        (b"1", None, "does not fit the type None"),
        (b"1", type(None), "does not fit the type NoneType"),
        (b'{"sku": 1}', models.Line, r"type Line: Expected `str`, got `int` - at `\$.sku`"),
        (b"{}", models.Line, "missing required field `sku`"),
        (b'{"lives": "x"}', models.Cat | models.Dog, "does not fit the type .*Cat"),
        (
            b'{"street": "s", "number": 0}',
            models.Address,
            "type Address: number: Input should be greater",
        ),
        (b'[{"street": 1}]', list[models.Address], r"0\.street: Input should be a valid string"),
        (b'{"amount": -1}', models.Checked, "amount: Input should be greater than or equal"),
        (b"{", Any, "does not fit the type Any: Input data was truncated"),
        (b'"\xff"', str, "does not fit the type str"),
        (b"1", Unknown, "does not fit the type Unknown"),
        (b"[" * 5000, Any, "does not fit|nested too deeply"),
        (b'{"$payload": 1}', Any, 'payload with the key "\\$payload" must be'),
        (
            b'{"$payload": {"encoding": "x", "data": "!"}}',
            Any,
            'payload with the key "\\$payload" must',
        ),
        (
            b'{"$payload": {"encoding": "zip", "data": ""}}',
            Any,
            "encoding 'zip', which this converter",
        ),
        (written(b"a"), str, "a binary payload does not fit the type str: annotate it as bytes"),
        (written(b"a"), int, "a binary payload does not fit the type int: annotate it as bytes"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, hint: Any, text: str) -> None:
    with pytest.raises(SerializationError, match=text):
        read(data, hint)


def test_texts_do_not_repeat_the_value() -> None:
    with pytest.raises(SerializationError) as refusal:
        read(b'{"street": ["secret"]}', models.Address)
    assert "secret" not in str(refusal.value)
    with pytest.raises(SerializationError, match=r"fullName: Field required") as refusal:
        read(b'{"people": [{"name": "secret"}]}', models.Household)
    assert "secret" not in str(refusal.value)


def test_deep_values_written_inside_a_running_loop() -> None:
    async def main() -> bytes:
        return written({"a": {"b", "a"}})

    assert asyncio.run(main()) == b'{"a":["a","b"]}'


class Shouting(DefaultPayloadConverter):
    def to_payload(self, value: Any) -> Payload:
        return super().to_payload(value.upper() if isinstance(value, str) else value)


def test_a_data_converter_holds_a_converter_of_its_class() -> None:
    assert default() is DataConverter.default() == DataConverter()
    assert isinstance(default().payload_converter, DefaultPayloadConverter)
    loud = dataclasses.replace(default(), payload_converter_class=Shouting)
    assert bytes(loud.payload_converter.to_payload("a")) == b'"A"'
    assert loud != default()
