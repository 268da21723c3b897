"""The suite's policy: slow cases only with --full, and every skip listed with its reason at the end (see policy.py)."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections import Counter

import pytest

import policy

os.environ.setdefault("MPLBACKEND", "Agg")
MPL_FOLDER = tempfile.TemporaryDirectory(prefix="weft-mpl-")  # a read-only home must not matter
os.environ.setdefault("MPLCONFIGDIR", MPL_FOLDER.name)

os.environ.setdefault("WEFT_DEVICE", "cpu")  # tests name the others

# A suite that is started in the background inherits an ignored Ctrl-C, and some tests press it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="run the slow cases too")
    parser.addoption("--device", default="emulated", help="where tests of kernels run: emulated, or cuda on a GPU")


def pytest_configure(config):
    # Most of the time that kernels take on the emulated device goes to compiling them; they run on little.
    if not config.getoption("--full"):
        os.environ.setdefault("WEFT_EMULATED_OPTIMIZE", "g")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--full"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    config.stash[LEFT_OUT] = len(slow)


@pytest.fixture(scope="module", autouse=True)
def _imported_objects_are_not_searched():
    """What a file's imports and pytest itself hold is put aside: a collection of garbage would look at all of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def device(request):
    """Where a test of kernels runs: "emulated", or what --device says."""
    return request.config.getoption("--device")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        policy.require(*mark.args)


def failed_instead(report):
    """A skip that is not excused becomes a failure."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if report.outcome == "skipped" and not hasattr(report, "wasxfail") and policy.unexcused(reason):
        report.outcome = "failed"
        report.longrepr = f"{reason}: with WEFT_DATA or CI set that is a failure"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return failed_instead((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return failed_instead((yield))


def pytest_terminal_summary(terminalreporter, config):
    reasons = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] += 1
    left_out = config.stash.get(LEFT_OUT, 0)
    if reasons or left_out:
        terminalreporter.section("not run")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count:5d} skipped: {reason}")
    if left_out:
        terminalreporter.line(f"{left_out:5d} slow cases left out: make test-full runs them")
