"""Text as characters: a vocabulary and the two parts of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class CharVocabulary:
    """Characters as numbers, in the order of their code points.

    characters: a text; each distinct character becomes a token.

    >>> v = CharVocabulary("hello")
    >>> v.characters, v.encode("hole").tolist(), v.decode([1, 0])
    ('ehlo', [1, 3, 2, 0], 'he')
    """

    def __init__(self, characters: str):
        if not characters:
            raise ValueError("CharVocabulary: expected at least one character, got an empty text")
        self.points = np.unique(code_points(characters))
        self.characters = text_of(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def encode(self, text: str) -> Array:
        """The tokens of a text, int64 (n,); ValueError names a character that is not in the vocabulary."""
        points = code_points(text)
        tokens = np.searchsorted(self.points, points)
        wrong = self.points[np.minimum(tokens, len(self) - 1)] != points
        if wrong.any():
            raise ValueError(f"CharVocabulary: expected characters out of {self.characters!r}, "
                             f"got {text[int(wrong.argmax())]!r} at {int(wrong.argmax())}")  # fmt: skip
        return tokens.astype(np.int64)

    def decode(self, tokens: Any) -> str:
        """The text of tokens; ValueError if one is out of range."""
        tokens = np.asarray(tokens)
        if tokens.size and not (0 <= tokens.min() and tokens.max() < len(self)):
            raise ValueError(f"CharVocabulary: expected tokens in [0, {len(self)}), "
                             f"got {tokens.min()} to {tokens.max()}")  # fmt: skip
        return text_of(self.points[tokens])


class Text(NamedTuple):
    """A corpus as tokens: the first part to train on, the rest to validate.

    >>> text = weft.data.tiny_shakespeare()  # doctest: +SKIP
    >>> text.vocabulary.decode(text.train[:5])  # doctest: +SKIP
    """

    train: Array
    validation: Array
    vocabulary: CharVocabulary
    path: Path


def read_text(path: Path | str, validation: float = 0.1) -> Text:
    """A UTF-8 text file as characters; its last `validation` share (0 to 1) is kept for validation.

    ValueError if the file is empty or not UTF-8.

    >>> text = read_text("tinyshakespeare.txt")                                             # doctest: +SKIP
    """
    path = Path(path)
    if not 0 <= validation < 1:
        raise ValueError(f"read_text: expected 0 <= validation < 1, got {validation}")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"read_text: expected UTF-8 in {path}, got {error.reason} at byte {error.start}") from None
    if not text:
        raise ValueError(f"read_text: expected text in {path}, got an empty file")
    vocabulary = CharVocabulary(text)
    tokens = vocabulary.encode(text)
    cut = int(len(tokens) * (1 - validation))
    return Text(tokens[:cut], tokens[cut:], vocabulary, path)


def code_points(text: str) -> Array:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def text_of(points: Array) -> str:
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
