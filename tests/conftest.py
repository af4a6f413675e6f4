"""Rules for every test: under continuous integration no test is skipped, and none depends on how fast the machine is.

What is only about speed stands here too: statements compiled once, and the collector, which has nothing to find in
thousands of tests and modules that stay, kept from looking through them.

With CI or OPENPREPAY_NO_SKIP set (to anything but "", "0" or "false") a skip becomes a failure that carries the skip's
reason; elsewhere it stays a skip. An expected failure (xfail) is not a skip: the test ran.
"""

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests import compiled

_OFF = {"", "0", "false", "no"}
NO_SKIP = any(os.environ.get(name, "").lower() not in _OFF for name in ("CI", "OPENPREPAY_NO_SKIP"))

# Hypothesis: no deadline for an example; under CI the same examples on every run.
settings.register_profile("openprepay", settings.get_profile("ci" if NO_SKIP else "default"), deadline=None)
settings.load_profile("openprepay")

compiled.share()
gc.disable()  # until everything is collected


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips itself, or is marked to be skipped."""
    report = yield
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole file that skips itself while it is imported."""
    report = yield
    if NO_SKIP and report.skipped:
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was skipped, and under CI no test may be. {reason}"
