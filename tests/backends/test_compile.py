"""Kernels from source to code: declarations, compilers, what errors say, and a cache that nothing may break."""

from __future__ import annotations

import ctypes
import os
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from policy import HANG, needs
from weft.backends import ahead, cache, compile, nvrtc, source

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache of the test's own."""
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WEFT_CACHE_LIMIT", raising=False)
    cache.usable.cache_clear()
    yield tmp_path / "cache"
    cache.usable.cache_clear()


def file(tmp_path, text, name="k.cu"):
    (tmp_path / name).write_text(text)
    return source.read(str(tmp_path / name))


SCALE = """
extern "C" __global__ void scale(float* x, float by, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= by * FACTOR;
}
"""

# ---- declarations


def test_parameters_are_read_as_c_has_them(tmp_path):
    text = """
    // extern "C" __global__ void k(int wrong) in a comment
    extern "C" __global__ void other(int a);
    extern "C" __global__ void __launch_bounds__(THREADS, 2) k(
        const TYPE* __restrict__ x, OUT *out, /* , */ unsigned int flags, const unsigned long long seed,
        Pair<int, float> pair, const __grid_constant__ TensorMap map, SCALAR alpha, float rows[], const Options options)
    """
    defines = {"TYPE": "bf16", "OUT": "REAL", "REAL": "float", "SCALAR": "double"}
    found = source.signature(file(tmp_path, text), "k", defines)
    assert [(p.name, p.type, p.kind, p.size, p.dtypes) for p in found] == [
        ("x", "bf16*", "P", 8, "E"), ("out", "float*", "P", 8, "f"), ("flags", "unsigned int", "I", 4, ""),
        ("seed", "unsigned long long", "Q", 8, ""), ("pair", "Pair<int, float>", "S", 0, ""),
        ("map", "TensorMap", "T", 128, ""), ("alpha", "double", "d", 8, ""), ("rows", "float*", "P", 8, "f"),
        ("options", "Options", "S", 0, ""),
    ]  # fmt: skip
    assert source.signature(file(tmp_path, 'extern "C" __global__ void none(void) {}'), "none", {}) == ()


def test_a_definition_that_names_itself_ends(tmp_path):
    (p,) = source.signature(file(tmp_path, 'extern "C" __global__ void k(A n) {}'), "k", {"A": "B", "B": "A"})
    assert p.kind == "S"


def test_a_missing_kernel_or_file_is_named(tmp_path):
    with pytest.raises(LookupError, match="kernel: expected one of scale of k.cu, got 'scales'"):
        source.signature(file(tmp_path, SCALE + "EXPORT_KERNEL(scale)"), "scales", {})
    with pytest.raises(FileNotFoundError, match=r"expected a file of .*kernels \(.*gemm_simt.cu.*, got 'nix.cu'"):
        source.read("nix.cu")


def test_includes_are_followed_and_counted(tmp_path):
    (tmp_path / "a.cuh").write_text('#include "sub/b.cuh"\n')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.cuh").write_text('  #  include "c.cuh"\n// b')
    (tmp_path / "sub" / "c.cuh").write_text("// c")
    found = file(tmp_path, '#include "a.cuh"\n#include "elsewhere.h"\n#include "types.cuh"\n')
    assert [name for name, _ in found.includes][:3] == ["a.cuh", "sub/b.cuh", "c.cuh"]
    assert "types.cuh" in dict(found.includes) and "elsewhere.h" not in dict(found.includes)
    (tmp_path / "c.cuh").write_text("// another")
    with pytest.raises(ValueError, match="expected one file by the name c.cuh"):
        file(tmp_path, '#include "a.cuh"\n#include "c.cuh"\n')


# ---- NVRTC


@needs("nvrtc")
def test_targets_are_exact():
    assert [nvrtc.target(c) for c in (75, 80, 86, 89, 90, 100, 120)] == [
        "sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120",
    ]  # fmt: skip
    assert nvrtc.target(999) == f"compute_{nvrtc.supported()[-1]}"  # which the driver of that GPU compiles
    with pytest.raises(nvrtc.NvrtcError, match="expected a GPU of capability .* or later, got 3.5"):
        nvrtc.target(35)


