"""What is left of Keras's backend for programs that ask: `clear_session`, and three constants."""

from __future__ import annotations

from weft.keras.utils import clear_session


def epsilon() -> float:
    """What keeps divisions and logarithms from 0: 1e-7.

    >>> from weft import keras
    >>> keras.backend.epsilon()
    1e-07
    """
    return 1e-7


def floatx() -> str:
    """The dtype of weights and of floating inputs, unless a layer has another.

    >>> from weft import keras
    >>> keras.backend.floatx()
    'float32'
    """
    return "float32"


def image_data_format() -> str:
    """Where the channels of images stand: last.

    >>> from weft import keras
    >>> keras.backend.image_data_format()
    'channels_last'
    """
    return "channels_last"


def backend() -> str:
    """What computes.

    >>> from weft import keras
    >>> keras.backend.backend()
    'weft'
    """
    return "weft"


__all__ = ["backend", "clear_session", "epsilon", "floatx", "image_data_format"]
