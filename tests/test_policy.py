"""The suite's own rules: what may be skipped where, and that every skip is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

CASES = """
import pytest
from policy import needs

@needs("no_such_module")
def test_a_module(): ...

@needs("data/no-such-set")
def test_a_data_set(): ...

@needs("gpu")
def test_a_gpu(): ...

def test_a_module_imported_late():
    pytest.importorskip("no_such_module")

@pytest.mark.slow
def test_slow(): ...

def test_that_runs(): ...
"""


@pytest.fixture
def suite(tmp_path):
    """A suite of its own under the same rules, on a machine with no GPU."""
    for name in ("conftest.py", "policy.py"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\nmarkers =\n    slow: slow\n    needs: needs\n")

    def run(*words, **env):
        clean = {k: v for k, v in os.environ.items() if k not in ("CI", "WEFT_DATA") and not k.startswith("PYTEST")}
        clean["PATH"] = str(tmp_path)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words], cwd=tmp_path, env={**clean, **env},
            capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


def test_what_is_missing_is_skipped_and_told(suite):
    code, out = suite()
    assert code == 0 and "1 passed, 4 skipped, 1 deselected" in out
    assert "1 skipped: no_such_module is not installed" in out
    assert "1 skipped: no no-such-set in" in out
    assert "1 skipped: no NVIDIA driver" in out
    assert "1 slow cases left out: make test-full runs them" in out


@pytest.mark.parametrize("strict", [{"CI": "true"}, {"WEFT_DATA": "."}])
def test_where_nothing_may_be_missing_it_fails(suite, strict):
    code, out = suite(**strict)
    assert code == 1 and "1 failed, 1 passed, 1 skipped, 1 deselected, 2 errors" in out
    assert "1 skipped: no NVIDIA driver" in out


def test_full_runs_the_slow_cases(suite):
    assert "2 passed, 4 skipped" in suite("--full")[1]
