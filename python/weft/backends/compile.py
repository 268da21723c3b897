"""Kernels from source to what a device loads: a cubin by NVRTC, or a shared library of the emulated device by g++.

Both are kept in the disk cache under the hash of everything that decides them: the source with its includes, the
options, the compiler, the target (`cache.py`).
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from weft.backends import ahead, cache, nvrtc, source
from weft.backends.nvrtc import Resources
from weft.backends.source import Source

#: Of the emulated device: the runtime gives every resident block its own copy of static __shared__ variables, which are
#: thread-local ones to g++, by answering for their addresses.
EMULATED_LINK = ["-Wl,--wrap=__tls_get_addr"]
#: Without libstdc++, which comes with the runtime anyway: to read its symbols takes the linker as long as all else.
EMULATED_LINK += ["-nodefaultlibs", "-lm", "-lc", "-lgcc"]
#: Of the emulated device: what every access of a checked kernel reports to the runtime, which defines the hooks itself
#: (the sanitizers' own libraries are not linked).
CHECKS = "-fsanitize=thread,alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero"
CHECK_DETAILS = ["--param=tsan-distinguish-volatile=1", "--param=tsan-instrument-func-entry-exit=0"]


class CompileError(RuntimeError):
    """A kernel did not compile; the message holds the compiler's own, with the lines that it points at."""


def failed(what: str, said: str) -> CompileError:
    return CompileError(f"compile: {what} did not compile\n{said.strip()}")


def flags(defines: dict[str, str]) -> list[str]:
    return [f"-D{name}={value}" for name, value in defines.items()]


@lru_cache(maxsize=1)
def host_compiler() -> tuple[str, str]:
    """(path, version) of the C++ compiler that builds kernels for the emulated device."""
    named = os.environ.get("CXX")
    path = next((found for name in (named, "g++", "clang++", "c++") if name and (found := shutil.which(name))), None)
    if path is None:
        raise CompileError("compile: expected g++ for the emulated device, got none (install g++, or set CXX)")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    return path, done.stdout.splitlines()[0]


