"""The way of a launch to the driver, against a driver that writes down what it is asked (tests/stub_driver)."""

from __future__ import annotations

import ctypes
import itertools
import random
import struct
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

import stub_driver
from policy import needs
from stub_driver import FakeArray, bytes_of, made, run
from weft.backends import driver, tensor_maps
from weft.backends.launch import capability, kernel, launch

ONE = (1, 1, 1)


@pytest.fixture(params=[pytest.param(True, marks=needs("native")), False], ids=["native", "ctypes"])
def stub(request, monkeypatch):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)  # a test before imported it: the stub lacks its streams
    with stub_driver.driven(request.param) as stub:
        tensor_maps.MAPS.clear()
        yield stub
        tensor_maps.MAPS.clear()


def test_arguments_arrive_as_c_has_them(stub):
    k = made("all", "const float* x, int i, unsigned u, long long q, unsigned long long Q, float f, double d, bool b")
    low, high = -(2**31), 2**63 - 1
    run(k, (FakeArray(0x7F00_1234_5680), low, 2**32 - 1, high, 2**64 - 1, 0.1, 0.1, True))
    assert bytes_of(stub.launches()[-1]) == [
        struct.pack("<Q", 0x7F00_1234_5680), struct.pack("<i", low), struct.pack("<I", 2**32 - 1),
        struct.pack("<q", high), struct.pack("<Q", 2**64 - 1), struct.pack("<f", 0.1), struct.pack("<d", 0.1), b"\1",
    ]  # fmt: skip


def test_numbers_of_numpy_and_nothing_at_all_are_taken(stub):
    k = made("some", "float* x, const void* y, int i, float f, double d, float g, unsigned u")
    given = (None, 4096, np.int64(-3), np.float16(0.5), 7, ml_dtypes.bfloat16(1.5), np.uint8(255))
    run(k, given)
    assert bytes_of(stub.launches()[-1]) == [
        bytes(8), struct.pack("<Q", 4096), struct.pack("<i", -3), struct.pack("<f", 0.5), struct.pack("<d", 7.0),
        struct.pack("<f", 1.5), struct.pack("<I", 255),
    ]  # fmt: skip


def test_numbers_beyond_float_become_infinite(stub):
    k = made("inf", "float* x, float f, float g")
    run(k, (None, 1e300, float("-inf")))
    assert bytes_of(stub.launches()[-1])[1:] == [struct.pack("<f", float("inf")), struct.pack("<f", float("-inf"))]


def test_structures_travel_by_value(stub):
    class Problem(ctypes.Structure):
        _fields_ = [("a", ctypes.c_char), ("b", ctypes.c_double), ("c", ctypes.c_int)]

    assert ctypes.sizeof(Problem) == 24  # with the padding that C puts in
    k = made("by_value", "char tag, const Problem problem, int n".replace("char tag", "bool tag"))
    filled = Problem(b"x", 2.5, -7)
    row = np.zeros(1, np.dtype([("a", "S1"), ("b", "f8"), ("c", "i4")], align=True))
    row["a"], row["b"], row["c"] = b"x", 2.5, -7
    for given in (filled, bytes(filled), row, row[0]):
        run(k, (1, given, 5))
        tag, problem, n = bytes_of(stub.launches()[-1])
        assert (tag, n) == (b"\1", struct.pack("<i", 5))
        assert struct.unpack("<c7xdi4x", problem) == (b"x", 2.5, -7)


def test_a_structure_of_another_size_is_refused(stub):
    k = made("by_value", "const Problem problem")
    with pytest.raises(TypeError, match=r"expected argument 0 \(problem\) to be a Problem of 24 bytes, got 16"):
        run(k, (bytes(16),))
    assert stub.launches() == []


