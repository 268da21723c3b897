"""Every fault that the doctor knows is named, with the command that mends it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from policy import needs
from weft.cli import doctor
from weft.cli.doctor import FAULT, NOTE, OK


def test_a_sound_machine_is_told_so(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "native", lambda: doctor.Finding("extension", OK, "here"))
    monkeypatch.delenv("WEFT_NUM_THREADS", raising=False)
    assert doctor.run(SimpleNamespace()) == 0
    out = capsys.readouterr().out
    for what in ("versions", "cpu", "blas", "extension", "threads", "packages", "driver", "cuda wheels", "data"):
        assert what in out
    assert out.endswith("nothing at fault\n")


def test_a_fault_makes_the_exit_code(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "native", lambda: doctor.Finding("extension", FAULT, "broken\nline two", "make native"))
    assert doctor.run(SimpleNamespace()) == 1
    out = capsys.readouterr().out
    assert "FAULT  extension    broken" in out and "line two" in out and "mend: make native" in out


def test_the_compilers_words_are_shown(tmp_path, monkeypatch):
    lines = [*(f"line {i}" for i in range(100)), "gemm.cpp:7: error: boom", ""]
    (tmp_path / "_build_error.txt").write_text("\n".join(lines))
    monkeypatch.setattr(doctor, "compiler", lambda: "g++")
    text, mend = doctor.why_no_extension(tmp_path, ImportError("no module"))
    assert text.startswith("did not build; plain NumPy runs") and text.endswith("gemm.cpp:7: error: boom")
    assert len(text.splitlines()) == doctor.ERROR_LINES + 1
    assert "native" in mend or "pip install" in mend


def test_a_missing_compiler_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "compiler", lambda: None)
    text, mend = doctor.why_no_extension(tmp_path, ImportError("no module"))
    assert "no C++ compiler" in text
    assert mend.startswith(doctor.system_install())


def test_an_extension_of_another_python_is_named(tmp_path):
    (tmp_path / "_cpu.cpython-399-x86_64-linux-gnu.so").touch()
    assert "another Python" in doctor.why_no_extension(tmp_path, ImportError("no module"))[0]


@needs("native")
def test_turned_off_is_a_note(monkeypatch):
    monkeypatch.setenv("WEFT_NATIVE", "0")
    monkeypatch.setattr(doctor.Path, "rglob", lambda self, pattern: [])  # a source may just have been edited
    assert doctor.native()[1:] == (NOTE, "turned off by WEFT_NATIVE=0: plain NumPy runs", "unset WEFT_NATIVE")


@pytest.mark.parametrize("wanted", ["0", "-1", "many", "100000"])
def test_impossible_thread_counts(wanted, monkeypatch):
    monkeypatch.setenv("WEFT_NUM_THREADS", wanted)
    finding = doctor.threads()
    assert finding.state == FAULT and f"WEFT_NUM_THREADS={wanted}" in finding.text


def test_data_folder_that_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("WEFT_DATA", str(tmp_path / "nothing"))
    assert doctor.data_sets().state == FAULT
    monkeypatch.setenv("WEFT_DATA", str(tmp_path))
    assert doctor.data_sets().state == OK


def test_blas_settings_are_listed(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    finding = doctor.blas()
    assert finding.state == NOTE and "OPENBLAS_CORETYPE=Haswell" in finding.text
    assert finding.mend == "unset OPENBLAS_CORETYPE"


@pytest.mark.parametrize(
    ("driver", "wheels", "state", "said", "mended"),
    [
        (None, [], OK, "none", ""),
        (None, ["cupy-cuda12x"], OK, "unused", ""),
        (None, ["cupy-cuda12x", "cupy-cuda13x"], FAULT, "both installed", "uninstall -y cupy-cuda12x cupy-cuda13x"),
        (535, [], NOTE, "idle", "'weft[cuda12]'"),
        (580, [], NOTE, "idle", "'weft[cuda13]'"),
        (535, ["cupy-cuda13x"], FAULT, "needs driver 580", "'weft[cuda12]'"),
        (580, ["cupy-cuda12x"], OK, "cupy-cuda12x", ""),
        (590, ["cupy-cuda12x", "cupy-cuda13x"], FAULT, "both installed", "'weft[cuda13]'"),
    ],
)
def test_cuda_wheels(driver, wheels, state, said, mended):
    finding = doctor.cuda_wheels(driver, wheels)
    assert finding.state == state
    assert said in finding.text
    assert mended in finding.mend and bool(mended) == bool(finding.mend)


def test_the_driver_is_asked(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!{sys.executable}\nprint('580.65.06, NVIDIA Test GPU')\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.driver() == (580, "NVIDIA Test GPU")
    tool.write_text(f"#!{sys.executable}\nraise SystemExit(9)\n")
    assert doctor.driver() is None
    assert next(doctor.gpu()).state == FAULT


def test_the_kernel_cache_is_shown(tmp_path, monkeypatch):
    from weft.backends import cache

    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WEFT_CACHE_LIMIT", "5M")
    cache.get("a.cubin", lambda: (bytes(200_000), {}))
    assert doctor.kernel_cache().text == f"1 kernels, 0.2 of 5 MB in {tmp_path / 'cache'}"
    monkeypatch.setenv("WEFT_CACHE_LIMIT", "much")
    what, state, text, mend = doctor.kernel_cache()
    assert state == FAULT and "got 'much'" in text and mend == "unset WEFT_CACHE_LIMIT"
    monkeypatch.delenv("WEFT_CACHE_LIMIT")
    (tmp_path / "file").touch()
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "file" / "cache"))
    what, state, text, mend = doctor.kernel_cache()
    assert state == FAULT and "cannot be written" in text and mend.startswith("export WEFT_CACHE=")


def test_a_missing_kernel_compiler_is_a_fault_beside_a_gpu(monkeypatch):
    from weft.backends import nvrtc

    def version():
        raise nvrtc.Missing("nvrtc: expected NVIDIA's runtime compiler, got none: pip install it")

    monkeypatch.setattr(nvrtc, "version", version)
    for there, state in ((False, OK), (True, FAULT)):
        monkeypatch.setattr(doctor, "found_driver", lambda there=there: there)
        found = doctor.kernel_compiler()
        assert found.state == state and "got none" in found.text and bool(found.mend) == there
