"""The data sets that Weft knows by name: where their files may lie, and what is in them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weft.data.bpe import BPETokenizer
from weft.data.dataset import ArrayDataset
from weft.data.readers import read_cifar, read_idx
from weft.data.text import Text, read_text

CIFAR_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FASHION_CLASSES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
CIFAR_FOLDERS = ["cifar10", "cifar10/cifar-10-batches-bin", "cifar-10-batches-bin"]


class Loaded(NamedTuple):
    """A data set in memory; a sample of each part is an image uint8 (C, H, W) and its label.

    >>> train, test, classes, name = weft.data.mnist()  # doctest: +SKIP
    """

    train: ArrayDataset
    test: ArrayDataset
    classes: list[str]
    name: str  # which copy it is, to be printed beside a result


class MissingDataError(FileNotFoundError):
    """A data set that is not on this machine; says which files it wants, where it looked, and how to get them."""


def mnist(data: Path | str | None = None) -> Loaded:
    """MNIST: 60,000 and 10,000 images of handwritten digits, 28 x 28.

    data: the folder to look in first; then `WEFT_DATA` and the cache folder are searched. MissingDataError if they have
    none. Source: LeCun, Cortes, Burges.

    >>> train, test, classes, name = weft.data.mnist()                                      # doctest: +SKIP
    """
    return read_mnist("mnist", "MNIST", ["mnist", "MNIST/raw"], data, [str(digit) for digit in range(10)])


def fashion_mnist(data: Path | str | None = None) -> Loaded:
    """Fashion-MNIST: 60,000 and 10,000 images of clothes in 10 classes, 28 x 28; otherwise as `mnist`.

    Source: arXiv:1708.07747.

    >>> train, test, classes, name = weft.data.fashion_mnist()  # doctest: +SKIP
    """
    return read_mnist("fashion", "Fashion-MNIST", ["fashion-mnist", "FashionMNIST/raw"], data, FASHION_CLASSES)


def read_mnist(key: str, name: str, folders: list[str], data: Path | str | None, classes: list[str]) -> Loaded:
    wanted = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    paths = locate(key, folders, [[file, file.removesuffix(".gz")] for file in wanted], data)
    parts = []
    for images_path, labels_path in (paths[:2], paths[2:]):
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.shape[1:] != (28, 28) or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise ValueError(f"{name}: expected images uint8 (N, 28, 28) with N labels in {images_path.parent}, "
                             f"got {images.dtype} {images.shape} and {labels.shape}")  # fmt: skip
        if not len(labels) or labels.max() > 9:
            raise ValueError(f"{name}: expected labels 0 to 9 in {labels_path}, got {np.unique(labels).tolist()}")
        parts.append(ArrayDataset(images[:, None], labels.astype(np.int64)))
    return Loaded(parts[0], parts[1], classes, name)


def cifar10(data: Path | str | None = None) -> Loaded:
    """CIFAR-10: 50,000 and 10,000 colour images in 10 classes, 32 x 32.

    Reads the official binary files or, where a folder has only those, a copy of all images as JPEG (lossy: `name` then
    says so, and results on it are not comparable with published ones). Otherwise as `mnist`. Source: Krizhevsky 2009.

    >>> train, test, classes, name = weft.data.cifar10()  # doctest: +SKIP
    """
    official = [[f"data_batch_{i}.bin"] for i in range(1, 6)] + [["test_batch.bin"]]
    jpegs = [["cifar10-jpg-60000.tar.xz"], ["cifar10-train-labels-50000.u8"]]
    for root in search_roots(data):
        paths = find_all(root, CIFAR_FOLDERS, official)
        if paths:
            parts = [read_cifar(path) for path in paths]
            train = ArrayDataset(np.concatenate([x for x, _ in parts[:5]]), np.concatenate([y for _, y in parts[:5]]))
            return Loaded(train, ArrayDataset(*parts[5]), CIFAR_CLASSES, "CIFAR-10")
        paths = find_all(root, CIFAR_FOLDERS, jpegs)
        if paths:
            from weft.data.cifar_jpeg import read_jpegs

            train, test = read_jpegs(paths[0], paths[1], CIFAR_CLASSES)
            return Loaded(train, test, CIFAR_CLASSES, "CIFAR-10 (JPEG copy)")
    raise missing("cifar10", CIFAR_FOLDERS, official, data)


def tiny_shakespeare(data: Path | str | None = None) -> Text:
    """Tiny Shakespeare: 1,115,394 characters, 65 distinct; the last tenth for validation. `data` as in `mnist`.

    Source: https://github.com/karpathy/char-rnn.

    >>> text = weft.data.tiny_shakespeare()  # doctest: +SKIP
    """
    (path,) = locate("shakespeare", ["text", "tinyshakespeare"], [["tinyshakespeare.txt", "input.txt"]], data)
    return read_text(path)


def gpt2_tokenizer(data: Path | str | None = None) -> BPETokenizer:
    """GPT-2's byte-pair encoding: 50,257 tokens, 50,000 merges. `data` as in `mnist`.

    Source: https://github.com/openai/gpt-2.

    >>> tokens = weft.data.gpt2_tokenizer().encode("Hello, world")  # doctest: +SKIP
    """
    files = [["encoder.json", "vocab.json"], ["vocab.bpe", "merges.txt"]]
    vocabulary, merges = locate("gpt2-bpe", ["gpt2-bpe", "gpt2"], files, data)
    return BPETokenizer.from_files(vocabulary, merges)


def digits() -> tuple[ArrayDataset, list[str]]:
    """The digits of scikit-learn: 1,797 images float32 (1, 8, 8) in 0..1 with labels, and the names of the classes.

    MissingDataError without scikit-learn. Source: Alpaydin and Kaynak, UCI, "Optical Recognition of Handwritten
    Digits" (its test set).

    >>> samples, classes = weft.data.digits()  # doctest: +SKIP
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise MissingDataError("digits: expected scikit-learn, which holds the images; get it with: "
                               "pip install scikit-learn")  # fmt: skip
    # The file itself where it lies: importing scikit-learn would take longer than training on its digits.
    path = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)  # (1797, 65), the label last
        grey, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    else:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        grey, labels = bunch.images, bunch.target
    images = (grey / 16.0).astype(np.float32)[:, None]  # (1797, 1, 8, 8)
    return ArrayDataset(images, labels.astype(np.int64)), [str(digit) for digit in range(10)]


