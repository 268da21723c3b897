"""Every wrapper of kernels/ptx.cuh on the emulated device against NumPy, copies landing early and late.

Data movement is exact; products are held to a float's sums. `probes.py` says what runs and what must come out. A third
of the definitions of TMA and wgmma runs each time, all of them in the slow cases.
"""

import numpy as np
import pytest

from emulator import probes, probes_tma, probes_wgmma
from emulator.probes import Bench, Data, check
from policy import mostly_slow, needs
from weft.backends import emulator

PROBES = [*probes.PROBES, *probes_tma.PROBES, *probes_wgmma.PROBES]
pytestmark = needs("emulator")


def every_time(probe):
    return probe.file not in ("probe_tma.cu", "probe_wgmma.cu") or PROBES.index(probe) % 3 == 0


def capability(probe):
    return probe.only or probe.arch


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
@pytest.mark.parametrize("probe", mostly_slow(PROBES, every_time), ids=lambda probe: probe.name)
def test_equals_numpy(probe, late):
    with emulator.settings(arch=capability(probe), late=late):
        check(probe(Bench("emulated"), Data(np.random.default_rng())))


CHECKED = mostly_slow([p for p in PROBES if p.file != "probe_wgmma.cu"], every_time)


@pytest.mark.parametrize("probe", CHECKED, ids=lambda probe: probe.name)
def test_clean_in_checked_mode(probe):
    """Nothing is reported, whichever thread runs first."""
    seed = int(np.random.default_rng().integers(1 << 20))
    with emulator.settings(arch=max(capability(probe), 90), checked=True, schedule="random", seed=seed):
        check(probe(Bench("emulated"), Data()))


@pytest.mark.parametrize("probe", [p for p in PROBES if p.file == "probe_wgmma.cu"][::7], ids=lambda probe: probe.name)
def test_products_are_clean_in_checked_mode(probe):
    with emulator.settings(arch=90, checked=True, schedule="lifo"):
        check(probe(Bench("emulated"), Data()))


def test_counters_are_exact():
    """Vectors kept from silicon are compared bit by bit: products of counters must not round."""
    for probe in (p for p in PROBES if p.name.startswith(("mma", "wgmma_bf16_swizzle_128", "wgmma_tf32_swizzle_64"))):
        with emulator.settings(arch=capability(probe)):
            for got, want in probe(Bench("emulated"), Data()):
                np.testing.assert_array_equal(got, want.values)


# ---- what tensor maps and instructions demand


def refused(words, make):
    with pytest.raises(ValueError, match=words):
        make()


def test_rules_of_tensor_maps():
    from weft.backends.launch import tensor_map, tensor_map_im2col

    bench = Bench("emulated")
    x = bench.place(np.zeros((8, 64), probes.BF16))
    images = bench.place(np.zeros((2, 4, 4, 16), probes.BF16))
    refused("16 bytes", lambda: tensor_map(x, (64, 8), (120,), (16, 8)))
    refused("16 bytes", lambda: tensor_map(x, (64, 8), (128,), (4, 8)))
    refused("1 to 256", lambda: tensor_map(x, (64, 8), (128,), (512, 8)))
    refused("swizzle", lambda: tensor_map(x, (64, 8), (128,), (64, 8), swizzle=64))
    refused("swizzle", lambda: tensor_map(x, (64, 8), (128,), (16, 8), swizzle=128))
    refused("element strides", lambda: tensor_map(x, (64, 8), (128,), (16, 8), element_strides=(1, 9)))
    refused("interleav|dimensions", lambda: tensor_map(x, (64, 8), (128,), (16, 8), interleave=16))
    words = bench.place(np.zeros((8, 64), np.int32))
    refused("floating", lambda: tensor_map(words, (64, 8), (256,), (16, 8), fill="nan"))

    shape, strides = (16, 4, 4, 2), (32, 128, 512)
    refused("pixels", lambda: tensor_map_im2col(images, shape, strides, (0, 0), (0, 0), 16, 2000))
    refused("corners", lambda: tensor_map_im2col(images, shape, strides, (-200, 0), (0, 0), 16, 8))
    refused("with pixels in it", lambda: tensor_map_im2col(images, shape, strides, (0, 0), (-4, 0), 16, 8))


@pytest.mark.parametrize("what, words", [
    ("unaligned", "aligned to 1024"), ("rank", "2 dimensions, got 3"), ("mode", "im2col"),
])  # fmt: skip
def test_rules_of_tma(what, words):
    box = probes_tma.Box((64, 8, 2), (64, 8, 1), (0, 0, 0), swizzle=128)
    defines = {"RANK": 2 if what == "rank" else 3, "IM2COL": int(what == "mode"), "ADD": 0}
    bench = Bench("emulated")
    map_, _ = box.tensor_map(bench, np.zeros((2, 8, 64), probes.BF16))
    out = bench.empty((2 * box.nbytes // 4,), np.uint32)
    with emulator.settings(arch=90), pytest.raises(emulator.EmulatorError, match=words) as error:
        if what == "unaligned":
            bench.launch("probe_misuse.cu", "load_unaligned", 1, 32, (map_,), shared=2 * box.nbytes)
        else:
            arguments = (map_, probes_tma.at_of((0, 0, 0), (0,)), out, box.nbytes)
            bench.launch("probe_tma.cu", "probe_tma_load", 1, 32, arguments, shared=box.nbytes, defines=defines)
    assert error.value.file in ("probe_misuse.cu", "probe_tma.cu") and error.value.line


@pytest.mark.parametrize("name, words", [
    ("store_not_waited_for", "before the thread exits"),
    ("store_not_committed", "bulk_commit"),
    ("barrier_not_fenced", "expected fence_mbarrier_init after it was initialised"),
    ("store_overwritten", "race: store of shared .* not ordered after the read by TMA"),
    ("multicast_beyond_cluster", "below the cluster's 1"),
    ("ldmatrix_unaligned", "aligned to 16"),
    ("barrier_of_half_a_warp", "multiple of 32|whole warps"),
])  # fmt: skip
def test_misuse_is_reported(name, words):
    bench = Bench("emulated")
    box = probes_tma.Box((64, 8), (64, 8), (0, 0))
    map_, _ = box.tensor_map(bench, np.zeros((8, 64), probes.BF16))
    checked = name == "store_overwritten"
    with emulator.settings(arch=90, checked=checked), pytest.raises(emulator.EmulatorError, match=words) as error:
        bench.launch("probe_misuse.cu", name, 1, 32, (map_,), shared=2048)
    assert error.value.file == "probe_misuse.cu" and error.value.line


def test_store_that_was_only_read_still_lands():
    """bulk_wait_read lets shared memory be written again; what it held is what arrives."""
    bench = Bench("emulated")
    for late in (False, True):
        x = np.arange(8 * 64, dtype=np.float32).reshape(8, 64)
        box = probes_tma.Box((64, 8), (64, 8), (0, 0), np.dtype(np.float32))
        map_, read = box.tensor_map(bench, np.zeros((8, 64), np.float32))
        with emulator.settings(arch=90, late=late):
            arguments = (map_, bench.place(x.view(np.uint32).ravel()), box.nbytes)
            bench.launch("probe_misuse.cu", "store_overwritten_after_read", 1, 32, arguments, shared=box.nbytes)
        np.testing.assert_array_equal(read(), x)