@needs("nvrtc")
def test_a_kernel_becomes_a_cubin_with_its_resources(tmp_path, folder):
    text = """
    extern "C" __global__ void __launch_bounds__(64) spill(float* x) {
      float a[200];
      for (int i = 0; i < 200; i++) a[i] = x[i * 64 + threadIdx.x];
      for (int i = 0; i < 200; i++) x[i] += a[(i * int(x[0])) % 200];
    }
    extern "C" __global__ void fixed(float* x) {
      __shared__ float s[256];
      s[threadIdx.x] = x[threadIdx.x];
      __syncthreads();
      x[threadIdx.x] = s[255 - threadIdx.x];
    }
    """
    made = compile.cubin(file(tmp_path, text), {}, 90)
    assert made.code[:4] == b"\x7fELF" and made.target == "sm_90a"
    assert made.resources["spill"].stack >= 800
    fixed = made.resources["fixed"]
    assert (fixed.stack, fixed.spill_stores, fixed.spill_loads, fixed.shared, fixed.barriers) == (0, 0, 0, 1024, 1)
    assert 4 <= fixed.registers <= 32
    again = compile.cubin(file(tmp_path, text), {}, 90)
    assert again == made and len(list(folder.iterdir())) == 1


@needs("nvrtc")
def test_a_gpu_newer_than_the_compiler_gets_ptx(tmp_path, folder):
    made = compile.cubin(file(tmp_path, SCALE), {"FACTOR": "2"}, 999)
    assert b".visible .entry scale" in made.code and made.code.endswith(b"\0")


@needs("nvrtc")
def test_an_error_shows_the_kernels_own_line(tmp_path, folder):
    (tmp_path / "part.cuh").write_text("DEVICE int half(int x) { return x >> one; }\n")
    text = '#define DEVICE __device__\n#include "part.cuh"\n' + SCALE.replace("n) x[i]", "n) y[i]")
    with pytest.raises(compile.CompileError) as caught:
        compile.cubin(file(tmp_path, text), {"FACTOR": "2"}, 80)
    said = str(caught.value)
    assert said.startswith("compile: k.cu for sm_80 did not compile\n")
    assert re.search(r'k\.cu\(6\): error: identifier "y" is undefined\n +if \(i < n\) y\[i\].*\n +\^', said)
    assert re.search(r'part\.cuh\(1\): error: identifier "one" is undefined\n +DEVICE int half.*\n +\^', said)
    assert not list(folder.glob("*.cubin"))


@needs("nvrtc")
def test_arithmetic_is_ieee(tmp_path, folder):
    """No option may ask for fast mathematics: divisions and roots stay correctly rounded, subnormals stay."""
    options = compile.options_of({}, "sm_90a")
    assert not [o for o in options if "fast" in o or "ftz" in o or "prec" in o]
    text = 'extern "C" __global__ void k(float* x) { x[0] = x[1] / x[2] + sqrtf(x[3]) * 1e-40f; }'
    ptx = compile.cubin(file(tmp_path, text), {}, 999).code.decode()
    assert "div.rn.f32" in ptx and "sqrt.rn.f32" in ptx and ".ftz" not in ptx and ".approx" not in ptx


def test_the_compiler_is_none_that_the_driver_is_too_old_for(monkeypatch):
    wheels = ["/w/cu13/lib/libnvrtc.so.13", "/w/cuda_nvrtc/lib/libnvrtc.so.12", "nvrtc64_120_0.dll", "libnvrtc.so"]
    monkeypatch.setattr(nvrtc, "found", lambda: wheels)
    monkeypatch.setattr(nvrtc, "driver_major", lambda: 12)
    assert nvrtc.candidates() == [*wheels[1:], wheels[0]]
    monkeypatch.setattr(nvrtc, "driver_major", lambda: 13)
    assert nvrtc.candidates() == wheels


def test_a_missing_nvrtc_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setattr(nvrtc, "candidates", lambda: ["/nowhere/libnvrtc.so.13"])
    nvrtc.library.cache_clear()
    try:
        words = r"runtime compiler, got none .*libnvrtc.so.13.*: pip install 'weft\[cuda13\]'"
        with pytest.raises(ImportError, match=words):
            nvrtc.library()
    finally:
        nvrtc.library.cache_clear()


# ---- the key


