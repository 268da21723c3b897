"""TextVectorization: whole texts as sequences of places in a vocabulary, or as one vector each."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from weft.keras import registry
from weft.keras.layer import Layer
from weft.keras.layers.categories import batches_of, placed
from weft.keras.layers.lookups import StringLookup

Array = np.ndarray[Any, Any]
STANDARDS = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
LOWER = {i: i + 32 for i in range(ord("A"), ord("Z") + 1)}  # as Keras: ASCII's letters and no others
PUNCTUATION = dict.fromkeys(map(ord, "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"))
WORD = re.compile(r"[^ \t\n\v\f\r]+")


class TextVectorization(Layer):
    """Texts (N,) or (N, 1) -> places of their words in a vocabulary, (N, T), 0 behind the end; or a vector each.

    The vocabulary is given, or learned by `adapt`; places are StringLookup's with the mask token "".

    standardize: "lower_and_strip_punctuation" (both of ASCII), "lower", "strip_punctuation", None, or a function of an
    array of texts. split: "whitespace", "character", None (each text is one token), or a function of an array of texts
    that returns a list of words for each. ngrams: also words that stand together, up to so many, or of the lengths in a
    tuple alone. output_mode: "int", "multi_hot", "count" or "tf_idf". output_sequence_length: T, else that of the
    longest text. max_tokens: at most so many places; pad_to_max_tokens: vectors of that size.

    >>> from weft import keras
    >>> layer = keras.layers.TextVectorization(output_sequence_length=4)
    >>> layer.adapt(["the cat and the dog", "The cat!"])
    >>> layer.get_vocabulary()
    ['', '[UNK]', 'the', 'cat', 'dog', 'and']
    >>> layer(["A dog, the cat"]).tolist()
    [[1, 4, 2, 3]]
    """

    floats = False

    def __init__(
        self, max_tokens: int | None = None, standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace", ngrams: Any = None, output_mode: str = "int",
        output_sequence_length: int | None = None, pad_to_max_tokens: bool = False, vocabulary: Any = None,
        idf_weights: Any = None, sparse: bool = False, ragged: bool = False, encoding: str = "utf-8",
        name: str | None = None, **kwargs: Any,
    ):  # fmt: skip
        for known in ("vocabulary_size", "has_input_vocabulary", "dtype"):  # of Keras's configurations
            kwargs.pop(known, None)
        super().__init__(name=name, **kwargs)
        if standardize is not None and standardize not in STANDARDS and not callable(standardize):
            raise ValueError(f"TextVectorization: expected standardize out of {', '.join(STANDARDS)}, None or a "
                             f"function, got {standardize!r}")  # fmt: skip
        if split not in ("whitespace", "character", None) and not callable(split):
            raise ValueError(
                f"TextVectorization: expected split whitespace, character, None or a function, got {split!r}"
            )
        if ragged:
            raise ValueError("TextVectorization: expected ragged=False; rows are filled up with 0")
        lengths = tuple(range(1, ngrams + 1)) if isinstance(ngrams, int) else None if ngrams is None else tuple(ngrams)
        if lengths is not None and not (lengths and all(isinstance(n, int) and n >= 1 for n in lengths)):
            raise ValueError(f"TextVectorization: expected ngrams >= 1, or a tuple of such, got {ngrams!r}")
        self.lookup = StringLookup(max_tokens, 1, "", "[UNK]", vocabulary, idf_weights, False, output_mode,
                                   pad_to_max_tokens, sparse, encoding, name=f"{self.name}_lookup")  # fmt: skip
        self.output_mode = self.lookup.output_mode
        if output_sequence_length is not None and (self.output_mode != "int" or output_sequence_length < 1):
            raise ValueError("TextVectorization: expected output_sequence_length >= 1, in output_mode int alone, got "
                             f"{output_sequence_length} in {self.output_mode}")  # fmt: skip
        self.standardize, self.split, self.ngrams = standardize, split, lengths
        self.output_sequence_length = output_sequence_length

    # ---- the vocabulary

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """What each place stands for; without the special tokens, those behind them."""
        return self.lookup.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """How many places there are, those of padding and of unknown words too."""
        return self.lookup.vocabulary_size()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Know these, in this order: a list, an array, or the path of a file with one in each line."""
        self.lookup.set_vocabulary(vocabulary, idf_weights)

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Learn the vocabulary of texts: an array, a list, or an iterable of batches (of which `steps`).

        The commonest words come first, those that are as common in falling order.
        """
        self.reset_state()
        for batch in batches_of(data, steps):
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Count the words of a batch of texts."""
        words = self.words(data)
        self.lookup.count(words if isinstance(words, list) else words.reshape(len(words), -1).tolist())

    def reset_state(self) -> None:
        """Forget what was counted, not the vocabulary."""
        self.lookup.reset_state()

    def finalize_state(self) -> None:
        """Let the vocabulary be that of what was counted."""
        self.lookup.finalize_state()

    # ---- texts

    def cast(self, value: Any) -> Any:
        return value

    def words(self, inputs: Any) -> Any:
        """Texts as lists of tokens, one of each text; without a split and ngrams an array of tokens, as they stand."""
        texts = self.lookup.values_of(inputs)
        if callable(self.standardize):
            texts = self.lookup.values_of(self.standardize(texts.astype(str)))  # which numpy.strings takes
        elif self.standardize is not None:
            table = {} if self.standardize == "lower" else dict(PUNCTUATION)
            table |= {} if self.standardize == "strip_punctuation" else LOWER
            texts = np.asarray([t.translate(table) for t in texts.ravel().tolist()], object).reshape(texts.shape)
        if self.split is None and self.ngrams is None:
            return texts
        if self.split is None:
            words = np.atleast_2d(texts).tolist()
        else:
            if texts.ndim > 1 and (texts.ndim != 2 or texts.shape[1] != 1):
                raise ValueError(f"{self.name}: expected texts (N,) or (N, 1), got {texts.shape}")
            words = self.parts(texts.reshape(-1))
        if self.ngrams is None:
            return words
        return [[" ".join(row[i : i + n]) for n in self.ngrams for i in range(len(row) - n + 1)] for row in words]

    def parts(self, texts: Array) -> list[list[str]]:
        """The words of each text."""
        if self.split == "whitespace":
            return [WORD.findall(text) for text in texts.tolist()]
        if self.split == "character":
            return [list(text) for text in texts.tolist()]
        rows = [self.lookup.values_of(np.asarray(row, object)).tolist() for row in self.split(texts.astype(str))]
        if len(rows) != len(texts):
            raise ValueError(f"{self.name}: expected split to give {len(texts)} lists of words, got {len(rows)}")
        return rows

    def call(self, inputs: Any) -> Any:
        self.lookup.ready()
        words = self.words(inputs)
        single = np.ndim(inputs) == 0
        length = self.output_sequence_length
        if not isinstance(words, list):
            if self.output_mode != "int":
                return self.lookup.call(words)
            places = self.lookup.found(words)
            if length is not None:
                places = fitted([places], length)[0] if places.ndim == 1 else fitted(list(places), length)
            return placed(places, inputs)
        flat = self.lookup.found(np.asarray([word for row in words for word in row], object))
        rows = np.split(flat, np.cumsum([len(row) for row in words])[:-1])
        if self.output_mode == "int":
            out = placed(fitted(rows, length), inputs)
        else:
            out = self.lookup.vectors(fitted(rows, None, fill=-1), inputs)
        return out[0] if single else out

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self.output_mode == "int":
            return (input_shape[0], self.output_sequence_length)
        return (input_shape[0], self.lookup.depth)

    def output_dtype(self, args: tuple[Any, ...]) -> str:
        return self.lookup.output_dtype(args)

    def get_config(self) -> dict[str, Any]:
        """The arguments, with the vocabulary as it is now."""
        known = self.lookup.get_config()
        return super().get_config() | {name: known[name] for name in ("vocabulary", "idf_weights")}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """What `get_config` was taken of, made anew.  ValueError for a path of a vocabulary: a file names no others."""
        if isinstance(config.get("vocabulary"), str):
            raise ValueError(
                f"TextVectorization: expected the vocabulary in the configuration, got {config['vocabulary']!r}"
            )
        functions = {name: config[name] for name in ("standardize", "split") if isinstance(config.get(name), str)}
        builtin = (*STANDARDS, "whitespace", "character")
        own = {name: registry.CUSTOM.get(value, value) for name, value in functions.items() if value not in builtin}
        return super().from_config({**config, **own})


def fitted(rows: list[Any], length: int | None, fill: int = 0) -> Array:
    """Rows of places as one array, filled up, and cut off at `length`; by default as long as the longest."""
    length = max((len(row) for row in rows), default=0) if length is None else length
    out = np.full((len(rows), length), fill, np.int64)
    for i, row in enumerate(rows):
        out[i, : min(len(row), length)] = row[:length]
    return out


__all__ = ["TextVectorization"]
