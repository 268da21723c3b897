"""TensorBoard: figures, pictures, histograms, texts and graphs of a run, for `tensorboard --logdir`.

Writing needs no TensorBoard: the files are made in `events`.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import on_host
from weft.train import events
from weft.train.callbacks import Callback
from weft.train.events import data, double, doubles, integer, plugin, single, value

if TYPE_CHECKING:
    from weft.train.trainer import Trainer

STRING, FLOAT = 7, 1  # DataType of a TensorProto
SUCCESS, START = 1, 1  # Status, SessionLog.SessionStatus
numbers = itertools.count()


class SummaryWriter:
    """Writes an event file into `folder`, with the names of PyTorch's class; `step` is its global_step.

    folder: made if need be; each writer has a file of its own.  A context manager that closes it.

    >>> with SummaryWriter("runs/first") as writer:                             # doctest: +SKIP
    ...     writer.add_scalar("loss", 0.5, step=1)
    """

    def __init__(self, folder: Path | str, flush_secs: float = 120.0):
        now = time.time()
        # readers take a folder's files in the order of their names
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{next(numbers):06d}"
        self.folder, self.flush_secs = Path(folder), flush_secs
        self.file = events.EventFile(self.folder / name, now)
        self.flushed = now

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, step: int | None, wall_time: float | None, *fields: bytes) -> None:
        now = time.time()
        self.file.write(events.event(now if wall_time is None else wall_time, step or 0, *fields))
        if now - self.flushed >= self.flush_secs:
            self.flush()

    def flush(self) -> None:
        """Let readers see all that was written so far."""
        self.file.flush()
        self.flushed = time.time()

    def close(self) -> None:
        self.file.close()

    # ---- what may be added

    def add_scalar(self, tag: str, scalar_value: Any, step: int | None = None, wall_time: float | None = None) -> None:
        """One number under `tag`; NaN and infinities are kept. TypeError unless it is one number."""
        number = values(scalar_value)
        if number.size != 1 or number.dtype.kind not in "biuf":
            raise TypeError(f"add_scalar: expected one real number, got {number.dtype} {number.shape}")
        self.write(step, wall_time, value(tag, single(2, number.reshape(()).item())))

    def add_scalars(self, tag: str, scalars: Mapping[str, Any], step: int | None = None) -> None:
        """Several numbers, under `tag`/name."""
        for name, scalar in scalars.items():
            self.add_scalar(f"{tag}/{name}", scalar, step)

    def add_histogram(
        self, tag: str, values_: Any, step: int | None = None, bins: Any = "tensorflow", wall_time: float | None = None
    ) -> None:
        """How values are distributed. bins: "tensorflow" (growing by 10 % from 1e-12 both ways) or as numpy.histogram.

        ValueError for none, or where one is not finite.
        """
        flat = values(values_).astype(np.float64).reshape(-1)
        if not flat.size or not np.isfinite(flat).all():
            raise ValueError(f"add_histogram: expected finite values, got {flat.size} with "
                             f"{np.count_nonzero(~np.isfinite(flat))} not finite")  # fmt: skip
        edges = bins
        if isinstance(bins, str) and bins == "tensorflow":
            edges = EDGES
            if np.abs(flat).max() > EDGES[-1]:
                edges = np.concatenate([[-np.finfo(float).max], EDGES, [np.finfo(float).max]])
        counts, edges = np.histogram(flat, edges)
        used = np.flatnonzero(counts)
        if not used.size:
            raise ValueError(f"add_histogram: expected bins that hold a value, got {len(counts)} empty ones")
        first, last = used[0], used[-1] + 1
        # the reader takes bucket i as (limit[i - 1], limit[i]]: an empty first one says where the second begins
        limits, buckets = edges[first : last + 1], np.concatenate([[0], counts[first:last]])
        sums = double(4, flat.sum()) + double(5, np.square(flat).sum())
        body = double(1, flat.min()) + double(2, flat.max()) + double(3, flat.size) + sums
        self.write(step, wall_time, value(tag, data(5, body, doubles(6, limits), doubles(7, buckets))))

    def add_image(
        self, tag: str, image: Any, step: int | None = None, wall_time: float | None = None, dataformats: str = "CHW"
    ) -> None:
        """A picture: uint8, or floats from 0 to 1. dataformats: "CHW", "HWC" or "HW"; C is 1, 3 or 4 (with alpha)."""
        pixels = as_pixels(values(image), dataformats)
        height, width, channels = pixels.shape
        body = integer(1, height) + integer(2, width) + integer(3, channels) + data(4, png(pixels))
        self.write(step, wall_time, value(tag, data(4, body)))

    def add_images(self, tag: str, images: Any, step: int | None = None, columns: int = 8) -> None:
        """A batch of pictures (N, C, H, W) laid out as one, `columns` of them in a row."""
        batch = values(images)
        if batch.ndim != 4:
            raise ValueError(f"add_images: expected images (N, C, H, W), got shape {batch.shape}")
        n, channels, height, width = batch.shape
        across = min(columns, n)
        grid = np.zeros((-(-n // across) * across, channels, height, width), batch.dtype)
        grid[:n] = batch
        rows = grid.reshape(-1, across, channels, height, width).transpose(2, 0, 3, 1, 4)
        self.add_image(tag, rows.reshape(channels, -1, across * width), step)

    def add_figure(self, tag: str, figure: Any, step: int | None = None) -> None:
        """A figure of matplotlib's, as it looks now."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self.add_image(tag, np.asarray(canvas.buffer_rgba()), step, dataformats="HWC")

    def add_text(self, tag: str, text: str, step: int | None = None, wall_time: float | None = None) -> None:
        """A text, which TensorBoard shows as Markdown."""
        tensor = integer(1, STRING) + data(2, data(2, integer(1, 1))) + data(8, text)
        self.write(step, wall_time, value(f"{tag}/text_summary", plugin("text"), data(8, tensor)))

    def add_graph(self, model: Any, *inputs: Any) -> None:
        """The ops that `model(*inputs)` records, inside the layers that they belong to, with parameters and shapes."""
        from weft.train.graph import graph_of

        self.write(None, None, data(4, graph_of(model, *inputs)))

    def add_hparams(self, hparams: Mapping[str, Any], metrics: Mapping[str, float], name: str | None = None) -> None:
        """The settings of a run (numbers, bools, texts) and what it reached, for the HParams dashboard.

        name: the run's folder below this writer's; one with the time by default.
        """
        run = name or f"hparams-{time.time():.6f}"
        infos = [data(4, data(1, key), integer(4, setting(key, item)[0])) for key, item in hparams.items()]
        goals = [data(5, data(1, data(2, key))) for key in metrics]
        start = [data(1, data(1, key), data(2, setting(key, item)[1])) for key, item in hparams.items()]
        with SummaryWriter(self.folder / run) as writer:
            for tag, field in (
                ("_hparams_/experiment", data(2, *infos, *goals)),
                ("_hparams_/session_start_info", data(3, *start, double(5, time.time()))),
                ("_hparams_/session_end_info", data(4, integer(1, SUCCESS), double(2, time.time()))),
            ):
                zero = data(8, integer(1, FLOAT), data(2), single(5, 0.0))
                writer.write(0, None, value(tag, plugin("hparams", field), zero))
            for key, item in metrics.items():
                writer.add_scalar(key, item, 0)