@needs("nvrtc")
def test_whatever_decides_the_code_decides_its_name(tmp_path, folder):
    def entries(text, defines, capability=80):
        compile.cubin(file(tmp_path, text), defines, capability)
        return len(list(folder.glob("*.cubin")))

    included = '#include "part.cuh"\n' + SCALE
    (tmp_path / "part.cuh").write_text("// 1\n")
    assert entries(included, {"FACTOR": "2"}) == 1
    assert entries(included, {"FACTOR": "2"}) == 1
    (tmp_path / "part.cuh").write_text("// 2\n")  # CuPy's own cache would not see this
    assert entries(included, {"FACTOR": "2"}) == 2
    assert entries(included, {"FACTOR": "3"}) == 3
    assert entries(included, {"FACTOR": "3"}, 86) == 4
    assert entries(included + "\n", {"FACTOR": "3"}, 86) == 5


@needs("emulator")
def test_each_level_of_optimisation_has_entries_of_its_own(tmp_path, folder, monkeypatch):
    kernel, commands = file(tmp_path, '#include "common.cuh"\n' + SCALE + "EXPORT_KERNEL(scale)"), []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **rest: commands.append(command) or run(command, **rest))
    for level in (None, "2", "g"):
        if level is None:  # as users have it
            monkeypatch.delenv("WEFT_EMULATED_OPTIMIZE", raising=False)
        else:
            monkeypatch.setenv("WEFT_EMULATED_OPTIMIZE", level)
        compile.emulated(kernel, {"FACTOR": "2"}, arch=80, checked=False)
    levels = [[word for word in command if word.startswith("-O")] for command in commands if "-c" in command]
    assert levels == [["-O2"], ["-Og"]] and len(list(folder.glob("*.so"))) == 2
    monkeypatch.setenv("WEFT_EMULATED_OPTIMIZE", "fast")  # which IEEE arithmetic would not survive
    with pytest.raises(ValueError, match="WEFT_EMULATED_OPTIMIZE: expected 0, g, 1, 2 or 3, got 'fast'"):
        compile.emulated(kernel, {"FACTOR": "2"}, arch=80, checked=False)


def test_keys_know_where_parts_end():
    assert cache.key("ab", "c") != cache.key("a", "bc") != cache.key("abc")
    assert cache.key("a", b"b") == cache.key(b"a", "b")


@needs("nvrtc")
def test_another_compiler_has_entries_of_its_own(tmp_path, folder, monkeypatch):
    compile.cubin(file(tmp_path, SCALE), {"FACTOR": "2"}, 80)
    monkeypatch.setattr(nvrtc, "version", lambda: "nvrtc 99.0 1")
    compile.cubin(file(tmp_path, SCALE), {"FACTOR": "2"}, 80)
    assert len(list(folder.glob("*.cubin"))) == 2


# ---- the cache


def counted(code=b"code" * 100):
    """(a build function, the list of its calls)"""
    calls = []

    def build():
        calls.append(1)
        return code, {"log": "said"}

    return build, calls


def test_an_entry_is_built_once(folder):
    build, calls = counted()
    first = cache.get("a.cubin", build)
    second = cache.get("a.cubin", build)
    assert first == second and second.code == b"code" * 100 and second.record == {"log": "said"} and len(calls) == 1
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "append", "text"])
def test_a_damaged_entry_is_built_again(folder, damage):
    rng = np.random.default_rng()
    for _ in range(20 if damage in ("flip", "cut") else 1):
        build, calls = counted(rng.bytes(500))
        path = cache.get("a.cubin", build).path
        data = bytearray(path.read_bytes())
        if damage == "flip":
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        elif damage == "cut":
            del data[rng.integers(len(data)) :]
        elif damage == "empty":
            data.clear()
        elif damage == "append":
            data += b"more"
        else:
            data[:] = b"not a kernel"
        path.write_bytes(data)
        entry = cache.get("a.cubin", build)
        assert len(calls) == 2 and entry.code == build()[0]
        assert cache.unpack(path.read_bytes()) == (entry.code, entry.record)
        path.unlink()


def test_a_build_that_fails_leaves_nothing(folder):
    def build():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cache.get("a.cubin", build)
    assert not list(folder.iterdir())


