"""Every class of bug that the emulated device is there for, put into a small kernel: caught, in words, at its line."""

from __future__ import annotations

import numpy as np
import pytest

from emulator import bug_kernels as kernels
from weft.backends import emulator

THREADS, GLOBAL, PIPELINE, TMA, CLUSTER = (
    f"bug_{name}.cu" for name in ("threads", "global", "pipeline", "tma", "cluster")
)
CHECKED, FAST = {"checked": True}, {"checked": False}
EAGER = {"checked": True, "late": False}

#: (file, kernel, bug, words of the report, settings)
BUGS = [
    (THREADS, "block_sum", "MISSING_SYNC", "race: (load|store) of shared .* by warp .* not ordered after the", CHECKED),
    (THREADS, "block_sum", "MISSING_SYNCWARP", "race: .* same warp without __syncwarp", CHECKED),
    (THREADS, "block_sum", "UNINITIALISED_SHARED", "load of uninitialised shared", CHECKED),
    (THREADS, "block_sum", "SHARED_BOUNDS", "load of 4 bytes out of bounds: byte 51[0-9] of 512", CHECKED),
    (THREADS, "block_sum", "EARLY_EXIT", "deadlock: .*64 threads .* exited.* 64 threads .* a barrier", FAST),
    (THREADS, "block_sum", "DIVERGENT_SYNC", "divergent __syncthreads", FAST),
    (THREADS, "turn", "STATIC_UNINITIALISED", "load of uninitialised shared", CHECKED),
    (THREADS, "turn", "STATIC_MISSING_SYNC", "race: load of shared|uninitialised shared", CHECKED),
    (THREADS, "turn", "STATIC_BOUNDS", "array index out of bounds", CHECKED),
    (THREADS, "warp_sum", "SHUFFLE_EXITED", "deadlock: .*exited.*a warp collective", FAST),
    (THREADS, "warp_sum", "SHUFFLE_MASK", "lane 0 reads lane 16, which is not in mask", FAST),
    (THREADS, "warp_sum", "SHUFFLE_NOT_IN_MASK", "lane 16 is not in its own mask", FAST),
    (THREADS, "warp_sum", "DIVERGENT_SHUFFLE", "divergent warp collective: lane 16", FAST),
    (THREADS, "hand_on", "BARRIER_COUNT", "barrier 1: 128 threads expected here, but 96 at", FAST),
    (THREADS, "hand_on", "BARRIER_MISSING", "deadlock: .*64 threads .* a barrier", FAST),
    (THREADS, "arithmetic", "REGISTER_ARRAY", "array index out of bounds", CHECKED),
    (THREADS, "arithmetic", "INT_OVERFLOW", "signed integer overflow", CHECKED),
    (THREADS, "arithmetic", "SHIFT", "shift out of range", CHECKED),
    (THREADS, "arithmetic", "DIVISION", "integer division by zero", CHECKED),
    (THREADS, "arithmetic", "DIVISION", "integer division by zero", FAST),
    (GLOBAL, "add_next", "STORE_GUARD", "store of 4 bytes out of bounds", CHECKED),
    (GLOBAL, "add_next", "STORE_GUARD", "illegal address", FAST),
    (GLOBAL, "add_next", "LOAD_GUARD", "load of 4 bytes out of bounds", CHECKED),
    (GLOBAL, "add_next", "MISALIGNED_VECTOR", "misaligned", CHECKED),
    (GLOBAL, "add_next", "UNINITIALISED_GLOBAL", "uninitialised global memory", CHECKED),
    (GLOBAL, "add_next", "BLOCKS_WRITE_THE_SAME", r"race: store of global .* by warp 0 of block \(0,0,0\)", CHECKED),
    (GLOBAL, "add_next", "BLOCKS_IN_PLACE", "race: .* of global", CHECKED),
    (GLOBAL, "last_block_sums", "MISSING_FENCE", "race: load of global .* not ordered after the write by", CHECKED),
    (GLOBAL, "last_block_sums", "MISSING_SECOND_FENCE", "race: load of global", CHECKED),
    (GLOBAL, "last_block_sums", "FENCE_AFTER", "race: load of global", CHECKED),
    (GLOBAL, "chain", "RELAXED_FLAG", "race: load of global", CHECKED),
    (GLOBAL, "chain", "PLAIN_FLAG", "race: load of global", CHECKED),
    (GLOBAL, "chain", "FLAG_TOO_EARLY", "race: load of global|uninitialised global", CHECKED),
    (GLOBAL, "chain", "FLAG_NOT_SPREAD", "race: load of global|uninitialised global", CHECKED),
    (GLOBAL, "chain", "WAITS_FOR_NOBODY", "deadlock: .* a value in global memory", FAST),
    (GLOBAL, "chain", "WAITS_FOR_NEXT", "deadlock: .* no more fit on the device", FAST | {"multiprocessors": 1}),
    (GLOBAL, "poll_together", "NOBODY_COMES", "deadlock: .* a value in global memory", FAST),
    (GLOBAL, "exchange", "MISSING_GRID_SYNC", "race: load of global|uninitialised global", CHECKED),
    (GLOBAL, "exchange", "EXITS_BEFORE_GRID_SYNC", "another block has exited|deadlock: .* the grid barrier", FAST),
    (GLOBAL, "dependent", "MISSING_DEPENDENCY_WAIT", "race: load of global .* before grid_dependency_wait", CHECKED),
    (PIPELINE, "add_slices", "MISSING_COPY_WAIT", "ldmatrix of shared .* while an async copy", CHECKED),
    (PIPELINE, "add_slices", "MISSING_COPY_WAIT", "ldmatrix of shared .* while an async copy", EAGER),
    (PIPELINE, "add_slices", "MISSING_STAGE_SYNC", "race|async copy|uninitialised shared", CHECKED),
    (PIPELINE, "add_slices", "MISALIGNED_COPY", "aligned to 16 bytes", FAST),
    (TMA, "add_boxes", "UNINITIALISED_BARRIER", "is not initialised", FAST),
    (TMA, "add_boxes", "MISSING_INIT_SYNC", "race|uninitialised|not initialised", CHECKED | {"schedule": "lifo"}),
    (TMA, "add_boxes", "WRONG_COUNT", "deadlock: .* an mbarrier at shared", FAST),
    (TMA, "add_boxes", "MISSING_EMPTY_WAIT", "race|async copy|more arrivals than its count of 1", CHECKED),
    (TMA, "add_boxes", "EXPECTS_TOO_MUCH", "deadlock: .*an mbarrier at shared", FAST),
    (TMA, "add_boxes", "EXPECTS_TOO_LITTLE", "deadlock: .* an mbarrier at shared", FAST),
    (TMA, "add_boxes", "MISALIGNED_BOX", "aligned to 128 bytes", FAST),
    (TMA, "add_boxes", "WRONG_PARITY", "async copy|race|uninitialised", CHECKED),
    (TMA, "add_boxes", "MISSING_FULL_WAIT", "async copy|race|uninitialised", CHECKED),
    (TMA, "add_boxes", "EARLY_RELEASE", "race: TMA load", CHECKED),
    (TMA, "add_boxes", "MISSING_PROXY_FENCE", "without fence_proxy_async", CHECKED),
    (TMA, "add_boxes", "MISSING_STORE_SYNC", "race|fence_proxy_async", CHECKED),
    (TMA, "add_boxes", "MISSING_STORE_WAIT", "exits|bulk", CHECKED),
    (TMA, "multiply_boxes", "RELEASED_BEFORE_PRODUCT", "race|async copy", CHECKED),
    (TMA, "multiply_boxes", "RELEASED_BEFORE_PRODUCT", "race|async copy", EAGER),
    (TMA, "multiply_boxes", "MISSING_PRODUCT_FENCE", "without wgmma_fence", FAST),
    (CLUSTER, "pass_around", "MISSING_CLUSTER_SYNC", "no cluster_sync lies before", CHECKED),
    (CLUSTER, "pass_around", "EXITS_EARLY", r"block \(0,0,0\), rank 0, has exited", FAST),
    (CLUSTER, "pass_around", "EXITS_EARLY", "may still use its shared memory|has exited", CHECKED),
    (CLUSTER, "pass_around", "MISSING_SECOND_CLUSTER_SYNC", "race: load of shared|uninitialised shared", CHECKED),
    (CLUSTER, "pass_around", "RELAXED_CLUSTER_ARRIVE", "race: load of shared", CHECKED),
    (CLUSTER, "pass_around", "ARRIVES_TWICE", "cluster_arrive", FAST),
    (CLUSTER, "pass_around", "RANK_OUT_OF_RANGE", "expected a rank below the cluster's 4, got 4", FAST),
    (CLUSTER, "pass_around", "REMOTE_OUT_OF_BOUNDS", "out of bounds", FAST),
    (CLUSTER, "spread", "BARRIER_OF_PEER_NOT_READY", "no cluster_sync lies before", CHECKED),
    (CLUSTER, "spread", "MULTICAST_EXPECTS_OWN_HALF", "async copy|race|mbarrier", CHECKED),
    (CLUSTER, "spread", "MULTICAST_MASK_TOO_SMALL", "deadlock: .*an mbarrier at shared", FAST),
    (CLUSTER, "spread", "MULTICAST_MASK_TOO_LARGE", "expected ranks below the cluster's 2, got mask 0x7", FAST),
]  # fmt: skip


