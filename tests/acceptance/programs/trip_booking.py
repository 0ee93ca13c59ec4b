"""A trip whose bookings are undone when one of them fails; activities that share a client object."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy
from perdure.envconfig import ClientConfig
from perdure.exceptions import ActivityError, ApplicationError
from perdure.worker import Worker


@dataclass
class BookVacationInput:
    user: str
    car: str
    hotel: str
    attempts: int = 3


@dataclass
class BookVacationOutput:
    text: str
    compensations: list[str] = field(default_factory=list[str])


class Bookings:
    """What is shared by all bookings of a worker."""

    def __init__(self) -> None:
        self.open: list[str] = []

    @activity.defn
    async def book_car(self, input: BookVacationInput) -> str:
        self.open.append(input.car)
        return f"{input.car} for {input.user}"

    @activity.defn
    def book_hotel(self, input: BookVacationInput) -> str:
        if "invalid" in input.hotel:
            raise ValueError("Invalid hotel booking, rolling back!")
        self.open.append(input.hotel)
        return f"{input.hotel} for {input.user}"

    @activity.defn(name="undo_book_car")
    async def undo_car(self, input: BookVacationInput) -> None:
        self.open.remove(input.car)


@workflow.defn(name="BookingWorkflow")
class BookWorkflow:
    def __init__(self) -> None:
        self._step = "nothing"

    @workflow.run
    async def run(self, input: BookVacationInput) -> BookVacationOutput:
        compensations: list[str | Callable[..., Any]] = []
        output = BookVacationOutput("Voyage cancelled")
        try:
            compensations.append("undo_book_car")
            car = await workflow.execute_activity_method(
                Bookings.book_car, input, start_to_close_timeout=timedelta(seconds=10)
            )
            self._step = "car"
            hotel = await workflow.execute_activity_method(
                Bookings.book_hotel,
                input,
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(milliseconds=20),
                    maximum_attempts=input.attempts,
                    non_retryable_error_types=["ValueError"],
                ),
            )
            return BookVacationOutput(f"{car}, {hotel}")
        except ActivityError as error:
            assert isinstance(error.cause, ApplicationError)
            output.text = f"Voyage cancelled: {error.cause.message}"
            for compensation in reversed(compensations):
                output.compensations.append(str(compensation))
                await asyncio.shield(
                    workflow.execute_activity(
                        compensation, input, start_to_close_timeout=timedelta(seconds=10)
                    )
                )
            return output

    @workflow.query
    def step(self) -> str:
        return self._step


async def main() -> None:
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "localhost:7233")
    client = await Client.connect(**config)
    bookings = Bookings()
    worker = Worker(
        client,
        task_queue="booking-task-queue",
        workflows=[BookWorkflow],
        activities=[bookings.book_car, bookings.book_hotel, bookings.undo_car],
        activity_executor=ThreadPoolExecutor(10),
        max_concurrent_activities=10,
        graceful_shutdown_timeout=timedelta(seconds=5),
    )
    running = asyncio.create_task(worker.run())
    for user, hotel in (("Ada", "Ritz"), ("Bob", "invalid inn")):
        input = BookVacationInput(user=user, car=f"car-{user}", hotel=hotel)
        handle = await client.start_workflow(
            BookWorkflow.run, input, id=f"booking-{user}", task_queue="booking-task-queue"
        )
        print(await handle.result())
        print(await handle.query(BookWorkflow.step), bookings.open)
    await worker.shutdown()
    await running


if __name__ == "__main__":
    asyncio.run(main())