# ---- values as they are written


def values(x: Any) -> np.ndarray[Any, Any]:
    """The values of a Tensor or anything that NumPy takes."""
    raw = on_host(x.data) if isinstance(x, Tensor) else np.asarray(x)
    return raw.astype(np.float32) if raw.dtype.name == "bfloat16" else raw


def edges_of_buckets() -> np.ndarray[Any, Any]:
    half = [1e-12]
    while half[-1] < 1e20:
        half.append(half[-1] * 1.1)
    return np.array([*[-x for x in reversed(half)], 0.0, *half])


EDGES = edges_of_buckets()


def as_pixels(image: np.ndarray[Any, Any], dataformats: str) -> np.ndarray[Any, Any]:
    """uint8 (H, W, C) of a picture in one of three layouts."""
    orders = {"CHW": (1, 2, 0), "HWC": (0, 1, 2), "HW": (0, 1)}
    if dataformats not in orders or image.ndim != len(dataformats):
        raise ValueError(f"add_image: expected dataformats out of {', '.join(orders)} for its axes, "
                         f"got {dataformats!r} for shape {image.shape}")  # fmt: skip
    pixels = image.transpose(orders[dataformats])
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise ValueError(f"add_image: expected 1, 3 or 4 channels and a pixel, got shape {image.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f" or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(f"add_image: expected uint8, or floats from 0 to 1, got {pixels.dtype} "
                         f"from {pixels.min()} to {pixels.max()}")  # fmt: skip
    return np.round(pixels * 255).astype(np.uint8)


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """uint8 (H, W, C) as a PNG file. Source: PNG specification, third edition, sections 5 and 9."""
    height, width, channels = pixels.shape
    colour = {1: 0, 3: 2, 4: 6}[channels]
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter, 0
    lines[:, 1:] = pixels.reshape(height, -1)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines.tobytes())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def setting(name: str, item: Any) -> tuple[int, bytes]:
    """(DataType, google.protobuf.Value) of a hyperparameter."""
    if isinstance(item, (bool, np.bool_)):
        return 2, integer(4, bool(item))
    if isinstance(item, (int, float, np.integer, np.floating)):
        return 3, double(2, float(item))
    if isinstance(item, str):
        return 1, data(3, item)
    raise TypeError(f"add_hparams: expected numbers, bools and texts, got {type(item).__name__} for {name!r}")


