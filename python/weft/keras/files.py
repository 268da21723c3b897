"""Data sets out of folders and series, and images as arrays: what Keras has in `keras.utils`, as PyDatasets."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weft import random
from weft.autograd import Tensor
from weft.backends.device import on_host
from weft.data.folder import MAX_PIXELS, SUFFIXES
from weft.keras.batches import PyDataset

Array = np.ndarray[Any, Any]
MODES = {"rgb": "RGB", "rgba": "RGBA", "grayscale": "L"}
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


# ---- images


def load_img(
    path: Any, color_mode: str = "rgb", target_size: Any = None, interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:  # fmt: skip
    """An image file as a Pillow image, at target_size (height, width) where that is given.

    color_mode: rgb, rgba or grayscale. keep_aspect_ratio: cut the sides off first, so that nothing is stretched.

    >>> keras.utils.load_img("cat.png", target_size=(64, 64))                               # doctest: +SKIP
    """
    from PIL import Image

    if color_mode not in MODES:
        raise ValueError(f"load_img: expected color_mode out of {', '.join(MODES)}, got {color_mode!r}")
    if interpolation not in FILTERS:
        raise ValueError(f"load_img: expected interpolation out of {', '.join(FILTERS)}, got {interpolation!r}")
    with Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{path}: expected at most {MAX_PIXELS:,} pixels, got {image.width} x {image.height}")
        found = image.convert(MODES[color_mode])
    if target_size is None:
        return found
    height, width = target_size
    box = None
    if keep_aspect_ratio:
        w, h = min(found.width, found.height * width // height), min(found.height, found.width * height // width)
        left, top = (found.width - w) // 2, (found.height - h) // 2
        box = (left, top, left + w, top + h)
    return found.resize((width, height), getattr(Image.Resampling, interpolation.upper()), box=box)


def img_to_array(img: Any, data_format: Any = None, dtype: Any = None) -> Array:
    """A Pillow image as an array (H, W, C) of 0 to 255, float32 by default; "channels_first" as (C, H, W).

    >>> from weft import keras
    >>> keras.utils.img_to_array(np.zeros((4, 5), "uint8")).shape
    (4, 5, 1)
    """
    out = np.asarray(img, np.float32 if dtype is None else dtype)
    if out.ndim not in (2, 3):
        raise ValueError(f"img_to_array: expected an image, got {out.shape}")
    out = out[..., None] if out.ndim == 2 else out
    return np.ascontiguousarray(out.transpose(2, 0, 1)) if data_format == "channels_first" else out


def array_to_img(x: Any, data_format: Any = None, scale: bool = True, dtype: Any = None) -> Any:
    """An array (H, W, C) of 1, 3 or 4 channels as a Pillow image; scale: its least value is black, its largest white.

    >>> keras.utils.array_to_img(np.ones((4, 5, 3))).size                                   # doctest: +SKIP
    (5, 4)
    """
    from PIL import Image

    x = np.asarray(on_host(x.data) if isinstance(x, Tensor) else x, np.float32 if dtype is None else dtype)
    if x.ndim != 3:
        raise ValueError(f"array_to_img: expected an image (H, W, C), got {x.shape}")
    x = x.transpose(1, 2, 0) if data_format == "channels_first" else x
    if x.shape[2] not in (1, 3, 4):
        raise ValueError(f"array_to_img: expected 1, 3 or 4 channels, got {x.shape}")
    if scale:
        x = x - x.min()
        x = x * (255 / x.max()) if x.max() else x
    pixels = np.clip(x, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if x.shape[2] == 1 else pixels)


def save_img(path: Any, x: Any, data_format: Any = None, file_format: Any = None, scale: bool = True,
             **kwargs: Any) -> None:  # fmt: skip
    """Write an array as an image file, as `array_to_img` makes it one.

    >>> keras.utils.save_img("x.png", np.ones((4, 5, 3)))                                   # doctest: +SKIP
    """
    image = array_to_img(x, data_format, scale)
    if image.mode == "RGBA" and str(file_format or Path(path).suffix.lstrip(".")).lower() in ("jpg", "jpeg"):
        image = image.convert("RGB")
    image.save(path, format=file_format, **kwargs)


# ---- data sets


class Samples(PyDataset):
    """Batches of samples that `read` makes of their numbers, with labels or alone; shuffled anew in each epoch."""

    def __init__(self, count: int, batch_size: int, shuffle: bool, seed: int | None, read: Callable[[Array], Any],
                 labels: Any = None, class_names: list[str] | None = None):  # fmt: skip
        super().__init__()
        if not isinstance(batch_size, int) or batch_size < 1 or count < 1:  # Keras's None is single samples
            raise ValueError(f"{type(self).__name__}: expected batch_size and samples >= 1, got {batch_size}, {count}")
        self.count, self.batch_size, self.shuffle, self.read = count, batch_size, shuffle, read
        self.labels, self.class_names = labels, class_names
        start = int(random.default_generator.integers_array(0, 2**31)) if seed is None else seed
        self.source = np.random.default_rng(start)
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        self.order = self.source.permutation(self.count) if self.shuffle else np.arange(self.count)

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"expected a batch in [0, {len(self)}), got {index}")
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        x = self.read(chosen)
        return x if self.labels is None else (x, self.labels[chosen])

    def __iter__(self) -> Any:
        for i in range(len(self)):
            yield self[i]
        self.on_epoch_end()


def listed(
    name: str, directory: Any, suffixes: Sequence[str], labels: Any, label_mode: Any, class_names: Any, shuffle: bool,
    seed: int | None, validation_split: float | None, subset: str | None,
) -> tuple[list[Path], Any, list[str] | None]:  # fmt: skip
    """Files and their labels, in Keras's order, which a seed shuffles as Keras does: its parts are the same."""
    root = Path(directory)
    if not root.is_dir():
        raise FileNotFoundError(f"{name}: expected a folder, got {root}")
    if label_mode not in ("int", "categorical", "binary", None):
        raise ValueError(f"{name}: expected label_mode int, categorical, binary or None, got {label_mode!r}")
    if labels is None and label_mode is not None:
        label_mode = None
    if labels not in ("inferred", None):
        raise ValueError(f"{name}: expected labels 'inferred' or None; lists of labels are not there")
    if (validation_split is None) != (subset is None) or subset not in ("training", "validation", None):
        raise ValueError(f"{name}: expected validation_split with subset training or validation, got "
                         f"{validation_split} and {subset!r}")  # fmt: skip
    if validation_split is not None and (not 0 < validation_split < 1 or (shuffle and seed is None)):
        raise ValueError(f"{name}: expected validation_split in (0, 1), and a seed beside it where files are shuffled, "
                         f"got {validation_split} and {seed}")  # fmt: skip
    names = [""]
    if labels is not None:
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")
        if class_names is not None:
            if not set(class_names) <= set(names):
                raise ValueError(f"{name}: expected class_names among {', '.join(names)}, got {class_names}")
            names = list(class_names)
    files: list[Path] = []
    numbers: list[int] = []
    for i, folder in enumerate(names):
        found = [path for path in sorted_walk(root / folder) if path.suffix.lower() in suffixes]
        files += found
        numbers += [i] * len(found)
    if not files:
        raise FileNotFoundError(f"{name}: expected files ({' '.join(suffixes)}) in {root}, got none")
    order = np.arange(len(files))
    if shuffle and seed is not None:
        np.random.RandomState(seed).shuffle(order)
    if validation_split is not None:
        cut = len(files) - int(validation_split * len(files))
        order = order[:cut] if subset == "training" else order[cut:]
    chosen: Array = np.asarray(numbers, np.int32)[order]
    if label_mode == "binary":
        if len(names) != 2:
            raise ValueError(f"{name}: expected two classes with label_mode binary, got {len(names)}")
        chosen = chosen.astype(np.float32)[:, None]
    elif label_mode == "categorical":
        chosen = np.eye(len(names), dtype=np.float32)[chosen]
    has_labels = label_mode is not None
    return [files[i] for i in order], chosen if has_labels else None, names if labels is not None else None