@pytest.mark.parametrize(
    "declaration, given, error, words",
    [
        ("int n", (1.5,), TypeError, r"launch: k: expected argument 0 \(n\) to be int, got float"),
        ("int n", ("1",), TypeError, r"argument 0 \(n\) to be int, got str"),
        ("int n", (np.float32(1),), TypeError, r"argument 0 \(n\) to be int, got float32"),
        ("int n", (np.ones((), "int32"),), TypeError, r"argument 0 \(n\) to be int, got ndarray"),
        ("float* x, float f", (None, np.ones(())), TypeError, r"argument 1 \(f\) to be float, got ndarray"),
        ("float f", ("nan",), TypeError, r"argument 0 \(f\) to be float, got str"),
        ("float f", (None,), TypeError, r"argument 0 \(f\) to be float, got NoneType"),
        ("float f", (1j,), TypeError, r"argument 0 \(f\) to be float, got complex"),
        ("int n", (2**31,), ValueError, r"argument 0 \(n\) to fit int, got 2147483648"),
        ("unsigned n", (-1,), ValueError, r"argument 0 \(n\) to fit unsigned, got -1"),
        ("long long n", (2**63,), ValueError, r"argument 0 \(n\) to fit long long, got 9223372036854775808"),
        ("unsigned long long n", (-1,), ValueError, r"to fit unsigned long long, got -1"),
        ("double d", (10**400,), ValueError, r"argument 0 \(d\) to fit double"),
        ("float* x", (1.0,), TypeError, r"argument 0 \(x\) to be an array of cuda:0, got float"),
        ("float* x", (np.ones(3, "f"),), TypeError, r"argument 0 \(x\) to be an array of cuda:0, got ndarray"),
        ("float* x", (FakeArray(64, "float64"),), TypeError, r"\(x\) to be an array of float, got float64"),
        ("const bf16* x", (FakeArray(64, "float16"),), TypeError, r"\(x\) to be an array of bf16, got float16"),
        ("TensorMap m", (FakeArray(64),), TypeError, r"argument 0 \(m\) to be a tensor map, got FakeArray"),
        ("Problem p", (3,), TypeError, r"argument 0 \(p\) to be a Problem by value .*, got int"),
        ("Problem p", ("text",), TypeError, r"argument 0 \(p\) to be a Problem by value .*, got str"),
        ("int a, float b", (1,), TypeError, r"launch: k: expected 2 arguments \(int a, float b\), got 1"),
        ("int a", (1, 2), TypeError, r"launch: k: expected 1 arguments \(int a\), got 2"),
        ("float* x, float* y", (FakeArray(64), FakeArray(64, device=1)), TypeError,
         r"argument 1 \(y\) to be an array of cuda:0, got one of cuda:1"),
        ("float* x", (FakeArray(64, device=7),), ValueError, r"expected one of 2 devices, got cuda:7"),
    ],
)  # fmt: skip
def test_an_argument_that_does_not_fit_is_named(stub, declaration, given, error, words):
    with pytest.raises(error, match=words):
        run(made("k", declaration), given)
    assert stub.launches() == [] and stub.depth() == 0


@needs("native")
def test_both_launchers_agree_on_random_arguments():
    """Bytes or refusal: whatever one does, the other does."""
    rng = random.Random()
    kinds = ["float*", "const bf16*", "void*", "int", "unsigned", "long long", "unsigned long long", "float", "double",
             "bool", "Problem"]  # fmt: skip
    values = [0, 1, -1, 2**31, 2**31 - 1, 2**32, 2**63, 2**64, 10**400, 0.0, -0.5, 1e-46, 3.4e38, float("inf"), True,
              None, "x", b"y" * 24, b"z", np.int8(-5), np.float32(2.5), np.float64(1e308), np.bool_(True),
              ml_dtypes.bfloat16(3), FakeArray(4096), FakeArray(8192, "bfloat16"), FakeArray(1 << 40, "int8"),
              np.ones(24, "u1"), np.zeros(()), []]  # fmt: skip
    cases = []
    for _ in range(300):
        types = [rng.choice(kinds) for _ in range(rng.randrange(1, 5))]
        cases.append((types, tuple(rng.choice(values) for _ in types)))
    found = []
    for native in (True, False):
        with stub_driver.driven(native) as stub:
            results = []
            for types, given in cases:
                k = made("k", ", ".join(f"{t} a{i}" for i, t in enumerate(types)))
                stub.reset()
                try:
                    run(k, given)
                    results.append(stub.launches()[-1]["arguments"])
                except (TypeError, ValueError) as error:
                    results.append((type(error).__name__, str(error)))
            found.append(results)
    for case, first, second in zip(cases, *found):
        assert first == second, case
    refused = sum(isinstance(r, tuple) for r in found[0])
    assert 0 < refused < len(cases), "expected both launches and refusals among the cases"


