"""Probes of wgmma (see probes.py): operands laid into shared memory by NumPy, in every layout that descriptors have."""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.probes import F32, TYPES, Approximately, Bench, Data, Pairs, Probe, as_read, as_words, swizzled

PROBES: list[Probe] = []


def operand_image(x: np.ndarray, swizzle: int, mn_major: bool) -> tuple[np.ndarray, int, int]:
    """An operand (mn, k) as it lies in shared memory, with its leading and stride byte offsets.

    PTX ISA, "Strides" of the shared memory layouts of wgmma: core matrices of 8 rows by 16 bytes.
    """
    size = x.itemsize
    width = swizzle or 16
    if mn_major:  # lines of `width` bytes hold consecutive mn; eight k are a block
        x = x.T
    rows, row = x.shape
    line = width // size
    columns = -(-row // line)  # blocks of a line's width, and of 8 rows
    blocks = np.zeros((columns, rows // 8, 8, line), x.dtype)
    for column in range(columns):
        part = x[:, column * line : (column + 1) * line]
        blocks[column, ..., : part.shape[1]] = part.reshape(rows // 8, 8, -1)
    block, column_bytes = 8 * width, rows // 8 * 8 * width
    image = swizzled(np.pad(as_words(blocks), (0, -blocks.nbytes % 1024)), swizzle)
    if swizzle or not mn_major:
        return image, column_bytes, block
    return image, block, column_bytes  # without a swizzle the names change places


def wgmma(bench: Bench, data: Data, kind: str, columns: int, swizzle: int = 128, a_in_registers: bool = False,
          transposed: tuple[int, int] = (0, 0), products: int = 2) -> Pairs:  # fmt: skip
    dtype = TYPES[kind]
    depth = 32 // dtype.itemsize
    a, b = data.floats(64, depth, dtype=dtype), data.floats(columns, depth, dtype=dtype)
    a_image, a_lbo, a_sbo = operand_image(a, swizzle, bool(transposed[0]))
    b_image, b_lbo, b_sbo = operand_image(b, swizzle, bool(transposed[1]))
    words = 4 // dtype.itemsize
    thread, i, half = np.ogrid[:128, :4, :words]
    row = thread // 32 * 16 + thread % 32 // 4 + 8 * (i % 2)
    column = thread % 4 * words + half + 4 * words * (i // 2)
    registers = np.ascontiguousarray(a[row, column]).view(np.uint32).reshape(128, 4)
    d = bench.empty((128, columns // 2), F32)
    defines = wgmma_defines(kind, columns, swizzle, a_in_registers, transposed, products)
    image = np.concatenate([a_image, b_image]).view(np.uint32)
    assert image.nbytes == defines["A_BYTES"] + defines["B_BYTES"]
    arguments = (bench.place(image), bench.place(registers), d, a_lbo, a_sbo, b_lbo, b_sbo)
    bench.launch("probe_wgmma.cu", "probe_wgmma", 1, 128, arguments, shared=image.nbytes, defines=defines)
    x, y = as_read(a, kind), as_read(b, kind)
    want, bound = products * (x @ y.T), products * (np.abs(x) @ np.abs(y).T)
    thread, i = np.ogrid[:128, : columns // 2]
    at = (thread // 32 * 16 + thread % 32 // 4 + 8 * (i // 2 % 2), thread % 4 * 2 + i % 2 + i // 4 * 8)
    return [(d.get(), Approximately(want[at], products * depth * 2.0**-22 * bound[at]))]


def registers(bench: Bench, data: Data) -> Pairs:
    words = data.words(384)
    out = bench.empty((384,), np.uint32)
    bench.launch("probe_registers.cu", "probe_registers", 1, 384, (bench.place(words), out))
    return [(out.get(), np.concatenate([words[:128] + np.uint32(1), words[128:] * np.uint32(3)]))]


PROBES.append(Probe("registers", "probe_registers.cu", registers, only=90))


def wgmma_defines(kind: str, columns: int, swizzle: int, a_in_registers: bool, transposed: tuple[int, int],
                  products: int) -> dict[str, Any]:  # fmt: skip
    def image_bytes(mn: int, mn_major: bool) -> int:
        size = TYPES[kind].itemsize
        rows, row = (32 // size, mn) if mn_major else (mn, 32 // size)
        width = swizzle or 16
        return -(-(-(-row * size // width) * rows * width) // 1024) * 1024

    return {
        "TYPE": kind, "COLUMNS": columns, "SWIZZLE": swizzle, "A_IN_REGISTERS": int(a_in_registers),
        "A_TRANSPOSED": transposed[0], "B_TRANSPOSED": transposed[1], "PRODUCTS": products,
        "A_BYTES": image_bytes(64, bool(transposed[0])), "B_BYTES": image_bytes(columns, bool(transposed[1])),
    }  # fmt: skip


def add_wgmma(name: str, kind: str, columns: int, **options: Any) -> None:
    chosen = {"swizzle": 128, "a_in_registers": False, "transposed": (0, 0), "products": 2, **options}
    defines = wgmma_defines(kind, columns, **chosen)
    full = {"kind": kind, "columns": columns, **chosen}
    PROBES.append(Probe(f"wgmma_{name}", "probe_wgmma.cu", wgmma, defines, only=90, options=full))


for kind in TYPES:
    for span in (0, 32, 64, 128):
        add_wgmma(f"{kind}_swizzle_{span}", kind, 64, swizzle=span)
        if kind != "tf32":
            for both in ((0, 1), (1, 0), (1, 1)):
                add_wgmma(
                    f"{kind}_swizzle_{span}_t{both[0]}{both[1]}",
                    kind,
                    128 if span == 128 else 64,
                    swizzle=span,
                    transposed=both,
                )
    add_wgmma(f"{kind}_registers", kind, 48, a_in_registers=True)
    if kind != "tf32":
        add_wgmma(f"{kind}_registers_t1", kind, 64, a_in_registers=True, transposed=(0, 1))
    for columns in (8, 24, 256):
        add_wgmma(f"{kind}_n{columns}", kind, columns)
