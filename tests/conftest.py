"""For all tests: a skipped one is expected with a reason here, or the run fails."""

from __future__ import annotations

import pytest

from devtools import translations

EXPECTED_SKIPS: dict[str, str] = {}
"""How a test's id begins → why it may be skipped."""

_unexpected: list[str] = []


@pytest.fixture(autouse=True, scope="session")
def catalogues() -> None:
    """What the web pages say in other languages is made, as a package's build does."""
    translations.compiled()


def _expected(nodeid: str) -> bool:
    return any(nodeid.startswith(start) for start in EXPECTED_SKIPS)


def _note(nodeid: str, report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and not _expected(nodeid):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        _unexpected.append(f"{nodeid}: {reason}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Look at each test's outcome."""
    _note(report.nodeid, report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Look at modules that skip themselves."""
    _note(report.nodeid, report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that would pass without the tests it skipped."""
    if _unexpected and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skips that made the run fail."""
    for line in _unexpected:
        terminalreporter.write_line(f"unexpected skip: {line}", red=True)
