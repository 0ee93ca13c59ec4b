"""Whatever a workflow does and whatever happens to it: a replay decides what the live run decided."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from support.driver import Driver
from support.programs import Interpreter, Life, decisions

from perdure.core.commands import ScheduleActivity
from perdure.core.errors import NondeterminismError

TESTS = Path(__file__).parents[2]
THOROUGH = bool(os.environ.get("PERDURE_TEST_ALL"))
pytestmark = pytest.mark.timeout(900)


def effort(examples: int, thorough: int) -> settings:
    """``thorough`` examples with PERDURE_TEST_ALL=1."""
    return settings(
        max_examples=thorough if THOROUGH else examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        derandomize=not THOROUGH,
        database=None,
        print_blob=True,
    )


def lists_of(*parts: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.tuples(*parts).map(list)


LEAVES = st.one_of(
    lists_of(st.just("act"), st.integers(0, 11)),
    lists_of(st.just("timer"), st.integers(0, 20)),
    lists_of(st.just("wait"), st.integers(0, 3), st.none() | st.integers(0, 30)),
    lists_of(st.just("draw")),
    lists_of(st.just("fail")),
)


def _branches(inner: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[list[Any]]:
    def several(*head: Any) -> st.SearchStrategy[list[Any]]:
        return st.lists(inner, min_size=1, max_size=4).map(lambda parts: [*head, *parts])

    return st.one_of(
        several("seq"),
        several("gather", False),
        several("gather", True),
        several("group"),
        several("race"),
        lists_of(st.just("try"), inner, inner, inner),
        lists_of(st.just("loop"), st.integers(1, 3), inner),
        lists_of(st.just("scope"), inner, inner),
        lists_of(st.just("within"), st.integers(1, 20), inner),
        lists_of(st.just("shield"), inner),
    )


PROGRAMS = st.recursive(LEAVES, _branches, max_leaves=10)
LIVES = st.lists(st.integers(0, 24 * 60), max_size=20)


@effort(40, 3000)
@given(PROGRAMS, LIVES, st.data())
def test_replay_from_any_prefix_decides_the_same(
    program: list[Any], life: list[int], data: st.DataObject
) -> None:
    driver = Life(program).live(life)
    try:
        event(f"ends as {type(driver.instance.close).__name__}")
        length = len(driver.log)
        driver.check([0, data.draw(st.integers(0, length)), length])
        driver.check([length], batch=data.draw(st.integers(2, 5)))
    finally:
        driver.instance.dispose()


@effort(40, 2000)
@given(PROGRAMS, LIVES, st.sampled_from(["change", "drop", "swap", "insert", "timer"]), st.data())
def test_changed_code_is_noticed_at_its_event(
    program: list[Any], life: list[int], mutation: str, data: st.DataObject
) -> None:
    driver = Life(program).live(life)
    own = [
        (step.seq, command)
        for step in driver.log
        for command in step.commands
        if isinstance(command, ScheduleActivity) and command.activity_type != "draw"
    ]
    driver.instance.dispose()
    assume(own)
    seq, command = data.draw(st.sampled_from(own))

    class Changed(Interpreter):
        mutation = (0, "")

    Changed.mutation = (int(command.activity_type[1:]), mutation)
    changed = Driver(_definition_with(driver, Changed))
    changed.started, changed.log = driver.started, driver.log
    with pytest.raises(NondeterminismError) as error:
        changed.replayed()
    assert error.value.event == seq
    assert error.value.expected != error.value.actual
    assert error.value.expected in str(error.value) and error.value.actual in str(error.value)
    assert f"nondeterminism at event {seq}" in str(error.value)


def _definition_with(driver: Driver, cls: type) -> Any:
    return replace(driver.definition, cls=cls)


def test_another_process_decides_the_same() -> None:
    """Another hash seed gives other orders of sets of text, and other addresses."""
    cases: list[Any] = []

    @effort(30, 400)
    @given(PROGRAMS, LIVES)
    def collect(program: list[Any], life: list[int]) -> None:
        cases.append([program, life])

    collect()
    here: list[str] = []
    for program, life in cases:
        driver = Life(program).live(life)
        here.append(decisions(driver))
        driver.instance.dispose()
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    answer = subprocess.run(
        [sys.executable, "-m", "support.programs"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        cwd=TESTS,
        env={**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(path)},
    )
    assert answer.returncode == 0, answer.stderr
    for one, other in zip(here, json.loads(answer.stdout), strict=True):
        assert one == other
