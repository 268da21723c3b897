"""Text as characters or words: their vocabularies, and the two parts of a corpus."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weft.random import Generator

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


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, numbers and marks by themselves; an apostrophe stays within its word.

    >>> split_words("Don't call 07700 now!!")
    ["don't", 'call', '07700', 'now', '!', '!']
    """
    return re.findall(r"\d+|[^\W\d_]+(?:['\u2019][^\W\d_]+)*|[^\w\s]|_", text.lower())


class WordVocabulary:
    """Words as numbers, the most frequent first: token 0 is padding, 1 any word that is not in the vocabulary.

    texts: to take the words from: those to train on, so that a new word is as unknown as it will be. min_count: words
    that come fewer times are left out; max_size: of the vocabulary, padding and unknown included. split: a text -> its
    words. ValueError where no word is left.

    >>> v = WordVocabulary(["the cat", "the dog sat"])
    >>> v.words, v.encode("the bird sat").tolist()
    (['<pad>', '<unk>', 'the', 'cat', 'dog', 'sat'], [2, 1, 5])
    >>> v.batch(["a cat", "the dog sat"])
    array([[1, 3, 0],
           [2, 4, 5]])
    """

    PAD, UNKNOWN = 0, 1

    def __init__(
        self,
        texts: Iterable[str],
        *,
        min_count: int = 1,
        max_size: int | None = None,
        split: Callable[[str], Sequence[str]] = split_words,
    ):
        if min_count < 1 or max_size is not None and max_size < 3:
            raise ValueError(f"WordVocabulary: expected min_count >= 1 and max_size >= 3, got {min_count}, {max_size}")
        if isinstance(texts, str):
            raise TypeError("WordVocabulary: expected texts, got one text; put it into a list")
        self.split = split
        counts = Counter(word for text in texts for word in split(text))
        likely = counts.most_common(None if max_size is None else max_size - 2)  # equals in the order they came in
        self.words = ["<pad>", "<unk>", *(word for word, count in likely if count >= min_count)]
        if len(self.words) == 2:
            raise ValueError(f"WordVocabulary: expected a word that comes {min_count} times, got none")
        self.tokens = {word: token for token, word in enumerate(self.words) if token > 1}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> Array:
        """The tokens of a text, int64 (n,)."""
        return np.array([self.tokens.get(word, self.UNKNOWN) for word in self.split(text)], np.int64)

    def decode(self, tokens: Any) -> str:
        """The words of tokens (n,) with spaces between them, without padding; ValueError if one is out of range."""
        tokens = np.asarray(tokens)
        if tokens.size and not (0 <= tokens.min() and tokens.max() < len(self)):
            raise ValueError(f"WordVocabulary: expected tokens in [0, {len(self)}), "
                             f"got {tokens.min()} to {tokens.max()}")  # fmt: skip
        return " ".join(self.words[token] for token in tokens if token != self.PAD)

    def batch(self, texts: Iterable[str], length: int | None = None) -> Array:
        """Texts as rows of tokens, int64 (N, length), padded on the right; what is longer is cut.

        length: by default that of the longest text.
        """
        rows = [self.encode(text) for text in texts]
        length = max((len(row) for row in rows), default=0) if length is None else length
        out = np.full((len(rows), length), self.PAD, np.int64)
        for target, row in zip(out, rows):
            target[: len(row)] = row[:length]
        return out


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


def batches_by_length(lengths: Any, size: int, rng: Generator, spread: int = 16) -> list[Array]:
    """Indices of batches of `size` sequences of about one length, so that little is padding; all in random order.

    lengths (N,): of the sequences. They are shuffled, and each `spread` batches' worth of them is sorted by length and
    cut; only the last batch of such a stretch may be smaller.

    >>> lengths = np.array([3, 9, 3, 9, 3])
    >>> sorted(sorted(lengths[batch].tolist()) for batch in batches_by_length(lengths, 2, weft.random.Generator(0)))
    [[3, 3], [3, 9], [9]]
    """
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or size < 1 or spread < 1:
        raise ValueError(f"batches_by_length: expected lengths (N,), size and spread of at least 1, "
                         f"got {lengths.shape}, {size} and {spread}")  # fmt: skip
    order = rng.permutation_array(len(lengths))
    batches: list[Array] = []
    for start in range(0, len(order), spread * size):
        stretch = order[start : start + spread * size]
        stretch = stretch[np.argsort(lengths[stretch], kind="stable")]
        batches += [stretch[i : i + size] for i in range(0, len(stretch), size)]
    return [batches[i] for i in rng.permutation_array(len(batches))]


def code_points(text: str) -> Array:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def text_of(points: Array) -> str:
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
