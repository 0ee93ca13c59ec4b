"""Every driver of these tests is replayed from each prefix of its log, and dropped, at the end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.driver import Driver


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    """Make and start a Driver."""
    drivers: list[Driver] = []

    def make(definition: Any, *args: Any, start: bool = True, **started: Any) -> Driver:
        driver = Driver(definition, *args, **started)
        drivers.append(driver)
        if start:
            driver.start()
        return driver

    yield make
    for driver in drivers:
        driver.check()
        driver.check([len(driver.log)], batch=3)
        driver.instance.dispose()
