"""Arguments read by a signature."""

from typing import Any

import pytest
from support.driver import CONVERTER, pack

from perdure.core.definitions import Signature
from perdure.core.errors import InvalidInputError

ONE = Signature(types=(int, str), required=1)


def decode(signature: Signature, *args: Any) -> list[Any]:
    return signature.decode([pack(arg) for arg in args], CONVERTER, "it")


def test_arguments_by_type() -> None:
    assert decode(ONE, 1) == [1]
    assert decode(ONE, 1, "x") == [1, "x"]
    assert decode(Signature(types=(int,), required=1, variadic=True), 1, "x", None) == [
        1,
        "x",
        None,
    ]


@pytest.mark.parametrize(
    ("signature", "args", "text", "field"),
    [
        (ONE, (), "it takes 1 to 2 arguments, got 0", "args"),
        (ONE, (1, "x", 3), "it takes 1 to 2 arguments, got 3", "args"),
        (Signature(), (1,), "it takes 0 argument(s), got 1", "args"),
        (
            Signature(types=(int,), required=1, variadic=True),
            (),
            "it takes at least 1 argument(s), got 0",
            "args",
        ),
        (ONE, (1, 2), "it: argument 2 does not fit: a payload does not fit", "args[1]"),
    ],
)
def test_arguments_that_do_not_fit(
    signature: Signature, args: tuple[Any, ...], text: str, field: str
) -> None:
    with pytest.raises(InvalidInputError) as error:
        decode(signature, *args)
    assert str(error.value).startswith(text)
    assert error.value.field == field


def test_a_converter_that_breaks_is_an_argument_that_does_not_fit() -> None:
    class Broken:
        def to_payload(self, value: Any) -> Any:
            raise AssertionError

        def from_payload(self, payload: Any, hint: Any = Any) -> Any:
            raise KeyError("key of the codec")

    with pytest.raises(InvalidInputError, match="argument 1 does not fit: 'key of the codec'"):
        ONE.decode([pack(1)], Broken(), "it")
