"""The lines of Weft that know CuPy's streams, events, memory pool and pinned memory.

Source: CuPy's API reference, "Low-level CUDA support" and "Memory management".
"""

from __future__ import annotations

from typing import Any

import cupy
from cupy_backends.cuda import stream as cupy_stream


def stream_source() -> Any:
    """Where the current stream of a device is read: CuPy's own C function, else a callable of the device."""
    exported = getattr(cupy_stream, "__pyx_capi__", {}).get("get_stream_ptr")
    if exported is not None and '"intptr_t (int)"' in repr(exported):
        return exported
    return lambda device: cupy.cuda.get_current_stream(device).ptr
