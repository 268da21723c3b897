"""A driver without a GPU: builds stub.cpp into a libcuda that launches nothing and writes everything down."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes  # noqa: F401  (from which NumPy knows bfloat16 by name)
import numpy as np

SOURCE = Path(__file__).with_name("stub.cpp")


def build() -> Path:
    """The stub's library, compiled once per version of its source."""
    name = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"weft-stub-{os.getuid()}" / name / "libcuda.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / "libcuda.so"
            compiler = shutil.which("g++") or "c++"
            command = [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", str(SOURCE), "-o", str(made)]
            subprocess.run(command, check=True)
            os.replace(made, path)
    return path


class Stub:
    """What the driver was asked to do, and what it is told to answer."""

    def __init__(self, path: Path):
        self.path = path
        self.library = ctypes.CDLL(str(path))
        self.library.stub_record.restype = ctypes.c_char_p

    def calls(self, name: str) -> list[dict]:
        """Every recorded call of one function, oldest first."""
        return [call for call in json.loads(self.library.stub_record()) if call["call"] == name]

    def launches(self) -> list[dict]:
        return self.calls("cuLaunchKernelEx")

    def fail(self, name: str, result: int) -> None:
        self.library.stub_fail(name.encode(), result)

    def reset(self) -> None:
        self.library.stub_reset()

    def depth(self) -> int:
        """How many contexts are pushed."""
        return self.library.stub_depth()


@contextmanager
def driven(native: bool = True) -> Iterator[Stub]:
    """Launches go to the stub, by weft._launcher or (native=False) by its stand-in in Python."""
    from weft.backends import driver, launch

    names = {"WEFT_LIBCUDA": str(build()), "WEFT_NATIVE": "1" if native else "0"}
    before = {name: os.environ.get(name) for name in names}
    caches = (driver.engine, driver.library, driver.capability, driver.multiprocessors, driver.follow_streams)
    os.environ.update(names)
    for cache in caches:
        cache.cache_clear()
    stub = Stub(build())
    stub.reset()
    loaded = {key: kernel.loaded for key, kernel in launch.KERNELS.items()}
    for kernel in launch.KERNELS.values():
        kernel.loaded = None
    try:
        yield stub
    finally:
        stub.reset()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        for cache in caches:
            cache.cache_clear()
        for key, kernel in launch.KERNELS.items():
            kernel.loaded = loaded.get(key)


class FakeArray:
    """As much of a CuPy array as a launch looks at; its memory is never touched."""

    def __init__(self, pointer: int, dtype="float32", device: int = 0):
        self.data = SimpleNamespace(ptr=pointer, device_id=device)
        self.dtype = np.dtype(dtype)

    pointer = property(lambda self: self.data.ptr)
    device_name = property(lambda self: f"cuda:{self.data.device_id}")


SIZES = {"P": 8, "T": 128, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8, "?": 1}


def made(name: str, declaration: str, struct_size: int = 24):
    """A loaded kernel with these C parameters, whose code is the stub's text image."""
    from weft.backends import driver, source

    text = f'extern "C" __global__ void {name}({declaration}) {{}}'
    parameters = source.signature(source.Source(source.Path(f"{name}.cu"), text, ()), name, {})
    sizes = ",".join(str(SIZES.get(p.kind, struct_size)) for p in parameters)
    return driver.engine().Kernel(name, [tuple(p) for p in parameters], lambda device: f"{name}:{sizes}".encode())


def run(k, arguments, grid=(1,), block=(32,), shared=0, cluster=(1, 1, 1), cooperative=False, dependent=False):
    """Launch with little said."""
    k.launch(grid, block, tuple(arguments), shared, cluster, cooperative, dependent)


def bytes_of(call):
    """The values of a recorded launch's arguments."""
    return [bytes.fromhex(argument) for argument in call["arguments"]]
