"""A pytest plugin: a skip that tests/allowed_skips.txt doesn't list fails the run.

Load it with `-p check_skips` and this folder on PYTHONPATH, as `make test-all` does.
"""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ALLOWED = Path(__file__).resolve().parent.parent / "tests" / "allowed_skips.txt"


def read_allowed(text: str) -> list[str]:
    """The nodeid patterns of an allow list; a pattern without a reason is an error."""
    patterns: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, _, reason = line.partition("  # ")
        if not reason.strip():
            raise pytest.UsageError(f"{ALLOWED.name}:{number}: write `nodeid-glob  # reason`")
        patterns.append(pattern.strip())
    return patterns


def matches(nodeid: str, pattern: str) -> bool:
    """Like a shell's glob, but brackets are literal: parametrized nodeids end in them."""
    return fnmatchcase(nodeid, pattern.replace("[", "[[]"))


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    longrepr = report.longrepr
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


class SkipCheck:
    def __init__(self, allowed: list[str]) -> None:
        self.allowed = allowed
        self.unlisted: dict[str, str] = {}

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # An expected failure is reported as skipped as well.
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        if not any(matches(report.nodeid, pattern) for pattern in self.allowed):
            self.unlisted[report.nodeid] = reason_of(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.unlisted:
            return
        terminalreporter.section("skips that tests/allowed_skips.txt doesn't list", red=True)
        for nodeid, reason in self.unlisted.items():
            terminalreporter.line(f"{nodeid}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    text = ALLOWED.read_text(encoding="utf-8") if ALLOWED.exists() else ""
    config.pluginmanager.register(SkipCheck(read_allowed(text)), "perdure-skip-check")
