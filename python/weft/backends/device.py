"""Devices by name, the default one, and moving arrays from one to another.

"cpu": NumPy arrays. "cuda:N" ("cuda" is the current one): CuPy's, in the memory of GPU N. "emulated": a GPU that this
process plays on the CPU, for testing kernels. The data decides where an op runs; the default only says where arrays
are made that come from nowhere: creation functions, lists of numbers, the parameters of modules, batches of a loader.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from functools import lru_cache
from typing import Any

import numpy as np

from weft.backends.array import ARRAYS, OnDevice, device_of

chosen: str | None = None  # by set_default_device; None: by WEFT_DEVICE, or by what the machine has


@lru_cache(1)
def driver_devices() -> int:
    """How many GPUs CUDA's driver sees; 0 where there is no driver. Takes no CuPy."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value


@lru_cache(1)
def usable() -> int:
    """How many GPUs arrays can live on: those of the driver, with CuPy installed."""
    return driver_devices() if importlib.util.find_spec("cupy") is not None else 0


def devices() -> tuple[str, ...]:
    """The names of all devices of this machine.

    >>> "cpu" in weft.devices()
    True
    """
    return ("cpu", "emulated", *(f"cuda:{i}" for i in range(usable())))


def check_device(device: str | None) -> str:
    """The canonical name of `device`; None means the default. ValueError names the devices there are."""
    if device is None:
        return default_device()
    if device == "cpu" or device == "emulated":
        return device
    match = re.fullmatch(r"cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if match is not None and usable():
        if match[1] is None:
            from weft.backends.gpu import cuda_array

            return cuda_array.current()
        if int(match[1]) < usable():
            return f"cuda:{int(match[1])}"
    known = devices()
    raise ValueError(f"device: expected one of {', '.join(known)}, got {device!r}{'' if match is None else reason()}")


def reason() -> str:
    """Why "cuda" is not among the devices."""
    if not driver_devices():
        return ", but CUDA's driver finds no GPU here"
    return "" if usable() else ", but CuPy is not installed"


def default_device() -> str:
    """Where arrays are made if nothing else is said: `set_default_device`, WEFT_DEVICE, else "cuda" where usable.

    >>> weft.set_default_device("cpu")
    >>> weft.default_device()
    'cpu'
    """
    if chosen is not None:
        return chosen
    return first_choice(os.environ.get("WEFT_DEVICE", ""))


@lru_cache(8)
def first_choice(wanted: str) -> str:
    try:
        return check_device(wanted or ("cuda" if usable() else "cpu"))
    except ValueError as error:
        raise ValueError(f"WEFT_DEVICE: {error}") from None


def set_default_device(device: str | None) -> None:
    """Make arrays on `device` from now on where nothing else is said; None: as it was at first.

    device: "cpu", "cuda", "cuda:N" or "emulated".  ValueError names the devices there are.

    >>> import weft
    >>> weft.set_default_device("cpu")
    >>> weft.zeros((2,)).device
    'cpu'
    """
    global chosen
    chosen = None if device is None else check_device(device)


# -- moving -----------------------------------------------------------------------------------------------------------


def place(array: Any, device: str) -> Any:
    """A raw array on `device` (a canonical name): itself if it lives there, else a copy."""
    here = device_of(array)
    if here == device:
        return array
    if here != "cpu":
        if device != "emulated" and here != "emulated":
            from weft.backends.gpu import cuda_array

            return cuda_array.to_gpu(array, device)
        array = array.get()
        if device == "cpu":
            return array
    if device == "emulated":
        from weft.backends.gpu.array import from_host

        return from_host(array)
    from weft.backends.gpu import cuda_array

    return cuda_array.from_host(array, device)


def on_host(x: Any) -> Any:
    """The values of a raw array as a NumPy array, which shares a NumPy array's memory."""
    return x.get() if isinstance(x, OnDevice) else np.asarray(x)


def host_copy(x: Any) -> np.ndarray[Any, Any]:
    """The values of a raw array in NumPy memory of their own."""
    return x.get() if isinstance(x, OnDevice) else x.copy()


def beside(values: Any, x: Any) -> Any:
    """Host values (an array, a list, a number) as a raw array on the device of x."""
    return place(np.asarray(values), device_of(x))


def check_together(name: str, arrays: Any) -> None:
    """Raise TypeError, naming op and devices, unless all arrays among `arrays` live on one device."""
    found = list(dict.fromkeys([device_of(a) for a in arrays if isinstance(a, ARRAYS)]))
    if len(found) > 1:
        number = "both" if sum(isinstance(a, ARRAYS) for a in arrays) == 2 else "all"
        raise TypeError(f"{name}: expected {number} on one device, got {', '.join(found[:-1])} and {found[-1]}")
