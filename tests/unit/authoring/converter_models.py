"""Types that the converter tests write and read."""

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, NewType, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


NO_KEY = UUID(int=0)
OrderId = NewType("OrderId", str)
type Names = list[str]


class Point(NamedTuple):
    x: int
    y: int = 0


class Options(TypedDict):
    retries: int
    label: NotRequired[str]


@dataclass
class Line:
    sku: str
    count: int = 1
    price: Decimal = Decimal("0")


@dataclass(frozen=True, slots=True)
class Order:
    id: OrderId
    lines: list[Line]
    placed: datetime
    tags: frozenset[str] = frozenset()
    level: Level = Level.LOW
    colour: Colour | None = None
    note: bytes = b""
    key: UUID = NO_KEY


class Struct(msgspec.Struct, frozen=True):
    name: str
    tags: set[int] = set()


class Address(pydantic.BaseModel):
    street: str
    number: Annotated[int, pydantic.Field(gt=0)] = 1
    labels: set[str] = set()


class Person(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    name: str = pydantic.Field(alias="fullName")
    born: date
    home: Address
    others: list[Address] = []


class Box[T](pydantic.BaseModel):
    item: T


class Names2(pydantic.RootModel[set[str]]):
    pass


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")


@pydantic_dataclass
class Checked:
    amount: Annotated[int, pydantic.Field(ge=0)]


@dataclass
class Household:
    people: list[Person]
    extra: dict[str, set[str]] = field(default_factory=dict[str, set[str]])


@dataclass
class Cat:
    lives: int


@dataclass
class Dog:
    name: str


ORDER = Order(
    id=OrderId("o1"),
    lines=[Line("a", 2, Decimal("1.50"))],
    placed=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    tags=frozenset({"x", "y"}),
    level=Level.HIGH,
    colour=Colour.BLUE,
    note=b"\x00\xff",
    key=UUID(int=5),
)
ADDRESS = Address(street="High St", number=3, labels={"b", "a"})
PERSON = Person(fullName="Ada", born=date(1815, 12, 10), home=ADDRESS, others=[ADDRESS])

ROUND_TRIPS: list[tuple[object, object]] = [
    (None, None),
    (True, bool),
    (2**70, int),
    (-(2**70), int),
    (2**70, object),
    (1.5, float),
    ("text", str),
    (b"\x00raw", bytes),
    (b"", bytes),
    (bytearray(b"ab"), bytearray),
    (b"ab", bytes | None),
    (b"ab", str | bytes),
    (b"ab", NewType("Blob", bytes)),
    (None, bytes | None),
    ([1, "a", None], list),
    ({"a": {"b": [1]}}, dict),
    ({1: "a"}, dict[int, str]),
    ((1, "a"), tuple[int, str]),
    ((1, 2, 3), tuple[int, ...]),
    ({3, 1}, set[int]),
    (frozenset({"b", "a"}), frozenset[str]),
    ({Level.LOW}, set[Level]),
    ({(1, "a"), (1, "b")}, set[tuple[int, str]]),
    (Colour.RED, Colour),
    (Level.HIGH, Level),
    ("a", Literal["a", "b"]),
    (OrderId("x"), OrderId),
    (["a"], Names),
    (Point(1, 2), Point),
    ({"retries": 3}, Options),
    (date(2026, 1, 2), date),
    (time(1, 2, 3), time),
    (datetime(2026, 1, 2, 3), datetime),
    (timedelta(days=3, microseconds=5), timedelta),
    (Decimal("1.10"), Decimal),
    (UUID(int=7), UUID),
    (ORDER, Order),
    ([ORDER], list[Order]),
    (ORDER, Order | None),
    (Struct("s", {2, 1}), Struct),
    (ADDRESS, Address),
    (PERSON, Person),
    ([PERSON], list[Person]),
    ({"a": PERSON}, dict[str, Person]),
    (PERSON, Person | None),
    (None, Person | None),
    (Box[int](item=3), Box[int]),
    (Box[Address](item=ADDRESS), Box[Address]),
    (Names2({"b", "a"}), Names2),
    (Checked(3), Checked),
    (Household([PERSON], {"k": {"b", "a"}}), Household),
    (Cat(9), Cat | Dog),
    (Dog("Rex"), Cat | Dog),
    (UUID(int=7), int | UUID | datetime),
]
