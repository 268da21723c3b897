"""DLPack: raw arrays out to other libraries and in from them, in the same memory.

NumPy and CuPy make and take the capsules. They know no dtype of 8 or 16 bits that is not IEEE's; such arrays cross as
unsigned integers of that width, and the dtype in the capsule's own DLTensor is rewritten on the way.
Source: dlpack.h of DLPack 1.1, and its Python specification.
"""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

from weft.backends.array import OnDevice
from weft.backends.device import on_host, usable

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13  # DLDeviceType
UNSIGNED = 1  # DLDataTypeCode
CODES = {  # DLDataTypeCode of what ml_dtypes adds to NumPy's dtypes
    "bfloat16": 4,
    "float8_e4m3fn": 10,
    "float8_e4m3fnuz": 11,
    "float8_e5m2": 12,
    "float8_e5m2fnuz": 13,
    "float8_e8m0fnu": 14,
}
NAMES = {code: name for name, code in CODES.items()}
VERSIONED = b"dltensor_versioned"
HEADER = 32  # bytes before the DLTensor of a DLManagedTensorVersioned: version, context, deleter, flags


class DLTensor(ctypes.Structure):
    """`DLTensor` of dlpack.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


def tensor_of(capsule: Any) -> DLTensor:
    """The DLTensor inside a capsule that nobody has taken yet."""
    valid, pointer = ctypes.pythonapi.PyCapsule_IsValid, ctypes.pythonapi.PyCapsule_GetPointer
    valid.argtypes = pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    pointer.restype = ctypes.c_void_p
    versioned = bool(valid(capsule, VERSIONED))
    address = pointer(capsule, VERSIONED if versioned else b"dltensor")
    return DLTensor.from_address(address + (HEADER if versioned else 0))


def unsigned(bits: int) -> Any:
    return np.dtype(f"u{bits // 8}")


def device(array: Any) -> tuple[int, int]:
    """(device type, device number) of an array. BufferError for the emulated device, which DLPack does not know."""
    if not hasattr(array, "__dlpack_device__"):
        raise BufferError(f"__dlpack__: expected a Tensor on cpu or cuda, got one on {array.device_name}")
    kind, number = array.__dlpack_device__()
    return int(kind), int(number)


def export(array: Any, stream: Any, max_version: Any, dl_device: Any, copy: bool | None) -> Any:
    """A capsule over the memory of an array, or over a copy where `copy` or `dl_device` asks for one."""
    if isinstance(array, OnDevice) and dl_device is not None and tuple(dl_device) == (CPU, 0):
        if copy is False:
            raise BufferError(f"__dlpack__: expected copy allowed from {array.device_name} to the cpu, got copy=False")
        array, stream, dl_device, copy = on_host(array), None, None, None
    device(array)
    code = CODES.get(array.dtype.name)
    if code is not None:
        array = array.view(unsigned(8 * array.dtype.itemsize))
    capsule = array.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)
    if code is not None:
        tensor_of(capsule).code = code
    return capsule


class Foreign:
    """Another library's array, as NumPy and CuPy can take it: its capsule speaks only of dtypes that they know."""

    def __init__(self, array: Any):
        self.array = array
        self.dtype: Any = None  # the one that the capsule had, if it is one of ml_dtypes'

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        try:
            capsule = self.array.__dlpack__(**options)
        except TypeError:  # of a time before DLPack 1.0, when there was but one option
            kept = {key: value for key, value in options.items() if key == "stream"}
            capsule = self.array.__dlpack__(**kept)
        tensor = tensor_of(capsule)
        name = NAMES.get(tensor.code)
        if name is not None:
            self.dtype = np.dtype(getattr(ml_dtypes, name))
            tensor.code = UNSIGNED
        return capsule


def adopt(x: Any, *, to_host: bool, copy: bool | None) -> Any:
    """A raw array over the memory of another library's array; on the CPU if `to_host`, which may need a copy.

    What the other library says is read-only is so here. BufferError for devices that Weft has no arrays on.
    """
    kind, number = x.__dlpack_device__()
    foreign, never = Foreign(x), False if copy is False else None
    if kind in (CUDA, CUDA_MANAGED) and usable():
        from weft.backends.gpu.cuda_array import from_dlpack

        taken = from_dlpack(foreign)
    elif kind in (CPU, CUDA_HOST):
        taken = np.from_dlpack(foreign, copy=never)
    elif to_host:
        taken = np.from_dlpack(foreign, device="cpu", copy=never)
    else:
        raise BufferError(f"from_dlpack: expected an array on cpu or cuda, got DLPack's device {(int(kind), number)}")
    return taken if foreign.dtype is None else taken.view(foreign.dtype)