def test_the_least_recently_used_entries_go(folder, monkeypatch):
    code = bytes(10_000)
    size = len(cache.pack(code, {"log": "said"}))
    monkeypatch.setenv("WEFT_CACHE_LIMIT", str(10 * size))
    now = time.time()
    for i in range(10):
        path = cache.get(f"{i}.cubin", counted(code)[0]).path
        os.utime(path, (now - 100 + i, now - 100 + i))
    build, calls = counted(code)
    cache.get("0.cubin", build)  # used again: now the newest
    assert not calls
    cache.get("10.cubin", build)
    left = {path.stem for path in folder.glob("*.cubin")}
    assert left == {"0", "3", "4", "5", "6", "7", "8", "9", "10"}
    monkeypatch.setenv("WEFT_CACHE_LIMIT", "1")  # what was just built stays until the next
    assert cache.get("11.cubin", build).path.exists()
    assert [path.stem for path in folder.glob("*.cubin")] == ["11"]


def test_what_a_dead_process_left_goes_and_what_a_living_one_writes_stays(folder, monkeypatch):
    cache.get("a.cubin", counted()[0])
    for name, age in ((".dead.tmp", 7200), (".living.tmp", 5)):
        (folder / name).write_bytes(bytes(1000))
        os.utime(folder / name, (time.time() - age,) * 2)
    monkeypatch.setenv("WEFT_CACHE_LIMIT", "1")
    cache.get("b.cubin", counted()[0])
    assert sorted(path.name for path in folder.iterdir()) == [".living.tmp", "b.cubin"]


@pytest.mark.parametrize("text, size", [("500M", 500 << 20), ("2g", 2 << 30), ("1GB", 1 << 30), ("77", 77)])
def test_limits_are_sizes(monkeypatch, text, size):
    monkeypatch.setenv("WEFT_CACHE_LIMIT", text)
    assert cache.limit() == size


def test_a_limit_that_is_no_size_is_named(monkeypatch):
    monkeypatch.setenv("WEFT_CACHE_LIMIT", "lots")
    with pytest.raises(ValueError, match="WEFT_CACHE_LIMIT: expected bytes, as 500M or 2G, got 'lots'"):
        cache.limit()


def test_a_home_that_cannot_be_written_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "file" / "cache"))
    build, calls = counted()
    first = cache.get("b.cubin", build)
    assert cache.get("b.cubin", build).path == first.path and len(calls) == 1
    assert tmp_path not in first.path.parents and first.path.exists()


def test_a_full_disk_does_not_matter(folder, monkeypatch):
    real = cache.store

    def full(path, code, record):
        if path.parent == folder:
            raise OSError(28, "No space left on device")
        return real(path, code, record)

    monkeypatch.setattr(cache, "store", full)
    assert cache.get("full.cubin", counted()[0]).path.exists()


