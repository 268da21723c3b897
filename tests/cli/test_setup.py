"""tools/setup.sh names what is missing and chooses the CUDA extra, before anything is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from policy import HANG

SETUP = Path(__file__).resolve().parents[2] / "tools" / "setup.sh"
BASH = shutil.which("bash")


@pytest.fixture
def sandbox(tmp_path):
    """A checkout with nothing but the script, and a PATH with nothing but the tools it calls."""
    (tmp_path / "tools").mkdir()
    shutil.copy(SETUP, tmp_path / "tools")
    (tmp_path / "bin").mkdir()
    for name in ("bash", "cat", "dirname", "find", "head", "mkdir", "mv", "rm", "touch"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    command(tmp_path, "apt-get", "exit 0")
    return tmp_path


def command(folder, name, body):
    path = folder / "bin" / name
    path.write_text(f"#!{BASH}\n{body}\n")
    path.chmod(0o755)


def setup(folder, *extras, **env):
    clean = {k: v for k, v in os.environ.items() if k not in ("CI", "CXX", "PYTHON", "WEFT_REQUIRE_NATIVE")}
    return subprocess.run(
        [str(folder / "tools" / "setup.sh"), *extras],
        env={**clean, "PATH": str(folder / "bin"), **env}, capture_output=True, text=True, timeout=HANG,
    )  # fmt: skip


def test_no_python(sandbox):
    done = setup(sandbox)
    assert done.returncode == 1
    assert "needs Python >= 3.11" in done.stderr
    assert "sudo apt-get install -y python3 python3-venv python3-dev g++ make" in done.stderr


def test_an_old_python(sandbox):
    command(sandbox, "python3", '[[ "$1" == --version ]] && echo "Python 3.9.2"; [[ "$1" == --version ]]')
    done = setup(sandbox)
    assert done.returncode == 1
    assert "found Python 3.9.2" in done.stderr


def test_no_venv_module(sandbox):
    command(sandbox, "python3", 'case "$2" in *venv*) exit 1;; esac; [[ "$1" != --version ]] || echo "Python 3.11.2"')
    done = setup(sandbox)
    assert done.returncode == 1
    assert "Python 3.11.2 has no venv module" in done.stderr and "apt-get install" in done.stderr


def fake_venv(folder):
    """A .venv whose Python is this one, but whose pip only writes down what it was asked for."""
    log = folder / "asked"
    fake = folder / ".venv" / "bin" / "python"
    fake.parent.mkdir(parents=True)
    fake.write_text(f'#!{BASH}\nif [[ "$2" == pip ]]; then echo "$@" >> {log}; exit; fi\nexec {sys.executable} "$@"\n')
    fake.chmod(0o755)
    command(folder, "python3", f'exec {sys.executable} "$@"')
    for name in ("pyproject.toml", "setup.py", "CMakeLists.txt"):
        (folder / name).touch()
    (folder / "csrc").mkdir()
    (folder / "kernels").mkdir()
    return log


def test_no_compiler_is_a_warning_and_in_ci_an_error(sandbox):
    fake_venv(sandbox)
    done = setup(sandbox)
    assert "No C++ compiler" in done.stderr and "apt-get install" in done.stderr
    assert done.returncode == 0
    assert setup(sandbox, CI="true").returncode == 1


@pytest.mark.parametrize(("driver", "extra"), [("535.104.05", "cuda12"), ("580.65.06", "cuda13"), ("590.1", "cuda13")])
def test_the_driver_chooses_the_extra(sandbox, driver, extra):
    log = fake_venv(sandbox)
    command(sandbox, "g++", "exit 0")
    command(sandbox, "nvidia-smi", f"echo {driver}")
    assert setup(sandbox, "examples", "gpu").returncode == 0
    asked = log.read_text()
    assert "weft[examples]" in asked and f"weft[{extra}]" in asked


def test_no_driver_no_extra_and_no_work_twice(sandbox):
    log = fake_venv(sandbox)
    command(sandbox, "g++", "exit 0")
    assert setup(sandbox, "test", "gpu").returncode == 0
    asked = log.read_text()
    assert "weft[test]" in asked and "cuda" not in asked
    assert setup(sandbox, "test", "gpu").returncode == 0
    added = log.read_text().removeprefix(asked)
    assert "weft[test]" not in added and "setuptools" not in added
