"""nvJitLink, the linker of code for GPUs at run time, through ctypes. It needs no driver and no GPU.

Source: nvJitLink's documentation ("Error codes", "Linking", "Supported Link Options").
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from weft.backends import nvrtc
from weft.backends.nvrtc import Compiled

LTO_IR = 3  # nvJitLinkInputType


class LinkError(RuntimeError):
    """nvJitLink refused; the message is its log."""


@lru_cache(maxsize=1)
def library() -> Any:
    """libnvJitLink, loaded, of CUDA's major version that NVRTC has. `nvrtc.Missing` says how to install it."""
    major = nvrtc.version().split()[1].split(".")[0]
    spec = importlib.util.find_spec("nvidia")
    paths = []
    for root in spec.submodule_search_locations or () if spec else ():
        for pattern in (f"cu{major}/lib/libnvJitLink.so.{major}", f"nvjitlink/lib/libnvJitLink.so.{major}"):
            paths += glob.glob(os.path.join(root, pattern))
    for path in (*paths, f"libnvJitLink.so.{major}"):
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    raise nvrtc.Missing(f"link: expected libnvJitLink.so.{major}, got none: pip install nvidia-nvjitlink")


def call(name: str, *arguments: Any) -> int:
    """The status of a function of the library, whose names end with the first version that has it as it is."""
    major = nvrtc.version().split()[1].split(".")[0]
    return int(getattr(library(), f"__nvJitLink{name}_{major}_0")(*arguments))


def link(parts: Sequence[tuple[str, bytes]], target: str) -> Compiled:
    """The cubin of (name, LTO-IR) parts for a target such as sm_90a. LinkError holds the linker's log."""
    handle = ctypes.c_void_p()
    words = [f"-arch={target}".encode(), b"-lto", b"-verbose", b"-lineinfo"]

    def check(status: int) -> None:
        if status:
            raise LinkError(f"link: {fetch('ErrorLog').decode(errors='replace').strip(chr(0)) or f'status {status}'}")

    def fetch(what: str) -> bytes:
        size = ctypes.c_size_t()
        if call(f"Get{what}Size", handle, ctypes.byref(size)) or not size.value:
            return b""
        data = ctypes.create_string_buffer(size.value)
        call(f"Get{what}", handle, data)
        return data.raw

    check(call("Create", ctypes.byref(handle), len(words), (ctypes.c_char_p * len(words))(*words)))
    try:
        for name, code in parts:
            check(call("AddData", handle, LTO_IR, code, ctypes.c_size_t(len(code)), name.encode()))
        check(call("Complete", handle))
        log = fetch("InfoLog").decode(errors="replace").strip("\0\n ")
        return Compiled(fetch("LinkedCubin"), log, nvrtc.resources(log))
    finally:
        call("Destroy", ctypes.byref(handle))