@lru_cache(maxsize=1)
def host_target() -> list[str]:
    """Vector instructions where this CPU has them; two variants, so that machines may share a cache."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise CompileError(f"compile: expected an x86-64 machine for the emulated device, got {platform.machine()}")
    cpu = Path("/proc/cpuinfo")
    flags = set(re.findall(r"\w+", cpu.read_text())) if cpu.exists() else set()
    return ["-march=x86-64-v3"] if {"avx2", "fma", "bmi2", "f16c", "movbe"} <= flags else []


def optimization() -> str:
    """How far g++ optimises unchecked kernels of the emulated device. ValueError if WEFT_EMULATED_OPTIMIZE is no level.

    -O2 runs fastest. A kernel that runs once on little is done sooner with -Og, which compiles faster by a third.
    """
    level = os.environ.get("WEFT_EMULATED_OPTIMIZE", "2")
    if level not in ("0", "g", "1", "2", "3"):
        raise ValueError(f"WEFT_EMULATED_OPTIMIZE: expected 0, g, 1, 2 or 3, got {level!r}")
    return f"-O{level}"


def runtime() -> Path:
    """The library of the emulated device."""
    path = source.PACKAGE / "libweft_emulator.so"
    if not path.exists():
        raise CompileError(f"compile: expected the emulated device's runtime {path}, got none (weft doctor says why)")
    return path


def emulated(kernel: Source, defines: dict[str, str], *, arch: int, checked: bool) -> ctypes.CDLL:
    """The kernels of a file as a loaded shared library, for the emulated device.

    arch: the capability that they see, 90 for an H100. checked: every memory access is reported to the runtime.
    """
    compiler, version = host_compiler()
    library = runtime()
    options = [*flags(defines), f"-DWEFT_ARCH={arch * 10}", "-std=c++17", *host_target(), "-fPIC", "-ffp-contract=off"]
    # Without optimisation of the checked kind below -O1 registers would be memory, and their races reported.
    # Lines in DWARF 4: addr2line takes a header's lines in g++ 12's DWARF 5 for the kernel's.
    # Where variables lie, which g++ writes down too unless told, is a fifth of the work, and nobody reads it.
    options += ["-g1", "-gdwarf-4", "-fno-var-tracking"]
    options += ["-O1", CHECKS, *CHECK_DETAILS] if checked else [optimization()]
    options += ["-Wno-unknown-pragmas", "-fno-math-errno", "-fno-strict-aliasing"]
    # Errors name the file, so its path is content too; so are the names of includes.
    files = [str(kernel.path), *(name for name, _ in kernel.includes)]
    name = cache.key("emulated", *files, *kernel.texts(), *options, version, str(library)) + ".so"

    def build() -> tuple[bytes, dict[str, str]]:
        with tempfile.TemporaryDirectory(prefix="weft-compile-") as place:
            unlinked, made = Path(place) / "kernel.o", Path(place) / "kernel.so"
            folders = [f"-I{source.folder('kernels')}", f"-I{source.folder('csrc/emulator')}"]
            linked = ["-shared", f"-L{library.parent}", f"-l:{library.name}", f"-Wl,-rpath,{library.parent}"]
            linked += EMULATED_LINK
            # In two steps, because the compiler would link the sanitizers' own libraries to what it instruments.
            read, text = str(kernel.path), ""
            if kernel.written:
                read, text = "-", kernel.text
                folders.insert(0, f"-iquote{kernel.path.parent}")
            first = [compiler, *options, *folders, "-x", "c++", "-c", read, "-o", str(unlinked)]
            for command in (first, [compiler, str(unlinked), *linked, "-o", str(made)]):
                done = subprocess.run(command, capture_output=True, text=True, input=text)
                if done.returncode:
                    raise failed(f"{kernel.path.name} for the emulated device", done.stderr)
            return made.read_bytes(), {"file": kernel.path.name, "target": "emulated"}

    for _ in range(3):  # another process may evict the entry before it is loaded
        entry = cache.get(name, build)
        if entry.path.exists():
            return ctypes.CDLL(str(entry.path))
    raise CompileError(f"compile: expected {entry.path} to stay, got it removed thrice: is WEFT_CACHE_LIMIT too small?")


class Cubin(NamedTuple):
    """A compiled kernel file: what the driver loads, for which target, the compiler's log, what each kernel uses."""

    code: bytes
    target: str
    log: str
    resources: dict[str, Resources]


def options_of(defines: dict[str, str], target: str) -> list[str]:
    """IEEE arithmetic throughout: no fast-math option is ever given. Lines are kept for profilers and sanitizers."""
    words = [f"--gpu-architecture={target}", "-std=c++17", "-default-device", "--generate-line-info", *flags(defines)]
    return [*words, "--ptxas-options=-v"] if target.startswith("sm_") else words


def cubin(kernel: Source, defines: dict[str, str], capability: int) -> Cubin:
    """The kernels of a file for a GPU of this capability: packed into the wheel, or cached, or compiled now.

    CompileError holds NVRTC's log; nvrtc.Missing says how to install it.
    """
    packed = ahead.find(kernel, defines, capability)
    entry = packed or built(kernel, defines, nvrtc.target(capability))
    uses = {name: Resources(*numbers) for name, numbers in entry.record["resources"].items()}
    return Cubin(entry.code, entry.record["target"], entry.record["log"], uses)


def built(kernel: Source, defines: dict[str, str], target: str) -> cache.Entry:
    """The cache's entry for these kernels and this target."""
    options = options_of(defines, target)
    # The names of includes are content too: swapping two files of equal text must not go unseen.
    names = [name for name, _ in kernel.includes]
    key = cache.key("cuda", kernel.path.name, *names, *kernel.texts(), *options, nvrtc.version())

    def build() -> tuple[bytes, dict[str, Any]]:
        try:
            made = nvrtc.compile(kernel, options)
        except nvrtc.NvrtcError as error:
            raise failed(f"{kernel.path.name} for {target}", str(error)) from None
        record = {"file": kernel.path.name, "target": target, "log": made.log, "resources": made.resources}
        return made.code, record

    return cache.get(f"{key}.{'cubin' if target.startswith('sm_') else 'ptx'}", build)
