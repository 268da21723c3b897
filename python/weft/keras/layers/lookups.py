"""Layers that know a vocabulary: texts or whole numbers as their places in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from weft.keras.layer import Layer
from weft.keras.layers.categories import (
    MODES,
    batches_of,
    checked_mode,
    checked_salt,
    dense_alone,
    encoded,
    encoded_shape,
    hashed,
    placed,
)
from weft.keras.texts import host_values, kind_of

Array = np.ndarray[Any, Any]


class IndexLookup(Layer):
    """What StringLookup and IntegerLookup share.

    Place 0 is the mask token's, where there is one and output_mode is "int"; then come num_oov_indices places of what
    the vocabulary has not, then the vocabulary.
    """

    floats = False
    texts = True
    kind: type = str

    def __init__(
        self, max_tokens: int | None, num_oov_indices: int, mask_token: Any, oov_token: Any, vocabulary: Any,
        idf_weights: Any, invert: bool, output_mode: str, sparse: bool, pad_to_max_tokens: bool, salt: Any,
        oov_method: str = "floormod", **kwargs: Any,
    ):  # fmt: skip
        for known in ("vocabulary_size", "has_input_vocabulary", "dtype"):  # of Keras's configurations
            kwargs.pop(known, None)
        super().__init__(**kwargs)
        name = type(self).__name__
        dense_alone(name, sparse)
        mode = checked_mode(name, output_mode, (*MODES, "tf_idf"))
        if max_tokens is not None and max_tokens <= 1:
            raise ValueError(f"{name}: expected max_tokens > 1, got {max_tokens}")
        if pad_to_max_tokens and max_tokens is None:
            raise ValueError(f"{name}: expected max_tokens with pad_to_max_tokens, got None")
        if num_oov_indices < 0:
            raise ValueError(f"{name}: expected num_oov_indices >= 0, got {num_oov_indices}")
        if invert and mode != "int":
            raise ValueError(f"{name}: expected output_mode int with invert, got {mode!r}")
        if (idf_weights is not None) != (vocabulary is not None and mode == "tf_idf"):
            raise ValueError(f"{name}: expected idf_weights beside a vocabulary in output_mode tf_idf, and only there")
        if oov_method not in ("floormod", "farmhash"):
            raise ValueError(f"{name}: expected oov_method floormod or farmhash, got {oov_method!r}")
        if salt is not None and self.kind is int and oov_method != "farmhash":
            raise ValueError(f"{name}: expected oov_method farmhash with salt, got {oov_method!r}")
        self.max_tokens, self.num_oov_indices, self.invert = max_tokens, num_oov_indices, bool(invert)
        self.mask_token, self.oov_token, self.output_mode = mask_token, oov_token, mode
        self.pad_to_max_tokens, self.oov_method, self.salt = pad_to_max_tokens, oov_method, checked_salt(name, salt)
        self.tokens: list[Any] = []
        self.places: dict[Any, int] = {}
        self.idf_weights: Array | None = None
        self.fixed = False
        self.reset_state()
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)
            self.fixed = True

    # ---- the vocabulary

    @property
    def oov_start(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def token_start(self) -> int:
        return self.oov_start + self.num_oov_indices

    @property
    def special(self) -> list[Any]:
        """What stands in front of the vocabulary."""
        return [self.mask_token] * self.oov_start + [self.oov_token] * self.num_oov_indices

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """What each place stands for; without the special tokens, those behind them."""
        return (self.special if include_special_tokens else []) + self.tokens

    def vocabulary_size(self) -> int:
        """How many places there are, those of the special tokens too."""
        return self.token_start + len(self.tokens)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Know these, in this order: a list, an array, or the path of a file with one in each line.

        The special tokens may stand in front. idf_weights: as many, in output_mode "tf_idf".
        """
        if (idf_weights is None) == (self.output_mode == "tf_idf"):
            raise ValueError(f"{self.name}: expected idf_weights in output_mode tf_idf, and only there")
        if isinstance(vocabulary, (str, Path)):
            vocabulary = [line for line in Path(vocabulary).read_text("utf-8").splitlines() if line]
            vocabulary = [int(line) for line in vocabulary] if self.kind is int else vocabulary
        given = self.values_of(vocabulary).ravel().tolist()
        weights = None if idf_weights is None else np.asarray(idf_weights, np.float64)
        if weights is not None and weights.shape != (len(given),):
            raise ValueError(f"{self.name}: expected {len(given)} idf_weights, got {weights.shape}")
        has_special = bool(self.special) and given[: self.token_start] == self.special
        tokens = given[self.token_start :] if has_special else given
        self.check_tokens(tokens)
        if weights is not None and not has_special:
            weights = np.concatenate([np.full(self.token_start, weights.mean()), weights])
        self.know(tokens, weights)

    def check_tokens(self, tokens: list[Any]) -> None:
        if not tokens:
            raise ValueError(f"{self.name}: expected a vocabulary, got an empty one")
        twice = [token for token, count in Counter(tokens).items() if count > 1]
        if twice:
            raise ValueError(f"{self.name}: expected each token once in the vocabulary, got again {twice[:5]}")
        reserved = [self.mask_token] if self.mask_token is not None else []
        reserved += [self.oov_token] if self.invert and self.oov_token is not None else []
        found = [token for token in reserved if token in tokens]
        if found:
            raise ValueError(f"{self.name}: expected {found[0]!r}, which stands for something else, outside of the "
                             f"vocabulary or with the others in front of it: {self.special}")  # fmt: skip
        if self.max_tokens is not None and self.token_start + len(tokens) > self.max_tokens:
            raise ValueError(f"{self.name}: expected at most max_tokens={self.max_tokens} places, got "
                             f"{self.token_start + len(tokens)}")  # fmt: skip

    def know(self, tokens: list[Any], weights: Array | None) -> None:
        self.tokens = tokens
        self.places = {token: i for i, token in enumerate(tokens, self.token_start)}
        if weights is not None:
            missing = self.max_tokens - len(weights) if self.pad_to_max_tokens and self.max_tokens is not None else 0
            self.idf_weights = np.pad(weights, (0, missing)).astype(np.float32)

    # ---- learning it

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the vocabulary of an array, a list, or an iterable of batches (of which `steps`).

        The commonest come first, those that are as common in falling order. In "tf_idf" a row is a document.
        """
        self.reset_state()
        for batch in batches_of(data, steps):
            values = self.values_of(batch)
            self.update_state(values[:, None] if values.ndim == 1 and batch is data else values)
        self.finalize_state()

    def reset_state(self) -> None:
        """Forget what was counted, not the vocabulary."""
        self.counts: Counter[Any] = Counter()
        self.documents: Counter[Any] = Counter()
        self.num_documents = 0

    def update_state(self, data: Any) -> None:
        """Count the tokens of a batch (documents, tokens); one axis is one document."""
        values = self.values_of(data)
        self.count(values.reshape(len(values), -1).tolist() if values.ndim > 1 else [values.ravel().tolist()])

    def count(self, documents: list[list[Any]]) -> None:
        """Count the tokens of documents of any lengths."""
        if self.fixed:
            raise ValueError(f"{self.name}: expected no vocabulary before adapt, got one that was set")
        for document in documents:
            self.counts.update(document)
            self.documents.update(set(document))
        self.num_documents += len(documents)

    def finalize_state(self) -> None:
        """Let the vocabulary be that of what was counted."""
        if not self.counts:
            return
        for special in (self.mask_token, self.oov_token):
            self.counts.pop(special, None)
        tokens = sorted(self.counts, reverse=True)
        tokens.sort(key=lambda token: self.counts[token], reverse=True)
        if self.max_tokens is not None:
            tokens = tokens[: max(self.max_tokens - self.token_start, 0)]
        weights = None
        if self.output_mode == "tf_idf":
            seen = np.asarray([self.documents[token] for token in tokens])
            weights = np.log(1 + self.num_documents / (1 + seen))
            weights = np.concatenate([np.full(self.token_start, weights.mean()), weights])
        self.know(tokens, weights)
        self.reset_state()

    # ---- looking up

    def cast(self, value: Any) -> Any:
        return value

    def values_of(self, x: Any) -> Array:
        """Texts or whole numbers on the host; TypeError for others."""
        values = host_values(x, self.name)
        if values.dtype.kind not in ("O" if self.kind is str else "iu"):
            what = "texts" if self.kind is str else "whole numbers"
            raise TypeError(f"{self.name}: expected {what}, got {kind_of(values)}")
        return values

    def ready(self) -> None:
        if not self.tokens:
            raise ValueError(f"{self.name}: expected a vocabulary, got none; call adapt(data) or set_vocabulary first")

    def call(self, inputs: Any) -> Any:
        self.ready()
        if self.invert:
            return self.named(inputs)
        values = self.values_of(inputs)
        if self.output_mode == "int":
            return placed(self.found(values), inputs)
        values = values.reshape(1) if values.ndim == 0 else values
        return self.vectors(self.found(values), inputs)

    def found(self, values: Array) -> Array:
        """The places of tokens, int64 of the same shape; -1 for the mask where it has no place of its own."""
        unknown = self.oov_start if self.num_oov_indices == 1 else -2
        places = self.places if self.mask_token is None else {**self.places, self.mask_token: self.oov_start - 1}
        flat = np.asarray([places.get(v, unknown) for v in values.ravel().tolist()], np.int64).reshape(values.shape)
        lost = flat == -2
        if lost.any():
            if self.num_oov_indices == 0:
                raise ValueError(f"{self.name}: expected tokens of the vocabulary with num_oov_indices=0, got "
                                 f"{list(dict.fromkeys(values[lost].tolist()))[:5]}")  # fmt: skip
            if self.kind is int and self.oov_method == "floormod":
                flat[lost] = values[lost] % self.num_oov_indices + self.oov_start
            else:
                flat[lost] = hashed(values[lost], self.num_oov_indices, self.salt) + self.oov_start
        return flat

    @property
    def depth(self) -> int | None:
        return self.max_tokens if self.pad_to_max_tokens else self.vocabulary_size() if self.tokens else None

    def vectors(self, places: Array, inputs: Any) -> Any:
        """Places (..., T), -1 for what does not count, as vectors (..., depth) of the output_mode."""
        width = (self.depth or 0) + 1  # the last place is that of what does not count, and is cut off
        mode = "count" if self.output_mode == "tf_idf" else self.output_mode
        out = encoded(placed(places % width, inputs), mode, width, self.output_dtype(()))[..., :-1]
        return out if self.idf_weights is None else out * placed(self.idf_weights, inputs)

    def named(self, inputs: Any) -> Any:
        """The tokens of places: an array of texts, or a Tensor."""
        places = host_values(inputs, self.name)
        if places.dtype.kind not in "iu":
            raise TypeError(f"{self.name}: expected whole numbers with invert, got {kind_of(places)}")
        names = [*self.get_vocabulary(), self.oov_token]
        inside = (places >= 0) & (places < len(names) - 1)
        out = np.asarray(names, object if self.kind is str else np.int64)[np.where(inside, places, len(names) - 1)]
        return out if self.kind is str else placed(out, inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self.output_mode in ("int", "one_hot"):
            return encoded_shape(input_shape, self.output_mode, self.depth)
        return (*tuple(input_shape)[:-1], self.depth)

    def output_dtype(self, args: tuple[Any, ...]) -> str:
        return "float32" if self.output_mode == "tf_idf" else "int64"

    def get_config(self) -> dict[str, Any]:
        """The arguments, with the vocabulary as it is now."""
        known: dict[str, Any] = {"vocabulary": self.tokens or None}
        if self.idf_weights is not None:
            known["vocabulary"] = self.get_vocabulary()
            known["idf_weights"] = [float(w) for w in self.idf_weights[: self.vocabulary_size()]]
        return super().get_config() | known

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """What `get_config` was taken of, made anew.  ValueError for a path of a vocabulary: a file names no others."""
        if isinstance(config.get("vocabulary"), str):
            raise ValueError(
                f"{cls.__name__}: expected the vocabulary in the configuration, got {config['vocabulary']!r}"
            )
        return super().from_config(config)


class StringLookup(IndexLookup):
    """Texts as their places in a vocabulary, which is given or learned by `adapt`; with invert, the way back.

    max_tokens: at most so many places. num_oov_indices: places of unknown texts, several are chosen among by a hash;
    with 0 an unknown text is a ValueError. mask_token: what becomes 0. output_mode: "int", or vectors (..., places) of
    "one_hot", "multi_hot", "count" or "tf_idf". pad_to_max_tokens: vectors are max_tokens wide. An inverted lookup
    returns an array of texts.

    >>> from weft import keras
    >>> keras.layers.StringLookup(vocabulary=["a", "b"])([["b", "c", "a"]]).tolist()
    [[2, 0, 1]]
    """

    def __init__(
        self, max_tokens: int | None = None, num_oov_indices: int = 1, mask_token: Any = None,
        oov_token: Any = "[UNK]", vocabulary: Any = None, idf_weights: Any = None, invert: bool = False,
        output_mode: str = "int", pad_to_max_tokens: bool = False, sparse: bool = False, encoding: str = "utf-8",
        name: str | None = None, salt: Any = None, **kwargs: Any,
    ):  # fmt: skip
        if encoding.lower() not in ("utf-8", "utf8"):
            raise ValueError(f"StringLookup: expected encoding utf-8, got {encoding!r}")
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                         output_mode, sparse, pad_to_max_tokens, salt, name=name, **kwargs)  # fmt: skip


class IntegerLookup(IndexLookup):
    """Whole numbers as their places in a vocabulary, which is given or learned by `adapt`; with invert, the way back.

    The arguments are StringLookup's. oov_method: how several places of unknown numbers are chosen among, "floormod" by
    the remainder or "farmhash".

    >>> from weft import keras
    >>> keras.layers.IntegerLookup(vocabulary=[12, 36])([[36, 7, 12]]).tolist()
    [[2, 0, 1]]
    """

    kind = int

    def __init__(
        self, max_tokens: int | None = None, num_oov_indices: int = 1, mask_token: Any = None, oov_token: Any = -1,
        vocabulary: Any = None, vocabulary_dtype: str = "int64", idf_weights: Any = None, invert: bool = False,
        output_mode: str = "int", sparse: bool = False, pad_to_max_tokens: bool = False, oov_method: str = "floormod",
        salt: Any = None, name: str | None = None, **kwargs: Any,
    ):  # fmt: skip
        if vocabulary_dtype != "int64":
            raise ValueError(f"IntegerLookup: expected vocabulary_dtype int64, got {vocabulary_dtype!r}")
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                         output_mode, sparse, pad_to_max_tokens, salt, oov_method, name=name, **kwargs)  # fmt: skip


__all__ = ["IntegerLookup", "StringLookup"]
