"""The emulated device: kernels run on the CPU, threads as fibers, in guarded memory (csrc/emulator, docs/emulator.md).

    with emulator.settings(checked=True, schedule="random", seed=7):
        launch(...)         # EmulatorError: gemm: block (1,0,0) thread (37,0,0) gemm.cu:88: race: ...

`launch.py` runs kernels here; nothing above backends/ knows this module.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

SCHEDULES = ("fifo", "lifo", "reverse", "random")
#: Bytes of shared memory that a block may have, by compute capability (CUDA Programming Guide, "Technical
#: Specifications per Compute Capability"); a multiprocessor has 1 KiB more.
SHARED_LIMITS = {
    75: 64,
    80: 163,
    86: 99,
    87: 163,
    88: 99,
    89: 99,
    90: 227,
    100: 227,
    103: 227,
    110: 227,
    120: 99,
    121: 99,
}
THREADS_PER_MULTIPROCESSOR = {75: 1024, 86: 1536, 87: 1536, 88: 1536, 89: 1536, 110: 1536, 120: 1536, 121: 1536}


@dataclass(frozen=True)
class Config:
    """How the device behaves. `configure` and `settings` change it.

    arch: compute capability, 90 for an H100. checked: every access is checked, on one worker. schedule: which thread
    runs next: "fifo", "lifo", "reverse" or "random" (by `seed`), blocks too. late: async copies and products land as
    late as they may, and what they will write is NaN until then; else at once. workers: OS threads, None for all cores.
    multiprocessors: how many the device has; with a kernel's threads and shared memory they bound how many blocks are
    resident, which matters to kernels whose blocks wait for each other.
    """

    arch: int = 90
    checked: bool = False
    schedule: str = "fifo"
    seed: int = 0
    late: bool = True
    workers: int | None = None
    multiprocessors: int = 8

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"emulator: expected a schedule of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.arch not in SHARED_LIMITS:
            known = ", ".join(map(str, SHARED_LIMITS))
            raise ValueError(f"emulator: expected a compute capability of {known}, got {self.arch!r}")
        if self.multiprocessors < 1 or (self.workers is not None and self.workers < 1):
            raise ValueError(
                f"emulator: expected one worker and multiprocessor at least, got {self.workers}, {self.multiprocessors}"
            )


config = Config()


def configure(**options: Any) -> None:
    """Change how the device behaves from here on; `Config` lists the options. TypeError for an unknown one."""
    global config
    config = replace(config, **options)


@contextlib.contextmanager
def settings(**options: Any) -> Iterator[Config]:
    """`configure` for the length of a `with` block."""
    global config
    earlier = config
    configure(**options)
    try:
        yield config
    finally:
        config = earlier


class EmulatorError(RuntimeError):
    """A kernel did what it must not: raced, waited for ever, read outside an array.

    kernel: its name. block, thread: indices (x, y, z), or None where it is about no single thread. file, line: where
    in the kernel, or None. problem: what happened, alone.
    """

    def __init__(
        self,
        kernel: str,
        problem: str,
        block: tuple[int, ...] | None = None,
        thread: tuple[int, ...] | None = None,
        file: str | None = None,
        line: int | None = None,
    ):
        self.kernel, self.problem, self.block, self.thread, self.file, self.line = (
            kernel,
            problem,
            block,
            thread,
            file,
            line,
        )
        where = [
            f"{name} ({','.join(map(str, index))})" for name, index in (("block", block), ("thread", thread)) if index
        ]
        if file:
            where.append(f"{file}:{line}" if line else file)
        super().__init__(f"{kernel}: {' '.join(where)}{': ' if where else ''}{problem}")


# -- the runtime ------------------------------------------------------------------------------------------------------


class _Launch(ctypes.Structure):
    """`Launch` of csrc/emulator/runtime.h."""

    _fields_ = (
        ("invoke", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("cluster", ctypes.c_uint * 3),
        ("dynamic_shared", ctypes.c_uint),
        *(
            (name, ctypes.c_int)
            for name in ("cooperative", "dependent", "schedule", "seed", "late", "workers", "checked")
        ),
        *((name, ctypes.c_int) for name in ("resident_blocks", "shared_limit")),
    )


@lru_cache(maxsize=1)
def runtime() -> ctypes.CDLL:
    """The library. RuntimeError where it is not built: on other machines than x86-64 Linux, or with no compiler."""
    path = Path(__file__).resolve().parents[1] / "libweft_emulator.so"
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise RuntimeError(
            f"emulator: expected {path.name} (x86-64 Linux, a C++ compiler at install), got: {error}"
        ) from None
    library.emu_allocate.restype = ctypes.c_void_p
    library.emu_allocate.argtypes = (ctypes.c_size_t, ctypes.c_int)
    library.emu_free.argtypes = (ctypes.c_void_p,)
    library.emu_free.restype = None
    library.emu_launch.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
    return library


@lru_cache(maxsize=1)
def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resident_blocks(threads: int, shared: int) -> int:
    """How many blocks of so many threads and bytes of shared memory the device holds at once."""
    limit = SHARED_LIMITS[config.arch] << 10
    each = min(
        THREADS_PER_MULTIPROCESSOR.get(config.arch, 2048) // max(threads, 1), (limit + 1024) // (shared + 1024), 32
    )
    return max(each, 1) * config.multiprocessors


def three(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (*sizes, 1, 1)[:3]


def run(
    function: Any,
    name: str,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    pointers: Any,
    *,
    shared: int = 0,
    cluster: tuple[int, ...] = (1, 1, 1),
    cooperative: bool = False,
    dependent: bool = False,
) -> None:
    """Run a compiled kernel (`emu_invoke_NAME` of its library) to its end.

    pointers: the array of pointers to arguments that cuLaunchKernel takes, as `arguments.pack` makes it. The other
    arguments are those of `launch.launch`.  EmulatorError tells what the kernel did wrong.
    """
    launch = _Launch(
        ctypes.cast(function, ctypes.c_void_p), ctypes.cast(pointers, ctypes.c_void_p), name.encode(),
        three(grid), three(block), three(cluster), shared, cooperative, dependent,
        SCHEDULES.index(config.schedule), config.seed & 0x7FFFFFFF, config.late,
        config.workers or cores(), config.checked,
        resident_blocks(math.prod(block), shared), SHARED_LIMITS[config.arch] << 10,
    )  # fmt: skip
    error = written.buffer
    if runtime().emu_launch(ctypes.byref(launch), error, len(error)):
        raise report(name, error.value.decode(errors="replace"))


class Written(threading.local):
    """Where the runtime writes what went wrong, for each thread that launches."""

    def __init__(self) -> None:
        self.buffer = ctypes.create_string_buffer(8192)


written = Written()


# -- reports ----------------------------------------------------------------------------------------------------------


def report(kernel: str, text: str) -> EmulatorError:
    """The exception of what the runtime wrote: thread, file, line, library, calls in it, message (errors.cpp)."""
    thread, file, line, library, calls, problem = text.split("\x1f", 5)
    place: tuple[str | None, int | None] | None = caller(library, calls.split(",")) if library and calls else None
    if place is None and file:
        place = (Path(file).name, int(line))
    if place is None and calls:
        place = (f"{Path(library).name}+0x{calls.split(',')[0]}", None)
    indices = {name: tuple(map(int, index.split(","))) for name, index in re.findall(r"(\w+) \(([\d,]+)\)", thread)}
    return EmulatorError(kernel, problem, indices.get("block"), indices.get("thread"), *(place or (None, None)))


def caller(library: str, calls: list[str]) -> tuple[str, int] | None:
    """(file, line) of the innermost call that stands in a kernel file itself, not in a header.

    calls: offsets in the library, innermost first. None where binutils' addr2line is missing, or knows no line.
    """
    tool = shutil.which("addr2line")
    if tool is None:
        return None
    command = [tool, "-i", "-e", library, *(f"0x{call}" for call in calls)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = re.findall(r"^(?!\?\?)(.+):([1-9]\d*)", done.stdout, re.MULTILINE)
    frames = [(Path(file).name, int(line)) for file, line in lines]
    headers = (".cuh", ".h", ".inc")
    return next((frame for frame in frames if not frame[0].endswith(headers)), frames[0] if frames else None)


# -- memory -----------------------------------------------------------------------------------------------------------


class Allocation:
    """Guarded memory: it ends (but for 15 bytes) at a page that faults, and is NaN until it is written."""

    __slots__ = ("__array_interface__", "free", "pointer")

    def __init__(self, nbytes: int):
        library = runtime()
        self.pointer = library.emu_allocate(nbytes, 1)
        if not self.pointer:
            raise MemoryError(f"emulator: expected {nbytes} bytes of memory, got none")
        self.free = library.emu_free
        self.__array_interface__ = {"version": 3, "shape": (nbytes,), "typestr": "|u1", "data": (self.pointer, False)}

    def __del__(self) -> None:
        if getattr(self, "pointer", None):
            self.free(self.pointer)


def memory(shape: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """A NumPy array of `shape`, C order, over guarded memory that it owns; its values are NaN (or arbitrary)."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = np.dtype(dtype)
    return np.asarray(Allocation(math.prod(shape) * dtype.itemsize)).view(dtype).reshape(shape)


def empty(shape: Any, dtype: Any) -> Any:
    """An array of the emulated device, without particular values: NaN, which checked kernels may not read."""
    from weft.backends.gpu.array import EmulatedArray

    return EmulatedArray(memory(shape, dtype))


def memory_in_use() -> int:
    """Bytes of the pages that arrays of the emulated device lie on."""
    used, kept = ctypes.c_size_t(), ctypes.c_size_t()
    runtime().emu_memory(ctypes.byref(used), ctypes.byref(kept))
    return used.value


def encoder(mode: str) -> Any:
    """The C function that writes a tensor map, with the arguments of cuTensorMapEncodeTiled or ...Im2col.

    mode: "tiled" or "im2col".
    """
    function = getattr(runtime(), f"emu_encode_{mode}")

    def encode(*arguments: Any) -> None:
        message = ctypes.create_string_buffer(300)
        if function(*arguments, message, ctypes.c_size_t(len(message))):
            raise ValueError(f"tensor_map: {message.value.decode()}")

    return encode