def name(case):
    settings = "checked" if case[4]["checked"] else "fast"
    return f"{case[1]}-{case[2]}-{settings}" + ("" if case[4].get("late", True) else "-eager")


@pytest.mark.parametrize("case", BUGS, ids=name)
def test_caught(case):
    file, kernel, bug, words, settings = case
    with emulator.settings(**settings), pytest.raises(emulator.EmulatorError, match=words) as caught:
        getattr(kernels, kernel)(bug)
    assert caught.value.kernel == kernel
    lines = kernels.reported_lines(file)[bug]
    assert (caught.value.file, caught.value.line) in [(file, line) for line in lines], str(caught.value)
    assert str(caught.value).startswith(f"{kernel}: "), str(caught.value)


@pytest.mark.parametrize("kernel", kernels.CLEAN, ids=lambda kernel: kernel.__name__)
def test_clean(kernel):
    """The same kernels without a bug: nothing is reported, and values are right."""
    for checked in (False, True):
        with emulator.settings(checked=checked):
            got, expected = kernel(None)
        np.testing.assert_allclose(got.memory.astype(np.float64), expected, rtol=1e-4, atol=1e-4)


def test_missing_product_wait_shows_as_nan():
    """What only late completion shows: accumulators read before wgmma_wait are NaN (and ptxas warns, C7514)."""
    with emulator.settings(late=True):
        got, _ = kernels.multiply_boxes("MISSING_PRODUCT_WAIT")
        assert np.isnan(got.memory).all()


