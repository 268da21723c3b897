"""Probes of TMA (see probes.py): boxes of tensors and columns of pixels, as NumPy's indexing has them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.probes import BF16, F16, F32, Bench, Data, Pairs, Probe, as_words, swizzled
from weft.backends import launch

PROBES: list[Probe] = []


def out_of_bounds(dtype: np.dtype, fill: str) -> Any:
    return np.nan if fill == "nan" else 0


def box_of(x: np.ndarray, start: Any, box: Any, steps: Any, fill: str) -> np.ndarray:
    """The box of x at `start`, innermost dimension first as in a map (x itself is innermost last)."""
    count = [-(-b // s) for b, s in zip(box, steps)]
    places = [c + np.arange(n) * s for c, n, s in zip(start, count, steps)]
    grids = np.meshgrid(*places[::-1], indexing="ij")
    inside = np.all([(g >= 0) & (g < n) for g, n in zip(grids, x.shape)], axis=0)
    values = x[tuple(np.clip(g, 0, n - 1) for g, n in zip(grids, x.shape))]
    return np.where(inside, values, np.array(out_of_bounds(x.dtype, fill), x.dtype))


def nearest_even_tf32(x: np.ndarray) -> np.ndarray:
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0xFFF + (bits >> np.uint64(13) & np.uint64(1))) & np.uint64(0xFFFFE000)).astype(np.uint32)
    return np.where(np.isfinite(x), rounded, bits.astype(np.uint32)).view(np.float32)


def padded(bench: Bench, x: np.ndarray) -> tuple[Any, tuple[int, ...], list[int], Any]:
    """x on the device with rows padded to whole 16 bytes: (array, shape, strides, read), innermost first.

    `read` gives what then lies in the place of x.
    """
    per = 16 // x.itemsize
    room = np.zeros((*x.shape[:-1], -(-x.shape[-1] // per) * per), x.dtype)
    room[..., : x.shape[-1]] = x
    array = bench.place(room)
    return array, x.shape[::-1], list(room.strides[-2::-1]), lambda: array.get()[..., : x.shape[-1]]


AT = np.dtype([("c", np.int32, 5), ("o", np.uint16, 4)])


def at_of(coordinates: Any, offsets: Any = ()) -> bytes:
    at = np.zeros((), AT)
    at["c"][: len(coordinates)] = coordinates
    at["o"][: len(offsets)] = offsets
    return at.tobytes()


@dataclass(frozen=True)
class Box:
    """One box of one tensor: all sizes innermost first."""

    shape: tuple[int, ...]
    box: tuple[int, ...]
    start: tuple[int, ...]
    dtype: Any = BF16
    swizzle: int = 0
    steps: tuple[int, ...] = ()
    fill: str = "zero"
    tf32: bool = False

    @property
    def every(self) -> tuple[int, ...]:
        return self.steps or (1,) * len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(-(-b // s) for b, s in zip(self.box, self.every)) * np.dtype(self.dtype).itemsize

    @property
    def defines(self) -> dict[str, Any]:
        return {"RANK": len(self.shape), "IM2COL": 0, "ADD": 0}

    def tensor_map(self, bench: Bench, x: np.ndarray) -> tuple[Any, Any]:
        array, shape, strides, read = padded(bench, x)
        options = {"swizzle": self.swizzle, "fill": self.fill, "element_strides": self.every}
        if self.tf32:
            options["dtype"] = "tf32"
        return launch.tensor_map(array, shape, strides, self.box, **options), read


def tensor(data: Data, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return data.floats(*shape[::-1], dtype=dtype)


def tma_load(bench: Bench, data: Data, box: Box, size: int = 1) -> Pairs:
    """size: blocks of a cluster, each of which multicasts a box to all."""
    x = tensor(data, box.shape, box.dtype)
    if box.tf32:  # ties, down and up
        ties = x.view(np.uint32)[..., ::3]
        ties[:] = ties & np.uint32(0xFFFFE000) | np.uint32(0x1000)
    map_, _ = box.tensor_map(bench, x)
    out = bench.empty((size, size, box.nbytes // 4), np.uint32)
    room = -(-box.nbytes // 1024) * 1024 * size
    bench.launch("probe_tma.cu", "probe_tma_load", size, 64, (map_, at_of(box.start), out, box.nbytes),
                 shared=room, cluster=(size, 1, 1), defines=box.defines)  # fmt: skip
    boxes = []
    for rank in range(size):
        start = (*box.start[:-1], box.start[-1] + rank)
        values = box_of(nearest_even_tf32(x) if box.tf32 else x, start, box.box, box.every, box.fill)
        boxes.append(swizzled(as_words(values), box.swizzle).view(box.dtype))
    want = np.broadcast_to(np.stack(boxes), (size, size, boxes[0].size))
    return [(out.get().view(box.dtype), want)]


def tma_store(bench: Bench, data: Data, box: Box, add: bool = False) -> Pairs:
    before = tensor(data, box.shape, box.dtype)
    map_, read = box.tensor_map(bench, before)
    count = [-(-b // s) for b, s in zip(box.box, box.every)]
    values = tensor(data, tuple(count), box.dtype)
    image = swizzled(as_words(values), box.swizzle).view(np.uint32)  # the swizzle undoes itself
    defines = {**box.defines, "ADD": int(add)}
    bench.launch("probe_tma.cu", "probe_tma_store", 1, 64, (map_, at_of(box.start), bench.place(image), box.nbytes),
                 shared=-(-box.nbytes // 1024) * 1024, defines=defines)  # fmt: skip
    want = before.copy()
    places = [c + np.arange(n) * s for c, n, s in zip(box.start, count, box.every)]
    for index in np.ndindex(*count[::-1]):
        place = tuple(int(p[i]) for p, i in zip(places[::-1], index))
        if all(0 <= p < n for p, n in zip(place, want.shape)):
            was = want[place].astype(np.float64) if add else 0
            want[place] = (was + values[index].astype(np.float64)).astype(box.dtype)
    return [(read(), want)]


BOXES = {
    "1d": Box((100,), (64,), (60,)),
    "1d_before": Box((100,), (32,), (-8,), F32),
    "2d": Box((72, 30), (16, 8), (40, 25)),
    "2d_f32": Box((20, 9), (4, 5), (18, -2), F32),
    "2d_swizzle_32": Box((50, 40), (16, 32), (40, 20), swizzle=32),
    "2d_swizzle_64": Box((50, 40), (32, 32), (30, 20), swizzle=64),
    "2d_swizzle_128": Box((150, 80), (64, 64), (100, 30), swizzle=128),
    "2d_swizzle_128_f32": Box((70, 40), (32, 32), (50, -3), F32, swizzle=128),
    "2d_nan": Box((50, 12), (16, 8), (40, 8), fill="nan"),
    "2d_nan_f16": Box((50, 12), (16, 8), (-10, 8), F16, fill="nan"),
    "2d_tf32": Box((50, 12), (32, 8), (40, 8), F32, swizzle=128, tf32=True),
    "2d_steps": Box((64, 40), (16, 24), (8, 3), steps=(1, 3)),
    "3d": Box((24, 7, 5), (8, 4, 3), (20, 5, -1)),
    "3d_steps": Box((64, 9, 9), (32, 6, 4), (0, 1, 2), swizzle=64, steps=(1, 2, 4)),
    "4d": Box((40, 6, 5, 4), (32, 3, 2, 3), (0, -1, 4, 2), swizzle=64),
    "5d": Box((16, 4, 3, 4, 3), (8, 2, 3, 2, 2), (8, 3, -1, 1, 2)),
    "5d_swizzle_128": Box((64, 4, 3, 4, 3), (64, 2, 2, 2, 2), (0, 3, 1, -1, 1), swizzle=128),
}
MULTICAST = {
    "1d": Box((100,), (64,), (60,)),
    "2d": Box((150, 80), (64, 32), (100, 30), swizzle=128),
    "3d": Box((24, 7, 5), (8, 4, 4), (20, 5, -1)),
    "4d": Box((40, 6, 5, 4), (32, 4, 2, 2), (0, -1, 4, 2), swizzle=64),
    "5d": Box((16, 4, 3, 4, 3), (8, 4, 2, 2, 1), (8, 3, -1, 1, 2)),
}


for name, box in BOXES.items():
    tma = {"file": "probe_tma.cu", "defines": box.defines, "arch": 90}
    PROBES.append(Probe(f"tma_load_{name}", run=tma_load, options={"box": box}, **tma))
    if box.fill == "zero" and not box.tf32:
        PROBES.append(Probe(f"tma_store_{name}", run=tma_store, options={"box": box}, **tma))
        add = {**tma, "defines": {**box.defines, "ADD": 1}}
        PROBES.append(Probe(f"tma_reduce_add_{name}", run=tma_store, options={"box": box, "add": True}, **add))
for name, box in MULTICAST.items():
    PROBES.append(Probe(f"tma_load_multicast_{name}", "probe_tma.cu", tma_load, box.defines, 90,
                        options={"box": box, "size": 4}))  # fmt: skip


@dataclass(frozen=True)
class Column:
    """Pixels of images (channels, width, (height, (depth,)) images), as a convolution's filter tap sees them."""

    shape: tuple[int, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    channels: int
    pixels: int
    start: tuple[int, ...]  # channel, pixel, image: the pixel is one of the bounding box
    tap: tuple[int, ...]
    dtype: Any = BF16
    swizzle: int = 0
    stride: tuple[int, ...] = ()
    fill: str = "zero"

    @property
    def nbytes(self) -> int:
        return self.channels * self.pixels * np.dtype(self.dtype).itemsize

    @property
    def defines(self) -> dict[str, Any]:
        return {"RANK": len(self.shape), "IM2COL": 1, "ADD": 0}

    def walk(self) -> list[tuple[int, ...]]:
        """The pixels (w, h, d, image), taps not added: along the bounding box's rows, then on to the next image."""
        space = len(self.shape) - 2
        stride = self.stride or (1,) * space
        axes = [range(low, n + up, step) for low, n, up, step in zip(self.lower, self.shape[1:], self.upper, stride)]
        at, image = list(self.start[1:-1]), self.start[-1]
        found = []
        for _ in range(self.pixels):
            found.append((*at, image))
            for i in range(space):
                at[i] += stride[i]
                if at[i] <= axes[i][-1]:
                    break
                at[i] = self.lower[i]
            else:
                image += 1
        return found

    def tensor_map(self, bench: Bench, x: np.ndarray) -> tuple[Any, Any]:
        array, shape, strides, read = padded(bench, x)
        stride = self.stride or (1,) * (len(self.shape) - 2)
        made = launch.tensor_map_im2col(
            array, shape, strides, self.lower, self.upper, self.channels, self.pixels,
            swizzle=self.swizzle, fill=self.fill, element_strides=(1, *stride, 1),
        )  # fmt: skip
        return made, read


def im2col_load(bench: Bench, data: Data, column: Column, size: int = 1) -> Pairs:
    x = tensor(data, column.shape, column.dtype)
    map_, _ = column.tensor_map(bench, x)
    out = bench.empty((size, size, column.nbytes // 4), np.uint32)
    room = -(-column.nbytes // 1024) * 1024 * size
    arguments = (map_, at_of(column.start, column.tap), out, column.nbytes)
    bench.launch("probe_tma.cu", "probe_tma_load", size, 64, arguments, shared=room, cluster=(size, 1, 1),
                 defines=column.defines)  # fmt: skip
    want = np.full((size, column.pixels, column.channels), out_of_bounds(x.dtype, column.fill), column.dtype)
    for rank in range(size):
        for pixel, (*at, image) in enumerate(column.walk()):
            place = (image + rank, *[p + o for p, o in zip(at, column.tap)][::-1])
            if all(0 <= p < n for p, n in zip(place, x.shape)):
                row = x[place][column.start[0] : column.start[0] + column.channels]
                want[rank, pixel, : len(row)] = row
    image_ = np.stack([swizzled(as_words(w), column.swizzle).view(column.dtype) for w in want])
    return [(out.get().view(column.dtype), np.broadcast_to(image_, (size, *image_.shape)))]


def im2col_store(bench: Bench, data: Data, column: Column) -> Pairs:
    before = tensor(data, column.shape, column.dtype)
    map_, read = column.tensor_map(bench, before)
    values = data.floats(column.pixels, column.channels, dtype=column.dtype)
    image = swizzled(as_words(values), column.swizzle).view(np.uint32)
    arguments = (map_, at_of(column.start), bench.place(image), column.nbytes)
    bench.launch("probe_tma.cu", "probe_tma_store", 1, 64, arguments, shared=-(-column.nbytes // 1024) * 1024,
                 defines=column.defines)  # fmt: skip
    want = before.copy()
    for pixel, (*at, image_) in enumerate(column.walk()):
        place = (image_, *at[::-1])
        if all(0 <= p < n for p, n in zip(place, want.shape)):
            first = column.start[0]
            row = want[place][first : first + column.channels]
            row[:] = values[pixel, : len(row)]
    return [(read(), want)]


COLUMNS = {
    # a 3-wide filter with padding 1: its taps' pixels go from -1 to width - 2
    "3d": Column((16, 9, 3), (-1,), (-1,), 8, 20, (8, 3, 0), (2,)),
    "3d_ragged": Column((20, 7, 2), (0,), (0,), 16, 16, (8, 5, 0), (0,)),
    "4d": Column((64, 7, 6, 3), (-1, -1), (-1, -1), 64, 64, (0, 2, 4, 0), (1, 2), swizzle=128),
    "4d_stride": Column((32, 11, 9, 3), (-2, -2), (-2, -2), 32, 40, (0, 2, 0, 1), (4, 3), swizzle=64, stride=(2, 2)),
    "4d_f32": Column((32, 5, 5, 4), (0, 0), (-2, -2), 32, 32, (0, 1, 2, 1), (2, 1), F32, swizzle=128),
    "4d_nan": Column((24, 6, 6, 2), (-1, -1), (-1, -1), 16, 32, (16, -1, -1, 0), (0, 0), fill="nan"),
    "5d": Column((16, 5, 4, 3, 2), (-1, -1, -1), (-1, -1, -1), 16, 50, (0, 1, 0, 1, 0), (1, 0, 2), swizzle=32),
    "5d_stride": Column((8, 9, 7, 5, 2), (-1, -1, -1), (-1, -1, -1), 8, 48, (0, -1, 1, -1, 0), (2, 1, 0),
                        stride=(2, 2, 4)),
}  # fmt: skip
for name, column in COLUMNS.items():
    tma = {"file": "probe_tma.cu", "defines": column.defines, "arch": 90}
    PROBES.append(Probe(f"tma_load_im2col_{name}", run=im2col_load, options={"column": column}, **tma))
    if column.fill == "zero":
        PROBES.append(Probe(f"tma_store_im2col_{name}", run=im2col_store, options={"column": column}, **tma))
for rank in "345":
    column = COLUMNS[f"{rank}d"]
    PROBES.append(Probe(f"tma_load_im2col_multicast_{rank}d", "probe_tma.cu", im2col_load, column.defines, 90,
                        options={"column": column, "size": 2}))  # fmt: skip
