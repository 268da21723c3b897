"""`make gpu` on a machine without a GPU: phases keep to their time, fail alone, and leave their results packed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tarfile
from types import SimpleNamespace

import pytest

from policy import HANG, ROOT

spec = importlib.util.spec_from_file_location("gpu_command", ROOT / "tools" / "gpu.py")
gpu = importlib.util.module_from_spec(spec)
sys.modules["gpu_command"] = gpu  # dataclasses look their module up
spec.loader.exec_module(gpu)

SAY = [sys.executable, "-c", "print('first'); print('last words')"]


def command(monkeypatch, tmp_path, phases, *words):
    monkeypatch.setattr(gpu, "PHASES", phases)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "emulated", "--out", str(tmp_path), *words])
    code = gpu.main()
    return code, {row["phase"]: row for row in json.loads((tmp_path / "summary.json").read_text())["rows"]}


def test_every_phase_runs_and_the_table_comes_last(monkeypatch, tmp_path, capsys):
    code, rows = command(monkeypatch, tmp_path, [gpu.Phase("one", SAY, 20), gpu.Phase("two", SAY, 20, ["gpu"])])
    assert code == 0
    assert rows["one"]["outcome"] == "ok" and rows["one"]["said"] == "last words"
    assert rows["two"]["outcome"] == "left out: needs a GPU"
    assert capsys.readouterr().out.splitlines()[-1].startswith("results:")
    with tarfile.open(tmp_path / "results.tar.gz") as archive:
        assert set(archive.getnames()) == {"one.log", "summary.json"}


def test_a_failure_and_a_hang_cost_the_others_nothing(monkeypatch, tmp_path):
    sleep = f"import time; time.sleep({2 * HANG})"
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{sleep}']); {sleep}"
    phases = [
        gpu.Phase("fails", [sys.executable, "-c", "raise SystemExit(3)"], HANG),
        gpu.Phase("absent", ["/no/such/program"], HANG),
        gpu.Phase("hangs", [sys.executable, "-c", child], 1),
        gpu.Phase("works", SAY, HANG),
    ]
    start = gpu.time.monotonic()
    code, rows = command(monkeypatch, tmp_path, phases, "--minutes", str(HANG / 10))
    assert code == 1 and gpu.time.monotonic() - start < 2 * HANG, "a sleeper was waited for"
    assert [rows[name]["outcome"].split(":")[0] for name in rows] == ["failed (3)", "failed", "out of time", "ok"]


def test_the_whole_ends_inside_its_minutes(monkeypatch, tmp_path):
    """By a clock of the test's own, on which each phase takes all that it is given."""
    now, given = [0.0], []

    def run(phase, fill, seconds, log):
        given.append(seconds)
        now[0] += seconds
        return "out of time", seconds, ""

    monkeypatch.setattr(gpu, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(gpu, "run", run)
    phases = [gpu.Phase(f"s{i}", SAY, 30) for i in range(4)]
    code, rows = command(monkeypatch, tmp_path, phases, "--minutes", str((gpu.RESERVE + 37) / 60))
    assert code == 1 and given == pytest.approx([30, 7])
    assert [r["outcome"] for r in rows.values()] == ["out of time"] * 2 + ["left out: no time left"] * 2


@pytest.mark.parametrize("phase", gpu.PHASES, ids=lambda p: p.name)
def test_every_command_names_files_that_exist(phase):
    for word in phase.command:
        if word.endswith(".py"):
            assert (ROOT / word).exists(), word


def test_the_budgets_fit(monkeypatch):
    measured = [p for p in gpu.PHASES if "compute-sanitizer" not in p.needs]
    assert sum(p.seconds for p in measured) <= 11 * 60  # most end early; what comes last gives way


def test_without_a_gpu_it_says_so():
    run = subprocess.run([sys.executable, "tools/gpu.py"], cwd=ROOT, capture_output=True, text=True, env={"PATH": ""})
    assert run.returncode == 2 and "expected an NVIDIA GPU" in run.stdout