def test_sizes_and_attributes_of_a_launch(stub):
    k = made("plain", "int n")
    run(k, (1,), grid=(3,), block=(32, 4))
    plain = stub.launches()[-1]
    assert (plain["grid"], plain["block"], plain["shared"]) == ([3, 1, 1], [32, 4, 1], 0)
    assert plain["attributes"] == {} and plain["stream"] == 0
    for cluster, cooperative, dependent in itertools.product((ONE, (2, 1, 1), (1, 4, 2)), (False, True), (False, True)):
        run(k, (1,), grid=(8, 4, 2), cluster=cluster, cooperative=cooperative, dependent=dependent)
        wanted = {"4": list(cluster)} if cluster != ONE else {}
        wanted |= {"2": [1]} if cooperative else {}
        wanted |= {"6": [1]} if dependent else {}
        assert stub.launches()[-1]["attributes"] == wanted


def test_more_shared_memory_and_larger_clusters_are_asked_for_once(stub):
    k = made("big", "int n")
    for shared in (0, 100_000, 50_000, 232_448, 232_448):
        run(k, (1,), shared=shared)
        assert stub.launches()[-1]["shared"] == shared
    asked = [(c["attribute"], c["value"]) for c in stub.calls("cuFuncSetAttribute")]
    assert asked == [(8, 100_000), (8, 232_448)]
    run(k, (1,), grid=(16,), cluster=(16, 1, 1))
    run(k, (1,), grid=(16,), cluster=(16, 1, 1))
    assert [c["attribute"] for c in stub.calls("cuFuncSetAttribute")][2:] == [14]


@pytest.mark.parametrize("grid", [(), (0,), (1, 2, 3, 4), (-1,), (1.5,), [2], 4])
def test_sizes_that_are_none_are_refused(stub, grid):
    with pytest.raises(ValueError, match=r"launch: k: expected grid to be one to three positive sizes, got "):
        run(made("k", "int n"), (1,), grid=grid)


def test_every_device_loads_the_kernel_once_in_its_own_context(stub):
    loads = []
    k = driver.engine().Kernel("copy", [("x", "float*", "P", 8, "f")], lambda d: (loads.append(d), b"copy:8")[1])
    for device in (0, 1, 0, 1, 1):
        run(k, (FakeArray(64, device=device),))
    assert loads == [0, 1]
    assert [call["context"] for call in stub.launches()] == [1, 2, 1, 2, 2]
    assert [call["context"] for call in stub.calls("cuModuleLoadDataEx")] == [1, 2]
    assert stub.depth() == 0
    assert (capability(FakeArray(64)), capability(FakeArray(64, device=1))) == (90, 86)


def test_launches_go_to_the_current_stream_of_their_device(stub):
    driver.engine().use_streams(lambda device: 0x5000 + device)
    k = made("k", "float* x")
    run(k, (FakeArray(64),))
    run(k, (FakeArray(64, device=1),))
    assert [call["stream"] for call in stub.launches()] == [0x5000, 0x5001]
    driver.engine().use_streams(None)
    run(k, (FakeArray(64),))
    assert stub.launches()[-1]["stream"] == 0


def test_a_stream_that_cannot_be_read_stops_the_launch(stub):
    def broken(device):
        raise OSError("no stream")

    driver.engine().use_streams(broken)
    with pytest.raises(OSError, match="no stream"):
        run(made("k", "int n"), (1,))
    assert stub.launches() == [] and stub.depth() == 0


def test_an_error_of_the_driver_names_the_launch(stub):
    k = made("gemm", "int n")
    run(k, (1,))
    stub.fail("cuLaunchKernelEx", 701)
    with pytest.raises(driver.CudaError) as caught:
        run(k, (1,), (8, 4), (256,), 100_000, (2, 1, 1), True, True)
    assert str(caught.value) == (
        "launch: gemm on cuda:0 (grid 8x4x1, block 256x1x1, 100000 bytes of dynamic shared memory, cluster 2x1x1, "
        "cooperative, dependent): CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources requested for launch"
    )
    assert stub.depth() == 0
    stub.fail("cuLaunchKernelEx", 999)
    with pytest.raises(driver.CudaError, match=r"shared memory\): CUresult 999$"):
        run(k, (1,))


def test_a_fault_may_be_of_an_earlier_kernel(stub):
    stub.fail("cuLaunchKernelEx", 700)
    words = "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered; a kernel enqueued before it may be"
    with pytest.raises(driver.CudaError, match=words):
        run(made("k", "int n"), (1,))