# ---- finding files


def cache_folder() -> Path:
    """Where `weft data get` puts data sets: ~/.cache/weft, or below XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weft"


def search_roots(data: Path | str | None) -> list[Path]:
    """The folders to look in, in order; ValueError if `data` is given and is none."""
    if data is not None and not Path(data).is_dir():
        raise MissingDataError(f"data: expected a folder, got {data}")
    roots = [Path(data)] if data is not None else []
    roots += [Path(root) for root in os.environ.get("WEFT_DATA", "").split(os.pathsep) if root]
    return [*roots, cache_folder()]


def find_all(root: Path, folders: list[str], files: list[list[str]]) -> list[Path] | None:
    """The first name that exists of each file, all in one folder below `root` (or in it); None if one is missing."""
    for folder in [root / name for name in folders] + [root]:
        found = [next((folder / name for name in names if (folder / name).is_file()), None) for names in files]
        if None not in found:
            return [path for path in found if path is not None]
    return None


def locate(
    key: str, folders: list[str], files: list[list[str]], data: Path | str | None, origin: str | None = None
) -> list[Path]:
    for root in search_roots(data):
        found = find_all(root, folders, files)
        if found:
            return found
    raise missing(key, folders, files, data, origin)


def missing(
    key: str, folders: list[str], files: list[list[str]], data: Any, origin: str | None = None
) -> MissingDataError:
    """What to say where a set is nowhere; origin: the page that has it, where `weft data get` does not fetch it."""
    wanted = ", ".join(names[0] for names in files)
    looked = ", ".join(str(root) for root in search_roots(data))
    source = f"with: weft data get {key} " if origin is None else f"from {origin} "
    return MissingDataError(
        f"{key}: expected the files {wanted} (below {folders[0]}/), got none of them in {looked}. "
        f"Get them {source}  or name their folder: --data DIR, data=, or WEFT_DATA"
    )
