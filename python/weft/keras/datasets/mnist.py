"""Handwritten digits: 60,000 and 10,000 grey images, 28 x 28, in 10 classes."""

from typing import Any

from weft.keras.datasets.images import Split, load


def load_data(path: Any = None) -> tuple[Split, Split]:
    """Images uint8 (N, 28, 28) and labels uint8 (N,), of training and of test; `path` as in `weft.data.mnist`.

    >>> from weft import keras
    >>> (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()  # doctest: +SKIP
    """
    return load("mnist", path)