def test_an_error_of_shared_memory_names_the_launch(stub):
    stub.fail("cuFuncSetAttribute", 1)
    with pytest.raises(driver.CudaError, match=r"300000 bytes .*: CUDA_ERROR_INVALID_VALUE: invalid argument"):
        run(made("k", "int n"), (1,), shared=300_000)


def test_code_that_does_not_load_says_why(stub):
    stub.fail("cuModuleLoadDataEx", 218)
    with pytest.raises(driver.CudaError) as caught:
        run(made("k", "int n"), (1,))
    assert "launch: k on cuda:0: cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX" in str(caught.value)
    assert str(caught.value).endswith("\nptxas: line 7: what is this?")


def test_a_failing_compiler_is_heard(stub):
    def load(device):
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        run(driver.engine().Kernel("k", [("n", "int", "i", 4, "")], load), (1,))
    assert stub.depth() == 0


def test_a_declaration_that_the_compiled_kernel_contradicts_is_refused(stub):
    k = driver.engine().Kernel("k", [("n", "int", "i", 4, "")], lambda device: b"k:8")
    with pytest.raises(TypeError, match=r"expected parameter 0 \(n\) to have 4 bytes, got 8"):
        run(k, (1,))


def test_threads_may_launch_one_kernel_at_once(stub):
    k = made("k", "int n")
    failures = []

    def work(base):
        try:
            for i in range(50):
                run(k, (base + i,))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(1000 * t,)) for t in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    got = sorted(struct.unpack("<i", bytes_of(call)[0])[0] for call in stub.launches())
    assert got == sorted(1000 * t + i for t in range(4) for i in range(50))


# ---- the whole way, from a source


AXPY = """
#include "types.cuh"
struct Scale { double factor; int shift; };
extern "C" __global__ void axpy(const TYPE* x, TYPE* out, const Scale scale, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = TYPE(float(x[i]) * scale.factor + scale.shift);
}
EXPORT_KERNEL(axpy)
"""


@needs("nvrtc")
def test_from_source_to_driver(stub, tmp_path, monkeypatch):
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "axpy.cu").write_text(AXPY)
    k = kernel(str(tmp_path / "axpy.cu"), "axpy", TYPE="bf16")
    assert k is kernel(str(tmp_path / "axpy.cu"), "axpy", TYPE="bf16")
    x, out = FakeArray(4096, "bfloat16"), FakeArray(8192, "bfloat16")
    launch(k, (4,), (256,), (x, out, struct.pack("<di4x", 0.5, 3), 1000), shared=1024)
    (call,) = stub.launches()
    assert bytes_of(call)[2:] == [struct.pack("<di4x", 0.5, 3), struct.pack("<i", 1000)]
    assert (call["grid"], call["shared"], stub.depth()) == ([4, 1, 1], 1024, 0)
    with pytest.raises(TypeError, match=r"argument 2 \(scale\) to be a Scale of 16 bytes, got 12"):
        launch(k, (4,), (256,), (x, out, bytes(12), 1000))
    with pytest.raises(TypeError, match=r"argument 1 \(out\) to be an array of bf16, got float32"):
        launch(k, (4,), (256,), (x, FakeArray(8192), bytes(16), 1000))
    with pytest.raises(TypeError, match="launch: axpy: expected an array or a tensor map among the arguments"):
        launch(k, (4,), (256,), (1, 2, bytes(16), 1000))


def test_without_a_driver_the_error_says_so():
    code = (
        "from weft.backends import driver\n"
        "try:\n    driver.engine()\nexcept RuntimeError as error:\n    print(error)\n"
    )
    for native in ("1", "0"):
        env = {"WEFT_LIBCUDA": "/nowhere/libcuda.so", "WEFT_NATIVE": native, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert done.stdout.startswith("driver: expected NVIDIA's driver, got /nowhere/libcuda.so"), done


def test_devices_tell_their_memory_and_wait(stub):
    engine = driver.engine()
    assert engine.device_count() == 2
    assert engine.memory(1) == (3 << 30, 8 << 30)
    engine.synchronize(1)
    assert [call["context"] for call in stub.calls("cuCtxSynchronize")] == [2]
    stub.fail("cuCtxSynchronize", 700)
    with pytest.raises(driver.CudaError, match="synchronize: cuda:0: CUDA_ERROR_ILLEGAL_ADDRESS"):
        engine.synchronize(0)
    with pytest.raises(ValueError, match="expected a device below 2, got 2"):
        engine.memory(2)
    assert stub.depth() == 0
