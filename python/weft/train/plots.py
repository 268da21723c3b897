"""Pictures of a run: its curves and its confusion matrix. matplotlib is loaded when the first is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

INK, GREY, BLUE, ORANGE = "#222222", "#8a8a8a", "#2166ac", "#d95f0e"
NOT_FIGURES = ("epoch", "step", "seconds", "samples_per_second", "learning_rate", "idle")


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Any, list[Any]]:
    """A figure without pyplot, so that nothing of it stays behind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(GREY)
        axis.tick_params(colors=INK, labelsize=9, length=3)
    return figure, axes


def draw_curves(records: Sequence[dict[str, Any]], path: Path | str, title: str = "") -> None:
    """The loss and each metric of a run over its epochs, training and validation in one panel each, as a PNG.

    records: dicts as in metrics.jsonl, those of epochs.

    >>> draw_curves(trainer.fit(loader, epochs=3), "curves.png")                            # doctest: +SKIP
    """
    rounds = [record for record in records if record.get("event", "epoch") == "epoch"]
    names = [key for record in rounds[:1] for key, value in record.items() if isinstance(value, float)]
    names = [name for name in names if name not in NOT_FIGURES and not name.startswith("validation_")]
    if not rounds or not names:
        raise ValueError("draw_curves: expected records of epochs with a loss, got none")
    figure, axes = new_figure(4.2 * len(names), 3.4, len(names))
    over = "epoch" if all(float(record["epoch"]).is_integer() for record in rounds) else "step"
    x = [record[over] for record in rounds]
    mark = "o" if len(rounds) <= 30 else None
    for axis, name in zip(axes, names):
        last = None
        for key, colour, label in ((name, GREY, "training"), (f"validation_{name}", BLUE, "validation")):
            y = [record.get(key) for record in rounds]
            if any(value is not None for value in y):
                points = np.array([np.nan if value is None else value for value in y], float)
                axis.plot(x, points, color=colour, label=label, linewidth=1.8, marker=mark, markersize=3.5)
                last = points[-1]
        axis.set_title(f"{name.replace('_', ' ')}  {last:.4f}", fontsize=11, color=INK, loc="left")
        axis.set_xlabel(over, fontsize=9, color=INK)
        axis.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axis.set_axisbelow(True)
        if over == "epoch" and len(rounds) <= 20:
            axis.set_xticks(x)
        axis.legend(frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left")
    figure.savefig(path, format="png")


def draw_confusion(matrix: Any, classes: Sequence[str], path: Path | str, title: str = "") -> None:
    """A confusion matrix (C, C), rows labels, columns predictions, as a PNG; colours are shares of each row.

    ValueError unless there is a name per class.

    >>> weft.train.draw_confusion([[9, 1], [0, 10]], ["cat", "dog"], "confusion.png")  # doctest: +SKIP
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(classes),) * 2:
        raise ValueError(f"draw_confusion: expected a matrix ({len(classes)}, {len(classes)}), one row per class, "
                         f"got {matrix.shape}")  # fmt: skip
    side = max(3.6, 0.48 * len(classes) + 1.6)
    figure, (axis,) = new_figure(side + 0.5, side)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)  # the root, so that rare mistakes can be seen
    axis.set_xticks(range(len(classes)), classes, rotation=45 if max(map(len, classes)) > 3 else 0,
                    ha="right" if max(map(len, classes)) > 3 else "center")  # fmt: skip
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("predicted", fontsize=10, color=INK)
    axis.set_ylabel("label", fontsize=10, color=INK)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    if len(classes) <= 30:
        for i, j in zip(*np.nonzero(matrix)):
            axis.text(j, i, f"{matrix[i, j]:,}", ha="center", va="center", fontsize=8,
                      color="white" if shares[i, j] > 0.4 else INK)  # fmt: skip
    right, total = np.trace(matrix), matrix.sum()
    accuracy = f"{right:,} of {total:,} right, {right / max(total, 1):.2%}"
    axis.set_title(f"{title}  {accuracy}".strip(), fontsize=11, color=INK, loc="left")
    figure.savefig(path, format="png")


def draw_images(
    axis: Any, images: Any, columns: int, captions: Sequence[str] = (), colours: Sequence[str] = (), room: float = 0.3
) -> None:
    """Images side by side on a matplotlib axis, row by row, each with its caption below.

    images (N, C, H, W) of 1 or 3 channels: uint8, or numbers that are shown from 0 to 1. captions, colours: one per
    image, or none. room: for a caption, as a part of an image's height. ValueError where the numbers do not fit.

    >>> draw_images(axis, test.arrays[0][:10], columns=5, captions="0123456789")            # doctest: +SKIP
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or columns < 1:
        raise ValueError("draw_images: expected images (N, 1, H, W) or (N, 3, H, W) and columns >= 1, "
                         f"got {images.shape} and {columns}")  # fmt: skip
    if len(captions) not in (0, len(images)) or len(colours) not in (0, len(images)):
        raise ValueError(f"draw_images: expected {len(images)} captions and colours or none, "
                         f"got {len(captions)} and {len(colours)}")  # fmt: skip
    axis.axis("off")
    if not len(images):
        return
    n, _, height, width = images.shape
    unit = images / 255 if images.dtype == np.uint8 else np.clip(images, 0, 1)
    down, across = round(height * (1 + (room if captions else 0.06))), round(width * 1.06)
    rows = -(-n // columns)
    sheet = np.ones((rows * down, columns * across, 3))
    for i, image in enumerate(unit):
        top, left = i // columns * down, i % columns * across
        sheet[top : top + height, left : left + width] = np.broadcast_to(image, (3, height, width)).transpose(1, 2, 0)
        if captions:
            axis.text(left + width / 2, top + height * 1.03, captions[i], ha="center", va="top", fontsize=8,
                      color=colours[i] if colours else INK)  # fmt: skip
    axis.imshow(sheet, interpolation="nearest")
