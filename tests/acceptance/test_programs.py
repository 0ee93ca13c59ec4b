"""Programs written for Temporal's Python SDK run when their import lines say perdure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.nats_server import RunningServer

pytestmark = pytest.mark.integration

PROGRAMS = Path(__file__).parent / "programs"
OUTPUT = {
    "hello_activity": ["Result: Hello, World!"],
    "hello_signal": ["Result: ['Hello, user1', 'Hello, user2', 'Hello, user3']"],
    "hello_query": [
        "First greeting result: Hello, World!",
        "Second greeting result: Goodbye, World!",
    ],
    "hello_parallel_activity": [
        f"Result: {[f'Hello, user{number}!' for number in range(1, 6)]}",
    ],
    "hello_activity_retry": [
        *(f"Invoking activity, attempt number {attempt}" for attempt in range(1, 5)),
        "Result: Hello, World!",
    ],
    "resume_from_heartbeat": [
        "Item a",
        "Item b",
        "Item c",
        "Resuming behind item 3",
        "Item d",
        "Item e",
        "Result: 5",
    ],
    "trip_booking": [
        "BookVacationOutput(text='car-Ada for Ada, Ritz for Ada', compensations=[])",
        "car ['car-Ada', 'Ritz']",
        "BookVacationOutput(text='Voyage cancelled: Invalid hotel booking, rolling back!', "
        "compensations=['undo_book_car'])",
        "car ['car-Ada', 'Ritz']",
    ],
    "message_passing": [
        "Supported: ['ENGLISH', 'FRENCH']",
        "Reminded",
        "Language: FRENCH",
        "Query failed: True",
        'Result: ["مرحبا بالعالم", "Ada"]',
    ],
}


# What goes wrong in an attempt is told once, with its traceback.
FAILED_ATTEMPTS = {"hello_activity_retry": 3, "resume_from_heartbeat": 1, "trip_booking": 1}


def run_program(name: str, server: RunningServer) -> tuple[list[str], str]:
    """Its lines on stdout, and stderr; as a user who has a server elsewhere."""
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    environment |= {"PERDURE_SERVER": server.url, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "default", str(PROGRAMS / f"{name}.py")],
        env=environment,
        cwd=PROGRAMS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("name", OUTPUT)
def test_a_program_prints_what_it_would_and_nothing_else(name: str, server: RunningServer) -> None:
    output, noise = run_program(name, server)
    assert output == OUTPUT[name]
    failed = FAILED_ATTEMPTS.get(name, 0)
    assert noise.count("Completing activity as failed") == failed
    assert noise.count("Traceback") == failed
    if not failed:
        assert noise == ""


def test_a_cancelled_program_cleans_up(server: RunningServer) -> None:
    output, noise = run_program("hello_cancellation", server)
    assert output[0] == "Heartbeating activity"
    assert [line for line in output if line != "Heartbeating activity"] == [
        "Activity cancelled: True",
        "Executing cleanup activity",
        "Got expected cancellation",
    ]
    assert noise == ""


def test_a_failure_tells_its_causes_and_where_it_was_raised(server: RunningServer) -> None:
    output, noise = run_program("hello_exception", server)
    assert output[0].startswith("ActivityError of compose_greeting: ")
    assert output[1:] == ["RuntimeError: Greeting exception for World!", "raised in: True"]
    assert "Traceback" not in noise, "the failure is the program's to show"
