"""Schedules, completion times, workers of the emulated device: right kernels give the same bits under all of them."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from emulator import bug_kernels as kernels
from weft.backends import emulator

FILE = "schedules.cu"
ORDERS = [("fifo", 0), ("lifo", 0), ("reverse", 0), ("random", 1), ("random", 2)]


@pytest.mark.parametrize("kernel", kernels.CLEAN, ids=lambda kernel: kernel.__name__)
def test_same_bits_whatever_the_order(kernel, monkeypatch):
    seed = int.from_bytes(os.urandom(4), "little")
    results = set()
    for (schedule, order), late, checked in itertools.product(ORDERS, (True, False), (True, False)):
        monkeypatch.setattr(kernels, "draw", np.random.default_rng(seed))
        with emulator.settings(schedule=schedule, seed=order, late=late, checked=checked):
            results.add(kernel(None)[0].memory.tobytes())
    assert len(results) == 1


def tickets(blocks=3, **options):
    count, out = kernels.device(np.zeros(1, "I")), emulator.empty((blocks, 64), "I")
    with emulator.settings(workers=1, **options):
        kernels.run(FILE, "tickets", None, (blocks,), (64,), (count, out))
    return out.memory.copy()


def test_orders():
    order = np.arange(192).reshape(3, 64)
    np.testing.assert_array_equal(tickets(schedule="fifo"), order)
    np.testing.assert_array_equal(tickets(schedule="reverse"), order[::-1, ::-1])
    first = tickets(schedule="random", seed=1)
    np.testing.assert_array_equal(tickets(schedule="random", seed=1), first)
    assert (tickets(schedule="random", seed=2) != first).any()
    np.testing.assert_array_equal(np.sort(first.ravel()), np.arange(192))


def look_early(**options):
    x, out = kernels.floats(32), emulator.empty((2, 32), "f")
    with emulator.settings(**options):
        kernels.run(FILE, "look_early", None, (1,), (32,), (x, out))
    return x.memory, out.memory


def test_copies_land_early_or_late():
    x, (early, waited) = look_early(late=False)
    np.testing.assert_array_equal((early, waited), (x, x))
    x, (early, waited) = look_early(late=True)
    assert np.isnan(early).all()
    np.testing.assert_array_equal(waited, x)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
def test_blocks_that_wait_for_each_other_are_resident_together(workers, schedule):
    blocks = 20
    flags, out = kernels.device(np.zeros(blocks, "I")), emulator.empty((blocks, 32), "I")
    with emulator.settings(workers=workers, schedule=schedule, multiprocessors=1):
        kernels.run(FILE, "own_static", None, (blocks,), (32,), (flags, out))
    np.testing.assert_array_equal(out.memory, np.arange(blocks)[:, None] * 100 + np.arange(31, -1, -1))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_agree(workers):
    with emulator.settings(workers=workers):
        got, expected = kernels.block_sum(None, blocks=500)
    np.testing.assert_allclose(got.memory, expected, rtol=1e-4, atol=1e-4)


def test_threads_keep_their_own_stack():
    x, out = kernels.floats(1024), emulator.empty(1024, "f")
    kernels.run(FILE, "keep", None, (1,), (1024,), (x, out))
    expected = np.stack([np.roll(x.memory, -i) for i in range(64)]).astype(np.float64).sum(0)
    np.testing.assert_allclose(out.memory, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "grid, block, cluster", [((3, 2, 2), (5, 3, 2), (1, 1, 1)), ((4, 6), (7,), (2, 3)), ((8,), (33,), (8,))]
)
def test_indices(grid, block, cluster):
    g, b, c = (emulator.three(sizes) for sizes in (grid, block, cluster))
    out = emulator.empty((np.prod(g), np.prod(b), 8), "I")
    kernels.run(FILE, "where_am_i", None, grid, block, (out,), cluster=cluster)
    for number, (z, y, x) in enumerate(np.ndindex(*g[::-1])):
        rank = x % c[0] + c[0] * (y % c[1] + c[1] * (z % c[2]))
        expected = [(x, y, z, i, j, k, rank, np.prod(c)) for k, j, i in np.ndindex(*b[::-1])]
        np.testing.assert_array_equal(out.memory[number], expected)


@pytest.mark.parametrize(
    "grid, block, options, words",
    [
        ((0,), (64,), {}, "expected a grid"),
        ((1, 70000), (64,), {}, "expected a grid"),
        ((1,), (1025,), {}, "expected a block of 1 to 1024 threads"),
        ((1,), (64,), {"shared": 230 << 10}, "bytes of shared memory"),
        ((3,), (64,), {"cluster": (2,)}, "expected a cluster of at most 16 blocks that divides the grid"),
        ((300,), (64,), {"cooperative": True}, "expected at most the 256 blocks that can be resident"),
    ],
)
def test_launches_that_no_device_takes(grid, block, options, words):
    count, out = kernels.device(np.zeros(1, "I")), emulator.empty(64, "I")
    with pytest.raises(emulator.EmulatorError, match=words):
        kernels.run(FILE, "tickets", None, grid, block, (count, out), **options)


def test_shared_memory_is_that_of_the_architecture():
    count, out = kernels.device(np.zeros(1, "I")), emulator.empty(64, "I")
    with emulator.settings(arch=86), pytest.raises(emulator.EmulatorError, match=str(99 << 10)):
        kernels.run(FILE, "tickets", None, (1,), (64,), (count, out), shared=100 << 10)


@pytest.mark.parametrize("options", [{"schedule": "any"}, {"arch": 12}, {"workers": 0}, {"multiprocessors": 0}])
def test_settings_are_checked(options):
    earlier = emulator.config
    with pytest.raises(ValueError, match="emulator: expected"):
        emulator.configure(**options)
    with pytest.raises(TypeError):
        emulator.configure(speed=9)
    assert emulator.config is earlier


def test_settings_end_with_their_block():
    earlier = emulator.config
    with pytest.raises(KeyError), emulator.settings(checked=True, seed=5) as config:
        assert config.checked and emulator.config.seed == 5
        raise KeyError
    assert emulator.config is earlier


def test_a_failed_launch_leaves_nothing_behind():
    for _ in range(20):
        with emulator.settings(checked=True), pytest.raises(emulator.EmulatorError):
            kernels.add_boxes("MISSING_EMPTY_WAIT")
        with pytest.raises(emulator.EmulatorError):
            kernels.chain("WAITS_FOR_NOBODY")
        got, expected = kernels.add_boxes(None)
        np.testing.assert_array_equal(got.memory, expected)


def test_memory_is_guarded_poisoned_and_given_back():
    for shape, dtype in [((), "f"), ((0, 3), "f"), (5, "e"), ((3, 4099), "d"), ((7,), "?")]:
        values = emulator.memory(shape, dtype)
        assert values.shape == np.empty(shape, dtype).shape and values.dtype == dtype
        if values.dtype.kind == "f":
            assert np.isnan(values).all()
        owner = values
        while isinstance(owner, np.ndarray):
            owner = owner.base
        assert owner.pointer % 16 == 0
        assert values.nbytes == 0 or 0 <= -(owner.pointer + values.nbytes) % 4096 < 16  # up to the guard
    before = emulator.memory_in_use()
    kept = [emulator.memory(1000, "f") for _ in range(10)]
    assert emulator.memory_in_use() - before == 10 * 4096
    del kept
    assert emulator.memory_in_use() == before


def test_threads_of_the_host_may_launch_at_once():
    """Launches take turns; what goes wrong in one is told to the thread that made it."""

    def work(bug):
        for _ in range(10):
            if bug:
                with pytest.raises(emulator.EmulatorError, match="division"):
                    kernels.arithmetic(bug)
            else:
                got, expected = kernels.block_sum(None, blocks=50)
                np.testing.assert_allclose(got.memory, expected, rtol=1e-4, atol=1e-4)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, bug) for bug in (None, "DIVISION", None, "DIVISION")]:
            done.result()
