"""kill -9 of the nats-server right after each durable write of a workflow's life: it goes on as if nothing
had happened. A sample by the printed seed; PERDURE_TEST_ALL=1 kills at every one."""

from pathlib import Path

import pytest
from support.crash_matrix import Case, cases, name_of, see_through

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(900)]


@pytest.mark.parametrize("batch", cases("nats-server", sampled=1), ids=name_of)
async def test_killed_after_any_write(tmp_path: Path, batch: tuple[Case, ...]) -> None:
    await see_through(tmp_path, batch)