def sorted_walk(folder: Path) -> list[Path]:
    """The files below a folder, folder by folder, in the order of their names."""
    return [Path(base) / name for base, _, names in sorted(os.walk(folder)) for name in sorted(names)]


def image_dataset_from_directory(
    directory: Any, labels: Any = "inferred", label_mode: Any = "int", class_names: Any = None,
    color_mode: str = "rgb", batch_size: int = 32, image_size: Any = (256, 256), shuffle: bool = True,
    seed: int | None = None, validation_split: float | None = None, subset: str | None = None,
    interpolation: str = "bilinear", crop_to_aspect_ratio: bool = False, data_format: Any = None,
) -> Samples:  # fmt: skip
    """Images in directory/<class>/<file> as batches (float32 (N, H, W, C) of 0 to 255, labels), read when needed.

    label_mode: "int" (N,), "binary" (N, 1), "categorical" (N, classes) or None. validation_split: the share of the
    subset "validation"; the same seed parts the files as Keras does. `class_names` has the folders. Needs Pillow.

    >>> photos = keras.utils.image_dataset_from_directory("photos", image_size=(64, 64))    # doctest: +SKIP
    >>> photos.class_names                                                                  # doctest: +SKIP
    ['cat', 'dog']
    """
    name = "image_dataset_from_directory"
    files, numbers, names = listed(name, directory, SUFFIXES, labels, label_mode, class_names, shuffle, seed,
                                   validation_split, subset)  # fmt: skip

    def read(chosen: Array) -> Array:
        return np.stack([
            img_to_array(load_img(files[i], color_mode, image_size, interpolation, crop_to_aspect_ratio), data_format)
            for i in chosen
        ])  # fmt: skip

    return Samples(len(files), batch_size, shuffle, seed, read, numbers, names)


