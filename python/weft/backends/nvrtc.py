"""NVRTC, the compiler of CUDA sources at run time, through ctypes. It needs no driver and no GPU.

Sources: NVRTC's documentation ("Supported Compile Options", "Basic Usage").
"""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from weft.backends.source import Source

#: Instructions of one architecture only (wgmma, tcgen05) are in its `a` target alone.
SPECIFIC = (90, 100, 101, 103, 110)
INSTALL = "pip install 'weft[cuda13]' (or weft[cuda12] for drivers before 580; weft doctor tells)"


class Resources(NamedTuple):
    """What a kernel uses of a multiprocessor, as ptxas reports it: registers per thread, the rest in bytes."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int
    barriers: int


class Compiled(NamedTuple):
    """A cubin, PTX for a GPU newer than the compiler, or code to link; the compiler's log; what each kernel uses."""

    code: bytes
    log: str
    resources: dict[str, Resources]


class Missing(ImportError):
    """There is no NVRTC here; the message holds the command that installs it."""


class NvrtcError(RuntimeError):
    """NVRTC refused a source; the message is its log, with the lines that it points at."""


def driver_major() -> int:
    """The newest major version of CUDA whose code the driver loads; 99 where there is no driver to please."""
    from weft.backends import driver

    version = ctypes.c_int()
    try:
        ctypes.CDLL(driver.path()).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 99
    return version.value // 1000 or 99


def major_of(path: str) -> int:
    """The major version in the name of a library: 13 of libnvrtc.so.13, nvrtc64_130_0.dll."""
    match = re.search(r"\.so\.(\d+)|nvrtc64_(\d\d)", path)
    return int(match.group(1) or match.group(2)) if match else 0


def candidates() -> list[str]:
    """Where libnvrtc may lie, best first: wheels before the system's, new before old, but last what the driver is too
    old for."""
    most = driver_major()
    return sorted(found(), key=lambda path: major_of(path) > most)


def found() -> list[str]:
    """Where libnvrtc may lie: its wheels, newest first, then what the system's loader and CUDA_PATH know."""
    paths: list[str] = []
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        for pattern in ("cu1?/lib/libnvrtc.so.1?", "cuda_nvrtc/lib/libnvrtc.so.1?", "cu1?/bin/x86_64/nvrtc64_1*.dll"):
            paths += sorted(glob.glob(os.path.join(root, pattern)), reverse=True)
    for root in filter(None, (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda")):
        paths += sorted(glob.glob(os.path.join(root, "lib64", "libnvrtc.so.1?")), reverse=True)
    system = ctypes.util.find_library("nvrtc") if sys.platform != "darwin" else None
    return paths + ([system] if system else [])


@lru_cache(maxsize=1)
def library() -> Any:
    """libnvrtc, loaded. `Missing` says how to install it."""
    failures = []
    for path in candidates():
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            failures.append(str(error))
    said = f" ({'; '.join(failures)})" if failures else ""
    raise Missing(f"nvrtc: expected NVIDIA's runtime compiler, got none{said}: {INSTALL}")


def check(status: int) -> None:
    if status:
        words = library().nvrtcGetErrorString
        words.restype = ctypes.c_char_p
        raise NvrtcError(f"nvrtc: {words(status).decode()}")


@lru_cache(maxsize=1)
def version() -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    check(library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    # A release is told apart by its file: 13.5.37 and 13.5.41 both say 13.5.
    path = Path(getattr(library(), "_name", ""))
    size = path.stat().st_size if path.is_file() else 0
    return f"nvrtc {major.value}.{minor.value} {size}"


@lru_cache(maxsize=1)
def supported() -> tuple[int, ...]:
    """The architectures that this NVRTC knows, ascending: 75, 80, ..."""
    count = ctypes.c_int()
    check(library().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    known = (ctypes.c_int * count.value)()
    check(library().nvrtcGetSupportedArchs(known))
    return tuple(sorted(known))


def target(capability: int) -> str:
    """The exact target of a compute capability: sm_90a for 90, sm_86 for 86.

    A GPU newer than this NVRTC gets PTX of the newest architecture before it, which its driver compiles.
    """
    known = supported()
    if capability in known:
        return f"sm_{capability}{'a' if capability in SPECIFIC else ''}"
    older = [arch for arch in known if arch < capability]
    if not older:
        raise NvrtcError(f"nvrtc: expected a GPU of capability {known[0] / 10} or later, got {capability / 10}")
    return f"compute_{older[-1]}"


def compile(source: Source, options: Sequence[str]) -> Compiled:
    """The code of a source whose includes are given with it. NvrtcError holds the compiler's log."""
    nvrtc, program = library(), ctypes.c_void_p()
    names, texts = [n.encode() for n, _ in source.includes], [t.encode() for _, t in source.includes]
    array = ctypes.c_char_p * len(names)
    name, text = source.path.name.encode(), source.text.encode()
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, name, len(names), array(*texts), array(*names)))
    try:
        words = [option.encode() for option in options]
        status = nvrtc.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words))
        log = fetch(nvrtc, program, "ProgramLog").decode(errors="replace").strip("\0\n ")
        if status:
            raise NvrtcError(log or f"nvrtc: status {status}")
        ptx = any("=compute_" in option for option in options)
        what = "LTOIR" if "-dlto" in options else "PTX" if ptx else "CUBIN"
        return Compiled(fetch(nvrtc, program, what), log, resources(log))
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def fetch(nvrtc: Any, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    check(getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    data = ctypes.create_string_buffer(size.value)
    check(getattr(nvrtc, f"nvrtcGet{what}")(program, data))
    return data.raw


def resources(log: str) -> dict[str, Resources]:
    """What ptxas -v said of each kernel of a program."""
    found = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part[: part.index("'")]

        def number(pattern: str, part: str = part) -> int:
            match = re.search(pattern, part)
            return int(match.group(1)) if match else 0

        found[name] = Resources(
            number(r"Used (\d+) registers"),
            number(r"(\d+) bytes stack frame"),
            number(r"(\d+) bytes spill stores"),
            number(r"(\d+) bytes spill loads"),
            number(r"(\d+) bytes smem"),
            number(r"used (\d+) barriers"),
        )
    return found
