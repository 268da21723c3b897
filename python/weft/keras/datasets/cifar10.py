"""Colour photos of 10 kinds of things: 50,000 and 10,000, 32 x 32."""

from typing import Any

from weft.keras.datasets.images import Split, load


def load_data(path: Any = None) -> tuple[Split, Split]:
    """Images uint8 (N, 32, 32, 3) and labels uint8 (N, 1), of training and of test; `path` as in `weft.data.cifar10`.

    Where only the JPEG copy of the images is at hand, a UserWarning says so.

    >>> from weft import keras
    >>> (x_train, y_train), (x_test, y_test) = keras.datasets.cifar10.load_data()  # doctest: +SKIP
    """
    return load("cifar10", path)
