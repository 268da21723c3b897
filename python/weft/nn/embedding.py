"""Embedding."""

from __future__ import annotations

from typing import Any

from weft.nn import functional as F
from weft.nn import init
from weft.nn.module import Module
from weft.nn.parameter import Parameter
from weft.ops.embedding import row_of


class Embedding(Module):
    """Rows of a table by index.  (...) of integers in [0, num_embeddings) -> (..., embedding_dim)

    weight (num_embeddings, embedding_dim), drawn from N(0, 1). padding_idx: a row that starts at zero and gets no
    gradient. max_norm, norm_type, scale_grad_by_freq, sparse: see `functional.embedding`. IndexError names an index out
    of range.

    >>> import numpy as np
    >>> Embedding(10, 4)(np.array([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        dtype: Any = None,
    ):
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = row_of(type(self).__name__, padding_idx, num_embeddings)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.weight = Parameter(init.empty((num_embeddings, embedding_dim), dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        draw(self.weight, self.padding_idx)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A table with these rows, (num_embeddings, embedding_dim), trained further unless `freeze`."""
        rows, width = embeddings.shape
        return filled(
            cls(rows, width, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse), embeddings, freeze
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        options = (self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse)
        return F.embedding(x, self.weight, self.padding_idx, *options)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class EmbeddingBag(Module):
    """The sum, mean or largest of rows of a table.  Integers (B, n), or (n,) with offsets (B,) -> (B, embedding_dim)

    weight (num_embeddings, embedding_dim), drawn from N(0, 1). mode: "sum", "mean" or "max". forward(input, offsets,
    per_sample_weights): where each bag of a flat input begins, and a factor for each row with "sum". padding_idx: a row
    that is left out. `functional.embedding_bag` has the rest.

    >>> import numpy as np
    >>> EmbeddingBag(10, 4, mode="sum")(np.array([1, 2, 3]), np.array([0, 2])).shape
    (2, 4)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        *,
        dtype: Any = None,
    ):
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        self.mode, self.sparse, self.include_last_offset = mode, sparse, include_last_offset
        self.padding_idx = row_of("EmbeddingBag", padding_idx, num_embeddings)
        self.weight = Parameter(init.empty((num_embeddings, embedding_dim), dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        draw(self.weight, self.padding_idx)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A table with these rows, (num_embeddings, embedding_dim), trained further unless `freeze`."""
        rows, width = embeddings.shape
        layer = cls(
            rows, width, max_norm, norm_type, scale_grad_by_freq, mode, sparse, include_last_offset, padding_idx
        )  # fmt: skip
        return filled(layer, embeddings, freeze)

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        options = (self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse)
        return F.embedding_bag(
            input, self.weight, offsets, *options, per_sample_weights, self.include_last_offset, self.padding_idx
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, mode={self.mode!r}"


def draw(weight: Parameter, padding_idx: int | None) -> None:
    """The start of a table: N(0, 1), and zeros in the row of the padding."""
    init.normal_(weight)
    if padding_idx is not None and not init.state.shapes_only:
        weight.data[padding_idx] = 0


def filled(layer: Any, rows: Any, freeze: bool) -> Any:
    layer.load_state_dict({"weight": rows})
    return layer.requires_grad_(not freeze)
