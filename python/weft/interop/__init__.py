"""Tensors among other libraries' arrays: the protocols by which those read, wrap, copy and show them (docs/interop.md).

Each protocol is a method of Tensor that is set here, so that the tape in `autograd` knows none of them. No protocol
drops a gradient by itself: where NumPy or another library would take the values of a Tensor that requires one, that is
recorded or refused, and `detach()`, `numpy()` or `no_grad()` says that it is meant.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import Tensor, state
from weft.backends.array import OnDevice, ndarray
from weft.interop import pickling

WRITABLE = 1  # inspect.BufferFlags.WRITABLE


def keeps_gradient(x: Any, what: str) -> None:
    """Raise TypeError if taking the values of x would drop a gradient that is being recorded."""
    if x.requires_grad and state.recording:
        origin = f" (the result of {x.node.name})" if x.node is not None else ""
        raise TypeError(
            f"{what}: expected a Tensor that requires no gradient, got one of shape {x.shape} that does{origin}; "
            "use Weft's functions, which record, or detach() it"
        )


def array(x: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
    """The values as a NumPy array, read-only where they are this Tensor's memory. TypeError from another device."""
    if type(x.data) is not ndarray:
        raise TypeError(f"__array__: expected a Tensor on cpu, got one on {x.device}; call .numpy() to copy it")
    keeps_gradient(x, "__array__")
    out = x.data if dtype is None else x.data.astype(dtype, copy=False)
    if out is x.data:
        return out.copy() if copy else x.numpy()
    if copy is False:
        raise ValueError(f"__array__: expected copy allowed to change {x.dtype} into {dtype}, got copy=False")
    return out


def array_ufunc(x: Tensor, function: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's ufuncs, called on Tensors, are Weft's ops where there is one."""
    from weft.interop import ufuncs

    return ufuncs.call(function, method, inputs, options)


def array_function(x: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's other functions, called on Tensors, are Weft's where there is one."""
    from weft.interop import functions

    return functions.call(function, types, args, kwargs)


def dlpack(
    x: Tensor, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    """A DLPack capsule over this Tensor's memory, for another library's `from_dlpack`.

    stream, max_version, dl_device, copy: as in the array API standard. dl_device=(1, 0) copies from any device to the
    host.  BufferError for a Tensor that requires a gradient (detach() it), for one on the emulated device, and for what
    the protocol cannot say: read-only memory before version 1.0.
    """
    from weft.backends.dlpack import export

    if x.requires_grad:
        raise BufferError("__dlpack__: expected no Tensor that requires a gradient, got one; detach() it")
    return export(x.data, stream, max_version, dl_device, copy)


def dlpack_device(x: Tensor) -> tuple[int, int]:
    """(device type, device number) in DLPack's numbers: (1, 0) for the CPU, (2, N) for "cuda:N"."""
    from weft.backends.dlpack import device

    return device(x.data)


def cuda_array_interface(x: Tensor) -> Any:
    """The CUDA Array Interface, version 3, of a Tensor on cuda; AttributeError elsewhere."""
    found = getattr(x.data, "__cuda_array_interface__", None)
    if found is None:
        raise AttributeError(f"__cuda_array_interface__: expected a Tensor on cuda, got one on {x.device}")
    if x.dtype.name == "bfloat16":
        raise TypeError("__cuda_array_interface__: expected a dtype that NumPy has, got bfloat16; use DLPack")
    keeps_gradient(x, "__cuda_array_interface__")
    return found


def buffer(x: Tensor, flags: int, /) -> memoryview:
    """The memory of a Tensor on the CPU, for `memoryview` from Python 3.12 on; writable only where that is asked for.

    BufferError for other devices, for dtypes that the buffer protocol lacks, and for writing what may not be written.
    """
    if isinstance(x.data, OnDevice):
        raise BufferError(f"buffer: expected a Tensor on cpu, got one on {x.device}; call .numpy() to copy it")
    try:
        keeps_gradient(x, "buffer")
        if flags & WRITABLE:
            x.check_writable("buffer")
            x.touch("buffer")
        memory: np.ndarray[Any, Any] = x.data if flags & WRITABLE else x.numpy()
        return memory.data
    except (RuntimeError, TypeError, ValueError) as error:
        raise BufferError(str(error)) from None


def as_html(x: Tensor) -> str:
    from weft.interop.display import tensor_html

    return tensor_html(x)


PROTOCOLS: dict[str, Any] = {
    "__array__": array,
    "__array_ufunc__": array_ufunc,
    "__array_function__": array_function,
    "__dlpack__": dlpack,
    "__dlpack_device__": dlpack_device,
    "__cuda_array_interface__": property(cuda_array_interface),
    "__buffer__": buffer,
    "__copy__": pickling.shallow,
    "__deepcopy__": pickling.deep,
    "__reduce_ex__": pickling.reduce,
    "_repr_html_": as_html,
}
for name, member in PROTOCOLS.items():
    setattr(Tensor, name, member)
