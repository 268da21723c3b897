"""The CUDA driver: devices, and kernels loaded into them, by weft._launcher or, where that is not built, by ctypes.

WEFT_LIBCUDA names another library than the system's libcuda, for tests without a GPU.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache
from typing import Any

import numpy as np

from weft.backends.tensor_maps import TensorMap


class CudaError(RuntimeError):
    """What the CUDA driver refused or reported, with the kernel and its launch where there was one."""


def path() -> str:
    """The driver's library."""
    return os.environ.get("WEFT_LIBCUDA") or ("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")


def native() -> Any:
    """weft._launcher, or None where it is not built or WEFT_NATIVE=0 turns it off."""
    if os.environ.get("WEFT_NATIVE") == "0":
        return None
    try:
        from weft import _launcher
    except ImportError:
        return None
    return _launcher


@lru_cache(maxsize=1)
def engine() -> Any:
    """What launches: weft._launcher or its stand-in, with the driver open. RuntimeError says what is missing."""
    made = native()
    if made is None:
        from weft.backends import ctypes_launcher

        made = ctypes_launcher
    made.open(path(), CudaError, TensorMap, np.generic)
    return made


@lru_cache(maxsize=1)
def follow_streams() -> None:
    """Let launches go to CuPy's current stream, from the first array of CuPy's on."""
    if "cupy" in sys.modules:
        from weft.backends import cupy_device

        engine().use_streams(cupy_device.stream_source())


@lru_cache(maxsize=64)
def capability(device: int) -> int:
    """The compute capability of a device: 90 for an H100."""
    return int(engine().capability(device))


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    return ctypes.CDLL(path())


@lru_cache(maxsize=64)
def multiprocessors(device: int) -> int:
    """How many multiprocessors a device has: 132 for an H100 SXM."""
    capability(device)  # opens the driver, and refuses a device that is not there
    handle, count = ctypes.c_int(), ctypes.c_int()
    attribute = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
    if library().cuDeviceGet(ctypes.byref(handle), device) or library().cuDeviceGetAttribute(
        ctypes.byref(count), attribute, handle
    ):
        raise RuntimeError(f"multiprocessors: expected the driver to count those of cuda:{device}, got an error")
    return count.value


def words(result: int) -> str:
    """CUDA_ERROR_INVALID_VALUE: invalid argument"""
    parts = []
    for name in ("cuGetErrorName", "cuGetErrorString"):
        text = ctypes.c_char_p()
        getattr(library(), name)(result, ctypes.byref(text))
        if text.value:
            parts.append(text.value.decode())
    return ": ".join(parts) or f"CUresult {result}"


def encoder(mode: str) -> Any:
    """What writes a tensor map, "tiled" or "im2col": the driver's function, which raises CudaError."""
    engine()
    name = {"tiled": "cuTensorMapEncodeTiled", "im2col": "cuTensorMapEncodeIm2col"}[mode]
    function = getattr(library(), name, None)
    if function is None:
        raise CudaError(f"tensor_map: expected a driver that has {name} (525 or later), got an older one: update it")

    def encode(*arguments: Any) -> None:
        result = function(*arguments)
        if result:
            raise CudaError(f"tensor_map: {name}: {words(result)}")

    return encode