@pytest.mark.parametrize("bug", ["INLINED", "CALLED"])
def test_the_line_is_the_kernels_own(bug):
    arguments = kernels.floats(32), emulator.empty(32, "f")
    with emulator.settings(checked=True), pytest.raises(emulator.EmulatorError, match="out of bounds") as caught:
        kernels.run("bug_in_header.cu", "through_header", bug, (1,), (32,), arguments)
    (line,) = kernels.reported_lines("bug_in_header.cu")[bug]
    assert (caught.value.file, caught.value.line) == ("bug_in_header.cu", line)
    assert caught.value.block == (0, 0, 0)
    assert caught.value.thread == ((31 if bug == "INLINED" else 30), 0, 0)


def test_without_addr2line_the_library_is_named(monkeypatch):
    monkeypatch.setattr(emulator.shutil, "which", lambda name: None)
    with (
        emulator.settings(checked=True),
        pytest.raises(emulator.EmulatorError, match=r"\.so\+0x[0-9a-f]+: store") as caught,
    ):
        kernels.add_next("STORE_GUARD")
    assert caught.value.line is None


@pytest.mark.parametrize("late", [True, False])
def test_a_copy_that_lands_on_nobodys_behalf_is_reported_at_its_issue(late):
    """A tensor map that reaches beyond its array: the copy meets the guard page, when it lands."""
    x, out = kernels.device(np.zeros((64, 64), np.uint16)), emulator.empty((64, 64), "H")
    maps = [kernels.tensor_map(x, (64, 128), (128,), (64, 64)), kernels.tensor_map(out, (64, 64), (128,), (64, 64))]
    with emulator.settings(late=late), pytest.raises(emulator.EmulatorError, match="illegal address") as caught:
        kernels.run("bug_tma.cu", "add_boxes", None, (1,), (64,), (*maps, 2), shared=3 * 8192)
    assert caught.value.file == "bug_tma.cu" and caught.value.block == (0, 0, 0)
    assert caught.value.line in kernels.reported_lines("bug_tma.cu")["EARLY_RELEASE"]
