"""Tensor maps as the driver is asked for them, and the declarations of the driver that launches rely on."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

import policy
import stub_driver
from stub_driver import FakeArray, bytes_of, made, run
from weft.backends import driver, tensor_maps
from weft.backends.launch import tensor_map, tensor_map_im2col
from weft.backends.tensor_maps import TensorMap

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=[pytest.param(True, marks=policy.needs("native")), False], ids=["native", "ctypes"])
def stub(request):
    with stub_driver.driven(request.param) as stub:
        tensor_maps.MAPS.clear()
        yield stub
        tensor_maps.MAPS.clear()


def test_a_tensor_map_is_what_was_asked_for(stub):
    x = FakeArray(1 << 20, "bfloat16")
    made_map = tensor_map(x, (768, 50257), (1536,), (64, 128), swizzle=128)
    (call,) = stub.calls("cuTensorMapEncodeTiled")
    assert call == {
        "call": "cuTensorMapEncodeTiled", "type": 9, "address": 1 << 20, "shape": [768, 50257], "strides": [1536],
        "box": [64, 128], "steps": [1, 1], "interleave": 0, "swizzle": 3, "promotion": 3, "fill": 0,
    }  # fmt: skip
    assert isinstance(made_map, TensorMap) and made_map.address % 64 == 0 and made_map.device_name == "cuda:0"
    steps = (1, 2, 1)
    tensor_map(x, (64, 3, 9), (128, 4096), (32, 1, 1), dtype="tf32", fill="nan", promotion=128, element_strides=steps)
    call = stub.calls("cuTensorMapEncodeTiled")[-1]
    assert (call["type"], call["fill"], call["promotion"], call["steps"]) == (11, 1, 2, [1, 2, 1])


def test_an_image_map_is_what_was_asked_for(stub):
    x = FakeArray(4096, "float16")
    tensor_map_im2col(x, (64, 56, 56, 8), (128, 7168, 401408), (-1, -1), (-1, -2), 64, 128, swizzle=128)
    (call,) = stub.calls("cuTensorMapEncodeIm2col")
    assert (call["type"], call["shape"], call["strides"]) == (6, [64, 56, 56, 8], [128, 7168, 401408])
    assert (call["lower"], call["upper"], call["channels"], call["pixels"]) == ([-1, -1], [-1, -2], 64, 128)


def test_maps_are_made_once_per_address_and_arguments(stub):
    x = FakeArray(4096, "float16")
    first = tensor_map(x, (64, 64), (128,), (64, 8), swizzle=128)
    assert tensor_map(FakeArray(4096, "float16"), (64, 64), (128,), (64, 8), swizzle=128) is first
    others = [
        tensor_map(FakeArray(8192, "float16"), (64, 64), (128,), (64, 8), swizzle=128),
        tensor_map(x, (64, 32), (128,), (64, 8), swizzle=128),
        tensor_map(x, (64, 64), (256,), (64, 8), swizzle=128),
        tensor_map(x, (64, 64), (128,), (64, 4), swizzle=128),
        tensor_map(x, (64, 64), (128,), (64, 8)),
        tensor_map(x, (64, 64), (128,), (64, 8), swizzle=128, fill="nan"),
        tensor_map(FakeArray(4096, "bfloat16"), (64, 64), (128,), (64, 8), swizzle=128),
        tensor_map(FakeArray(4096, "float16", device=1), (64, 64), (128,), (64, 8), swizzle=128),
    ]
    assert len({id(m) for m in (first, *others)}) == 9
    assert len(stub.calls("cuTensorMapEncodeTiled")) == 9


def test_the_cache_of_maps_is_bounded(stub, monkeypatch):
    monkeypatch.setattr(tensor_maps, "MOST_MAPS", 8)
    for i in range(50):
        tensor_map(FakeArray(4096 + 16 * i, "float16"), (64, 64), (128,), (64, 8))
        assert len(tensor_maps.MAPS) <= 8
    assert tensor_map(FakeArray(4096 + 16 * 49, "float16"), (64, 64), (128,), (64, 8)) in tensor_maps.MAPS.values()


def test_a_map_reaches_the_kernel(stub):
    maps = [tensor_map(FakeArray(4096 * i, "float16"), (64, 64), (128,), (64, 8)) for i in (1, 2)]
    k = made("tma", "const __grid_constant__ TensorMap a, int n, const __grid_constant__ TensorMap b")
    run(k, (maps[1], 5, maps[0]))
    a, n, b = bytes_of(stub.launches()[-1])
    assert (a, b) == (bytes(maps[1].bits), bytes(maps[0].bits)) and a != b and len(a) == 128
    other = tensor_map(FakeArray(4096, "float16", device=1), (64, 64), (128,), (64, 8))
    with pytest.raises(TypeError, match=r"argument 2 \(b\) to be a tensor map of cuda:0, got one of cuda:1"):
        run(k, (maps[0], 5, other))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"pointer": 4104}, "memory aligned to 16 bytes"),
        ({"strides": (130,)}, "strides of whole 16 bytes"),
        ({"strides": ()}, "1 strides, of all but the innermost"),
        ({"strides": (1 << 40,)}, "below 2\\^40"),
        ({"shape": (0, 64)}, "sizes of 1 to 2\\^32"),
        ({"shape": (64,) * 6}, "1 to 5 dimensions"),
        ({"box": (64, 257)}, "a box of 2 sizes from 1 to 256"),
        ({"box": (64,)}, "a box of 2 sizes"),
        ({"box": (128, 8), "swizzle": 128}, "at most the swizzle's 128 bytes, got 256"),
        ({"box": (4, 8)}, "inner rows of a box to be whole 16 bytes, got 8"),
        ({"swizzle": 16}, "swizzle to be one of 0, 32, 64, 128, got 16"),
        ({"fill": "one"}, "fill to be one of zero, nan, got 'one'"),
        ({"element_strides": (1, 9)}, "2 element strides of 1 to 8"),
        ({"dtype": "complex64"}, "dtype to be one of"),
    ],
)
def test_a_rule_of_maps_that_is_broken_is_named(stub, change, words):
    given = {"pointer": 4096, "shape": (64, 64), "strides": (128,), "box": (64, 8), **change}
    x = FakeArray(given.pop("pointer"), "float16")
    with pytest.raises(ValueError, match=f"tensor_map: expected .*{words}"):
        tensor_map(x, given.pop("shape"), given.pop("strides"), given.pop("box"), **given)
    assert stub.calls("cuTensorMapEncodeTiled") == []


def test_a_map_that_the_driver_refuses_raises(stub):
    stub.fail("cuTensorMapEncodeTiled", 1)
    with pytest.raises(driver.CudaError, match="tensor_map: cuTensorMapEncodeTiled: CUDA_ERROR_INVALID_VALUE: invalid"):
        tensor_map(FakeArray(4096, "float16"), (64, 64), (128,), (64, 8))
    assert not tensor_maps.MAPS


# ---- what cuda.h says


LAYOUT = """
#include <cuda.h>
#include "csrc/launcher/driver.h"
#include <cstddef>
using namespace launcher;
static_assert(sizeof(LaunchAttribute) == sizeof(CUlaunchAttribute) && sizeof(LaunchConfig) == sizeof(CUlaunchConfig));
static_assert(offsetof(LaunchAttribute, bytes) == offsetof(CUlaunchAttribute, value));
static_assert(offsetof(LaunchConfig, grid) == offsetof(CUlaunchConfig, gridDimX));
static_assert(offsetof(LaunchConfig, block) == offsetof(CUlaunchConfig, blockDimX));
static_assert(offsetof(LaunchConfig, shared) == offsetof(CUlaunchConfig, sharedMemBytes));
static_assert(offsetof(LaunchConfig, stream) == offsetof(CUlaunchConfig, hStream));
static_assert(offsetof(LaunchConfig, attributes) == offsetof(CUlaunchConfig, attrs));
static_assert(offsetof(LaunchConfig, attribute_count) == offsetof(CUlaunchConfig, numAttrs));
static_assert(int(LaunchAttribute::cooperative) == CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
static_assert(int(LaunchAttribute::cluster_dimension) == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
static_assert(int(LaunchAttribute::programmatic_stream_serialization) ==
              CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
static_assert(CAPABILITY_MAJOR == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(CAPABILITY_MINOR == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(MAX_DYNAMIC_SHARED == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(NON_PORTABLE_CLUSTER == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED);
static_assert(JIT_ERROR_LOG == CU_JIT_ERROR_LOG_BUFFER && JIT_ERROR_LOG_SIZE == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
static_assert(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 == 9 && CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 == 11);
static_assert(CU_TENSOR_MAP_DATA_TYPE_FLOAT16 == 6 && CU_TENSOR_MAP_DATA_TYPE_FLOAT64 == 8);
static_assert(CU_TENSOR_MAP_DATA_TYPE_UINT64 == 4 && CU_TENSOR_MAP_DATA_TYPE_INT64 == 5);
static_assert(CU_TENSOR_MAP_SWIZZLE_128B == 3 && CU_TENSOR_MAP_L2_PROMOTION_L2_256B == 3);
static_assert(CU_TENSOR_MAP_INTERLEAVE_32B == 2 && CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA == 1);
// the signatures by which functions are called
void calls() {
  CUresult (*launch)(const CUlaunchConfig*, CUfunction, void**, void**) = cuLaunchKernelEx;
  CUresult (*load)(CUmodule*, const void*, unsigned, CUjit_option*, void**) = cuModuleLoadDataEx;
  CUresult (*info)(CUfunction, size_t, size_t*, size_t*) = cuFuncGetParamInfo;
  CUresult (*tiled)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                    const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                    CUtensorMapL2promotion, CUtensorMapFloatOOBfill) = cuTensorMapEncodeTiled;
  CUresult (*im2col)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                     const int*, const int*, cuuint32_t, cuuint32_t, const cuuint32_t*, CUtensorMapInterleave,
                     CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) = cuTensorMapEncodeIm2col;
}
"""


@policy.needs("cuda.h", "g++")
def test_declarations_are_those_of_cuda(tmp_path):
    """What driver.h, ctypes_launcher.py and tensor_maps.py say of the driver is what cuda.h says."""
    (tmp_path / "layout.cpp").write_text(LAYOUT)
    folders = [f"-I{ROOT}", f"-I{policy.cuda_headers()}"]
    command = ["g++", "-std=c++17", "-fsyntax-only", "-Wno-unused", *folders, str(tmp_path / "layout.cpp")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    from weft.backends import ctypes_launcher as python

    assert ctypes.sizeof(python.Attribute) == 72 and ctypes.sizeof(python.Config) == 56
    assert (python.Attribute.value.offset, python.Config.attributes.offset, python.Config.stream.offset) == (8, 40, 32)
    assert (python.COOPERATIVE, python.CLUSTER, python.DEPENDENT) == (2, 4, 6)
