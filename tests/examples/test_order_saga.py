"""The order saga: every step can fail, and what was done is undone in reverse order."""

import asyncio
from typing import TYPE_CHECKING

import order_saga
import pytest
from support.example_world import example_world

from perdure.core.state import Status
from perdure.exceptions import ActivityError, ApplicationError, WorkflowQueryFailedError
from perdure.testing.virtual_time import run

if TYPE_CHECKING:
    from examples.conftest import Outside

WORKFLOW = "OrderSagaWorkflow"


def test_an_order_goes_through(outside: "Outside") -> None:
    async def main() -> None:
        async with example_world(order_saga) as w:
            order = await w.start(WORKFLOW, "order_123")
            assert await w.result(order) == "Order order_123 completed. Tracking: TRACK-ORDER_123"
            assert await w.ask(order, "get_status") == {
                "step": "completed",
                "to_undo": ["refund_payment", "release_inventory"],
            }

    run(main())
    assert outside.done == [
        ("reserve_inventory", "order_123"),
        ("charge_payment", "order_123"),
        ("ship_order", "order_123"),
    ]


@pytest.mark.parametrize(
    ("order", "cause", "done"),
    [
        ("order-no-stock", "OutOfStock", []),
        ("order-no-credit", "PaymentDeclined", ["reserve_inventory", "release_inventory"]),
        (
            "order-no-carrier",
            "NoCarrier",
            ["reserve_inventory", "charge_payment", "refund_payment", "release_inventory"],
        ),
    ],
)
def test_each_failing_step_undoes_the_ones_before_it(
    outside: "Outside", order: str, cause: str, done: list[str]
) -> None:
    async def main() -> None:
        async with example_world(order_saga) as w:
            await w.start(WORKFLOW, order, id=order)
            with pytest.raises(ApplicationError) as raised:
                await w.result(order)
            assert raised.value.message == f"Order {order} failed and was compensated"
            failed = raised.value.cause
            assert isinstance(failed, ActivityError)
            assert isinstance(failed.cause, ApplicationError)
            assert failed.cause.type == cause
            assert await w.ask(order, "get_status") == {"step": "compensated", "to_undo": []}

    run(main())
    assert outside.names == done


def test_what_is_undone_is_what_was_made(outside: "Outside") -> None:
    async def main() -> None:
        async with example_world(order_saga) as w:
            with pytest.raises(ApplicationError):
                await w.result(await w.start(WORKFLOW, "no-carrier"))

    run(main())
    assert outside.done[-2:] == [
        ("refund_payment", "payment-no-carrier"),
        ("release_inventory", "reservation-no-carrier"),
    ]


def test_a_flaky_carrier_is_tried_again(outside: "Outside") -> None:
    async def main() -> None:
        async with example_world(order_saga) as w:
            result = await w.result(await w.start(WORKFLOW, "flaky-1"))
            assert result == "Order flaky-1 completed. Tracking: TRACK-FLAKY-1"

    run(main())
    assert outside.names == ["reserve_inventory", "charge_payment", "ship_order"]


def test_a_cancelled_order_is_compensated_too(
    outside: "Outside", monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        is_shipping = asyncio.Event()

        def hesitate(order_id: str, mark: str, *_: str) -> None:
            if mark == "no-carrier":
                is_shipping.set()
                raise ConnectionError(f"{order_id}: not today")

        monkeypatch.setattr(order_saga, "_refuse", hesitate)
        async with example_world(order_saga) as w:
            order = await w.start(WORKFLOW, "order-1")
            await is_shipping.wait()
            await w.cancel(order, "the customer changed their mind")
            entry = await w.closed(order)
            assert entry.status is Status.CANCELED

    run(main())
    assert outside.names == [
        "reserve_inventory",
        "charge_payment",
        "refund_payment",
        "release_inventory",
    ]


def test_an_unknown_query_names_the_known_ones() -> None:
    async def main() -> None:
        async with example_world(order_saga) as w:
            order = await w.start(WORKFLOW, "order-1")
            await w.result(order)
            with pytest.raises(WorkflowQueryFailedError, match="get_status"):
                await w.ask(order, "get_state")

    run(main())