def text_dataset_from_directory(
    directory: Any, labels: Any = "inferred", label_mode: Any = "int", class_names: Any = None, batch_size: int = 32,
    max_length: int | None = None, shuffle: bool = True, seed: int | None = None,
    validation_split: float | None = None, subset: str | None = None,
) -> Samples:  # fmt: skip
    """Texts in directory/<class>/<file>.txt as batches (texts (N,), labels); arguments as image_dataset_from_directory.

    max_length: what is behind so many letters is left out. Files are UTF-8.

    >>> reviews = keras.utils.text_dataset_from_directory("reviews", batch_size=8)          # doctest: +SKIP
    """
    name = "text_dataset_from_directory"
    files, numbers, names = listed(name, directory, (".txt",), labels, label_mode, class_names, shuffle, seed,
                                   validation_split, subset)  # fmt: skip

    def read(chosen: Array) -> Array:
        return np.asarray([files[i].read_text("utf-8")[:max_length] for i in chosen], object)

    return Samples(len(files), batch_size, shuffle, seed, read, numbers, names)


def timeseries_dataset_from_array(
    data: Any, targets: Any, sequence_length: int, sequence_stride: int = 1, sampling_rate: int = 1,
    batch_size: int = 128, shuffle: bool = False, seed: int | None = None, start_index: int | None = None,
    end_index: int | None = None,
) -> Samples:  # fmt: skip
    """Windows of a series (T, ...) as batches (windows (N, sequence_length, ...), targets); of None, windows alone.

    A window begins every sequence_stride steps and has every sampling_rate-th step; targets[i] belongs to the window
    that begins at step i. start_index, end_index: the part of the series that is used.

    >>> from weft import keras
    >>> windows = keras.utils.timeseries_dataset_from_array(np.arange(6), np.arange(6) * 10, 3)
    >>> [part.tolist() for part in windows[0]]
    [[[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]], [0, 10, 20, 30]]
    """
    name = "timeseries_dataset_from_array"
    if min(sequence_length, sequence_stride, sampling_rate) < 1:
        raise ValueError(f"{name}: expected sequence_length, sequence_stride and sampling_rate >= 1, got "
                         f"{sequence_length}, {sequence_stride} and {sampling_rate}")  # fmt: skip
    values = np.asarray(data)
    if not 0 <= (start_index or 0) < (len(values) if end_index is None else end_index) <= len(values):
        raise ValueError(f"{name}: expected 0 <= start_index < end_index <= {len(values)}, "
                         f"got {start_index} and {end_index}")  # fmt: skip
    values = values[start_index:end_index]
    found = None if targets is None else np.asarray(targets)[start_index:end_index]
    count = len(values) - (sequence_length - 1) * sampling_rate
    count = count if found is None else min(count, len(found))
    if count < 1:
        raise ValueError(f"{name}: expected at least one window of {sequence_length} steps, {sampling_rate} apart, "
                         f"in {len(values)}")  # fmt: skip
    starts = np.arange(0, count, sequence_stride)
    steps = np.arange(sequence_length) * sampling_rate

    def read(chosen: Array) -> Array:
        return np.asarray(values[starts[chosen][:, None] + steps])

    return Samples(len(starts), batch_size, shuffle, seed, read, None if found is None else found[starts])


__all__ = ["array_to_img", "image_dataset_from_directory", "img_to_array", "load_img", "save_img",
           "text_dataset_from_directory", "timeseries_dataset_from_array"]  # fmt: skip