def test_threads_build_an_entry_once(folder):
    calls = []

    def build():
        calls.append(1)
        time.sleep(0.05)
        return b"code", {}

    threads = [threading.Thread(target=cache.get, args=("t.cubin", build)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(calls) == 1


RACE = """
import hashlib, os, sys
from weft.backends import cache
def code(i):
    return hashlib.sha256(str(i).encode()).digest() * 2000
for turn in range(60):
    for i in range(6):
        entry = cache.get(f"{i}.cubin", lambda: (code(i), {"i": i}))
        if entry.code != code(i) or entry.record != {"i": i}:
            sys.exit(f"entry {i} is another's")
        if turn % 7 == int(sys.argv[1]) % 7:
            try:
                data = entry.path.read_bytes()
                if i % 2:
                    entry.path.write_bytes(data[: len(data) // 2])
                else:
                    entry.path.unlink()
            except FileNotFoundError:
                pass  # another process was quicker
"""


def test_processes_may_share_damage_and_evict(folder):
    """Several processes read, write, damage and evict the same entries: none ever gets wrong code."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "WEFT_CACHE_LIMIT": "200000"}
    command = [sys.executable, "-c", RACE]
    running = [subprocess.Popen([*command, str(i)], env=env, stderr=subprocess.PIPE) for i in range(4)]
    for process in running:
        _, said = process.communicate(timeout=HANG)
        assert process.returncode == 0, said.decode()
    assert not list(folder.glob(".*.tmp"))


# ---- the emulated device


@needs("emulator")
def test_a_kernel_becomes_a_library(tmp_path, folder):
    text = '#include "types.cuh"\n#include "ptx.cuh"\n' + SCALE + "EXPORT_KERNEL(scale)\n"
    made = compile.emulated(file(tmp_path, text), {"FACTOR": "2"}, arch=90, checked=False)
    assert isinstance(made, ctypes.CDLL) and hasattr(made, "emu_invoke_scale")
    for arch, checked in ((80, False), (90, True), (90, False)):
        compile.emulated(file(tmp_path, text), {"FACTOR": "2"}, arch=arch, checked=checked)
    assert len(list(folder.glob("*.so"))) == 3


@needs("emulator")
def test_a_damaged_library_is_built_again(tmp_path, folder):
    text = '#include "types.cuh"\n#include "ptx.cuh"\n' + SCALE + "EXPORT_KERNEL(scale)\n"
    compile.emulated(file(tmp_path, text), {"FACTOR": "4"}, arch=90, checked=False)
    (path,) = folder.glob("*.so")
    good = path.read_bytes()
    path.unlink()  # not in place: the library is mapped
    path.write_bytes(good[:3000])
    compile.emulated(file(tmp_path, text), {"FACTOR": "4"}, arch=90, checked=False)
    assert cache.load(path) is not None


@needs("emulator")
def test_an_error_of_the_emulated_kernel_shows_its_line(tmp_path, folder):
    text = '#include "types.cuh"\n#include "ptx.cuh"\n' + SCALE.replace("x[i] *=", "y[i] *=") + "EXPORT_KERNEL(scale)\n"
    with pytest.raises(compile.CompileError) as caught:
        compile.emulated(file(tmp_path, text), {"FACTOR": "2"}, arch=90, checked=False)
    assert "compile: k.cu for the emulated device did not compile" in str(caught.value)
    assert re.search(r"k\.cu:6:\d+: error: .*y.* was not declared.*\n.*y\[i\] \*= by \* FACTOR", str(caught.value))


# ---- ahead of time


@needs("nvrtc")
def test_cubins_packed_ahead_are_found_by_content(tmp_path, folder, monkeypatch):
    changed = file(tmp_path, SCALE + "// changed\n")
    kernel, defines = file(tmp_path, SCALE), {"FACTOR": "2"}
    entry = compile.built(kernel, defines, "sm_90a")
    place = tmp_path / "package" / "cubins"
    place.mkdir(parents=True)
    (place / ahead.name(kernel, defines, 90)).write_bytes(cache.pack(entry.code, entry.record))
    monkeypatch.setattr(source, "PACKAGE", tmp_path / "package")
    ahead.packed.cache_clear()
    try:
        monkeypatch.setattr(nvrtc, "library", lambda: pytest.fail("NVRTC is not needed"))
        assert compile.cubin(kernel, defines, 90).code == entry.code
        assert ahead.find(kernel, {"FACTOR": "3"}, 90) is None and ahead.find(kernel, defines, 80) is None
        assert ahead.find(changed, defines, 90) is None
    finally:
        ahead.packed.cache_clear()


@needs("nvrtc")
def test_what_setup_packs_is_what_a_kernel_finds(tmp_path, folder, monkeypatch, capsys):
    from weft.backends.gpu import configurations
    from weft.backends.launch import Kernel

    path = file(tmp_path, SCALE).path
    rows = [(str(path), "scale", {"FACTOR": 2, "FAST": True}, 80, 64), (str(path), "scale", {"FACTOR": 3}, 90, 64)]
    monkeypatch.setattr(configurations, "SOURCES", {"scale": lambda: rows})
    place = tmp_path / "package" / "cubins"
    ahead.main(str(place), "80,90")
    assert capsys.readouterr().out == "weft: 3 kernels compiled for 80, 90\n"
    kernel = Kernel(str(path), "scale", {"FAST": "1", "FACTOR": "2"})
    kernels = source.folder("kernels")
    monkeypatch.setattr(source, "folder", lambda name: kernels)
    monkeypatch.setattr(source, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(compile, "built", lambda *_: pytest.fail("it is packed"))
    ahead.packed.cache_clear()
    try:
        assert [kernel.code(capability).target for capability in (80, 90)] == ["sm_80", "sm_90a"]
    finally:
        ahead.packed.cache_clear()