# ---- of a Trainer


class TensorBoard(Callback):
    """Writes what a Trainer records into event files: every step's and every round's figures, parameters if wanted.

    folder: where. histograms: also how each parameter and its gradient is distributed, after every round.

    >>> trainer = Trainer(model, optimizer, loss, callbacks=[TensorBoard("runs/first")])    # doctest: +SKIP
    """

    def __init__(self, folder: Path | str, histograms: bool = False):
        self.folder, self.histograms = Path(folder), histograms
        self.writer: SummaryWriter | None = None
        self.written = 0  # of the trainer's records

    def open(self, trainer: Trainer) -> SummaryWriter:
        if self.writer is None:
            again = any(self.folder.glob("events.out.tfevents.*"))
            self.writer = SummaryWriter(self.folder)
            if again:  # what an interrupted run wrote after its last checkpoint never happened
                self.writer.write(trainer.step, None, data(7, integer(1, START)))
        return self.writer

    def on_step(self, trainer: Trainer) -> None:
        self.write(trainer)

    def on_round(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.write(trainer)
        writer = self.open(trainer)
        if self.histograms:
            for name, parameter in trainer.model.named_parameters():
                for tag, tensor in (("parameters", parameter), ("gradients", parameter.grad)):
                    if tensor is not None and np.isfinite(values(tensor)).all():
                        writer.add_histogram(f"{tag}/{name}", tensor, trainer.step)
        writer.flush()

    def on_end(self, trainer: Trainer) -> None:
        self.write(trainer)
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def write(self, trainer: Trainer) -> None:
        """What the trainer has recorded since the last call."""
        for record in trainer.records[self.written :]:
            for tag, number in tagged(record):
                self.open(trainer).add_scalar(tag, number, record["step"])
        self.written = len(trainer.records)

    def state_dict(self) -> dict[str, Any]:
        return {"written": self.written}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.written = state["written"]


def tagged(record: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(tag, number) of each figure of a record: loss/train and loss/validation share a chart."""
    found = []
    for key, number in record.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or key in ("step", "epoch"):
            continue
        if record["event"] == "step":
            found.append((f"step/{key}", float(number)))
        elif key in ("seconds", "samples_per_second", "idle", "learning_rate"):
            found.append((f"run/{key}", float(number)))
        else:
            name = key.removeprefix("validation_")
            found.append((f"{name}/{'validation' if name != key else 'train'}", float(number)))
    return found
