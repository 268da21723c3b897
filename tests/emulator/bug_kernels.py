"""The kernels of tests/emulator/kernels/bug_*.cu, right and with one bug each, and how they are launched."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from weft.backends import emulator
from weft.backends.launch import kernel, launch, tensor_map

FOLDER = Path(__file__).parent / "kernels"
draw = np.random.default_rng()


@lru_cache
def reported_lines(file):
    """The lines that a comment `// reported:` precedes, by bug."""
    lines = {}
    for number, text in enumerate((FOLDER / file).read_text().splitlines(), 1):
        marked = re.match(r" *// reported:(.*)", text)
        for bug in marked[1].split() if marked else ():
            lines.setdefault(bug, []).append(number + 1)
    return lines


def device(values):
    out = emulator.empty(values.shape, values.dtype)
    out.memory[...] = values
    return out


def floats(*shape):
    return device(draw.standard_normal(shape, dtype=np.float32))


def run(file, name, bug, grid, block, arguments, **options):
    launch(kernel(str(FOLDER / file), name, **({bug: 1} if bug else {})), grid, block, arguments, **options)


def block_sum(bug, blocks=3):
    x, out = floats(blocks, 128), emulator.empty(blocks, "f")
    run("bug_threads.cu", "block_sum", bug, (blocks,), (128,), (x, out), shared=512)
    return out, x.memory.sum(1)


def turn(bug):
    x, out = floats(8, 8), emulator.empty((8, 8), "f")
    run("bug_threads.cu", "turn", bug, (1,), (64,), (x, out))
    return out, x.memory.T


def warp_sum(bug):
    x, out = floats(2, 32), emulator.empty(2, "f")
    run("bug_threads.cu", "warp_sum", bug, (1,), (64,), (x, out))
    return out, x.memory.sum(1)


def hand_on(bug):
    x, out = floats(128), emulator.empty(128, "f")
    run("bug_threads.cu", "hand_on", bug, (1,), (128,), (x, out))
    return out, np.concatenate([x.memory[:64], x.memory[:64][::-1]])


def arithmetic(bug):
    x, out = device(np.arange(32, dtype=np.int32)), emulator.empty(32, "i")
    run("bug_threads.cu", "arithmetic", bug, (1,), (32,), (x, out))
    return out, (x.memory // 8 + 1) * (100 // (x.memory + 1)) * 2


def add_next(bug, n=150):
    x, out = floats(n + 1), emulator.empty(n, "f")
    run("bug_global.cu", "add_next", bug, (3,), (64,), (x, out, n))
    return out, x.memory[:-1] + x.memory[1:]


def last_block_sums(bug, blocks=6):
    x, part, count, out = (
        floats(blocks, 64),
        emulator.empty(blocks, "f"),
        device(np.zeros(1, "I")),
        emulator.empty(1, "f"),
    )
    run("bug_global.cu", "last_block_sums", bug, (blocks,), (64,), (x, part, count, out))
    return out, x.memory.sum(keepdims=True).reshape(1)


def chain(bug):
    blocks = 40 if bug == "WAITS_FOR_NEXT" else 6  # more than can be resident
    x, out, flags = floats(blocks, 64), emulator.empty((blocks, 64), "f"), device(np.zeros(blocks, "I"))
    run("bug_global.cu", "chain", bug, (blocks,), (64,), (x, out, flags))
    return out, np.cumsum(x.memory, 0)


def chain_with_fences(bug):
    x, out, flags = floats(6, 64), emulator.empty((6, 64), "f"), device(np.zeros(6, "I"))
    run("bug_global.cu", "chain_with_fences", bug, (6,), (64,), (x, out, flags))
    return out, np.cumsum(x.memory, 0)


def poll_together(bug):
    x, out, flag = floats(6, 64), emulator.empty((6, 64), "f"), device(np.zeros(1, "I"))
    run("bug_global.cu", "poll_together", bug, (6,), (64,), (x, out, flag))
    return out, x.memory


def exchange(bug, blocks=5, cooperative=True):
    x, middle, out = floats(blocks, 64), emulator.empty((blocks, 64), "f"), emulator.empty((blocks, 64), "f")
    run("bug_global.cu", "exchange", bug, (blocks,), (64,), (x, middle, out), cooperative=cooperative)
    return out, np.roll(x.memory, -1, 0) * 2


def dependent(bug):
    x, middle, out = floats(129), emulator.empty(128, "f"), emulator.empty(128, "f")
    run("bug_global.cu", "add_next", None, (2,), (64,), (x, middle, 128))
    run("bug_global.cu", "dependent", bug, (2,), (64,), (middle, out), dependent=True)
    return out, x.memory[:-1] + x.memory[1:] + 1


def add_slices(bug, slices=5):
    x = device(draw.integers(0, 99, (slices, 64, 8), dtype=np.uint16))
    out = emulator.empty(64, "I")
    run("bug_pipeline.cu", "add_slices", bug, (1,), (64,), (x, out, slices))
    pairs = x.memory.astype(np.uint32).view(np.uint64)  # the two values of a register
    pairs = (pairs & 0xFFFFFFFF) + (pairs >> 32 << 16)
    halves = pairs.reshape(slices, 2, 4, 8, 4).sum((0, 2)).reshape(2, 32)[::-1]  # (warp, lane), of the other warp
    return out, halves.astype(np.uint32).reshape(64)


def add_boxes(bug, slices=5):
    x = device(draw.integers(0, 99, (slices * 64, 64), dtype=np.uint16))
    out = emulator.empty((64, 64), "H")
    maps = [tensor_map(a, (64, len(a.memory)), (128,), (64, 64)) for a in (x, out)]
    run("bug_tma.cu", "add_boxes", bug, (1,), (64,), (*maps, slices), shared=3 * 8192)
    return out, x.memory.reshape(slices, 64, 64).sum(0, dtype=np.uint16)


def multiply_boxes(bug, slices=5):
    import ml_dtypes

    a, b = (device(draw.integers(-4, 5, (64, 64 * slices)).astype(ml_dtypes.bfloat16)) for _ in range(2))
    d = emulator.empty((64, 64), "f")
    maps = [tensor_map(x, (64 * slices, 64), (128 * slices,), (64, 64), swizzle=128) for x in (a, b)]
    run("bug_tma.cu", "multiply_boxes", bug, (1,), (160,), (*maps, d, slices), shared=4 * 8192)
    return d, a.memory.astype(np.float32) @ b.memory.astype(np.float32).T


def pass_around(bug, size=4):
    x, out = floats(2 * size, 32), emulator.empty((2 * size, 32), "f")
    run("bug_cluster.cu", "pass_around", bug, (2 * size,), (32,), (x, out), cluster=(size,))
    return out, x.memory + 1


def spread(bug):
    x, out = floats(32, 32), emulator.empty((2, 32, 32), "f")
    arguments = (tensor_map(x, (32, 32), (128,), (32, 16)), out)
    run("bug_cluster.cu", "spread", bug, (2,), (32,), arguments, shared=4096, cluster=(2,))
    return out, np.broadcast_to(x.memory, (2, 32, 32))


#: Every kernel in its right form.
CLEAN = [block_sum, turn, warp_sum, hand_on, arithmetic, add_next, last_block_sums, chain, chain_with_fences,
         poll_together, exchange, dependent,
         add_slices, add_boxes, multiply_boxes, pass_around, spread]  # fmt: skip
