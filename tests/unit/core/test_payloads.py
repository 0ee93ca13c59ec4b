"""Payloads own their bytes when they outlive their message."""

import msgspec

from perdure.core.payloads import NULL, own


class Holder(msgspec.Struct):
    value: msgspec.Raw


def test_a_payload_of_its_own() -> None:
    message = b'{"value": {"a": [1]}}'
    read = msgspec.json.decode(message, type=Holder).value
    assert bytes(own(read)) == b'{"a": [1]}'
    assert bytes(own(NULL)) == b"null"
