"""What `weft` says of itself to code that is written for any library of the array API standard."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.backends.device import check_device, default_device, devices
from weft.ops.dtypes import COMPLEX64, FLOAT32, INT64, isdtype

NAMES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128".split()


class NamespaceInfo:
    """The answers of `weft.__array_namespace_info__()`."""

    def capabilities(self) -> dict[str, Any]:
        """What is supported of what the standard leaves open, and how many axes an array may have."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Where arrays are made that come from nowhere."""
        return default_device()

    def devices(self) -> list[str]:
        """All devices of this machine."""
        return list(devices())

    def default_dtypes(self, *, device: str | None = None) -> dict[str, np.dtype[Any]]:
        """The dtypes that Python's numbers and positions become; whether the device has them, `dtypes` says."""
        check_device(device)
        return {"real floating": FLOAT32, "complex floating": COMPLEX64, "integral": INT64, "indexing": INT64}

    def dtypes(self, *, device: str | None = None, kind: Any = None) -> dict[str, np.dtype[Any]]:
        """The dtypes of the standard that arrays on a device may have, by name.

        kind: as in `isdtype`; None for all.  Complex ones are of the CPU alone. float16 and bfloat16, which Weft has
        too, are not the standard's.
        """
        found = {name: np.dtype(name) for name in NAMES}
        if check_device(device) != "cpu":
            found = {name: dtype for name, dtype in found.items() if dtype.kind != "c"}
        return {name: dtype for name, dtype in found.items() if kind is None or isdtype(dtype, kind)}


def __array_namespace_info__() -> NamespaceInfo:  # noqa: N807  (the standard's name)
    """What this namespace offers: devices, dtypes, defaults, capabilities.

    >>> import weft
    >>> sorted(weft.__array_namespace_info__().dtypes(kind="real floating"))
    ['float32', 'float64']
    """
    return NamespaceInfo()
