"""Attention, over `weft.nn.functional`'s."""

from __future__ import annotations

from typing import Any

from weft import ops
from weft.keras import constraints, initializers, regularizers
from weft.keras.layer import Layer
from weft.keras.layers.core import EinsumDense
from weft.nn import functional as F


class MultiHeadAttention(Layer):
    """Attention of `num_heads` heads of key_dim features.  Vaswani et al., 2017.

    query (N, T, D), value (N, S, D'), key (value, by default) -> (N, T, D), or output_shape features; with
    return_attention_scores also the weights (N, heads, T, S). attention_mask: bool (N, T, S), true where a query sees a
    value. use_causal_mask: each position sees those up to itself. Padding that masks mark is left out.

    >>> from weft import keras
    >>> x = np.ones((2, 5, 8), "f")
    >>> keras.layers.MultiHeadAttention(num_heads=2, key_dim=4)(x, x).shape
    (2, 5, 8)
    """

    supports_masking = True

    def __init__(
        self, num_heads: int, key_dim: int, value_dim: int | None = None, dropout: float = 0.0, use_bias: bool = True,
        output_shape: Any = None, attention_axes: Any = None, kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros", kernel_regularizer: Any = None, bias_regularizer: Any = None,
        activity_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None,
        seed: int | None = None, **kwargs: Any,
    ):  # fmt: skip
        for name in ("sliding_window", "use_gate"):
            if kwargs.pop(name, None):
                raise ValueError(f"MultiHeadAttention: expected no {name}, which Weft has not")
        kwargs.pop("flash_attention", None)  # it is always fused
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if attention_axes is not None and tuple(attention_axes) != (1,):
            raise ValueError(f"MultiHeadAttention: expected attention over axis 1, got {attention_axes}")
        if num_heads < 1 or key_dim < 1:
            raise ValueError(f"MultiHeadAttention: expected num_heads and key_dim >= 1, got {num_heads} and {key_dim}")
        self.num_heads, self.key_dim, self.value_dim = num_heads, key_dim, value_dim or key_dim
        self.dropout, self.use_bias, self.features = dropout, use_bias, output_shape
        self.parts: dict[str, Any] = {
            "kernel_initializer": initializers.get(kernel_initializer),
            "bias_initializer": initializers.get(bias_initializer),
            "kernel_regularizer": regularizers.get(kernel_regularizer),
            "bias_regularizer": regularizers.get(bias_regularizer),
            "kernel_constraint": constraints.get(kernel_constraint),
            "bias_constraint": constraints.get(bias_constraint),
        }

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        heads, key_shape = self.num_heads, value_shape if key_shape is None else key_shape

        def projection(name: str, size: int, shape: Any) -> Any:
            layer = EinsumDense("abc,cde->abde", (None, heads, size), bias_axes="de" if self.use_bias else None,
                                name=name, dtype=self.dtype, **self.parts)  # fmt: skip
            self.build_child(layer, shape)
            return layer

        self.query_dense = projection("query", self.key_dim, query_shape)
        self.key_dense = projection("key", self.key_dim, key_shape)
        self.value_dense = projection("value", self.value_dim, value_shape)
        D = query_shape[-1] if self.features is None else self.features
        D = D[-1] if isinstance(D, (list, tuple)) else D
        self.output_dense = EinsumDense("abcd,cde->abe", (None, D), bias_axes="e" if self.use_bias else None,
                                        name="attention_output", dtype=self.dtype, **self.parts)  # fmt: skip
        self.build_child(self.output_dense, (*query_shape[:2], heads, self.value_dim))
        self.built = True

    def call(
        self, query: Any, value: Any, key: Any = None, query_mask: Any = None, value_mask: Any = None,
        key_mask: Any = None, attention_mask: Any = None, return_attention_scores: bool = False, training: Any = None,
        use_causal_mask: bool = False, mask: Any = None,
    ) -> Any:  # fmt: skip
        from weft.keras.masks import mask_of

        key = value if key is None else key
        seen = None if attention_mask is None else ops.astype(attention_mask, dtype=bool)
        if seen is not None:
            seen = seen[:, None] if seen.ndim == 3 else seen
        for given, x in ((value_mask, value), (key_mask, key)):
            given = mask_of(x) if given is None else given
            if given is not None:
                padding = given[:, None, None, :]
                seen = padding if seen is None else seen & padding
        q, k, v = (
            ops.permute_dims(dense(x), (0, 2, 1, 3))  # (N, H, T, D)
            for dense, x in ((self.query_dense, query), (self.key_dense, key), (self.value_dense, value))
        )
        rate = self.dropout if training else 0.0
        if return_attention_scores:
            out, weights = F.attention_with_weights(q, k, v, seen, rate, use_causal_mask)
        else:
            if seen is not None and use_causal_mask:
                T, S = q.shape[2], k.shape[2]
                seen = seen & ops.tril(ops.ones((T, S), dtype=bool, device=q.device))
                use_causal_mask = False
            out = F.scaled_dot_product_attention(q, k, v, seen, rate, use_causal_mask)
        out = self.output_dense(ops.permute_dims(out, (0, 2, 1, 3)))
        return (out, weights) if return_attention_scores else out

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return previous_mask


class Attention(Layer):
    """Dot-product attention of [query, value, key]: query (N, T, D), value (N, S, D) -> (N, T, D).

    use_scale: a learned factor of the scores. score_mode: "dot" or "concat" (sum of tanh(query + key)).  Luong, 2015.

    >>> from weft import keras
    >>> x = np.ones((2, 5, 8), "f")
    >>> keras.layers.Attention()([x, x]).shape
    (2, 5, 8)
    """

    def __init__(self, use_scale: bool = False, score_mode: str = "dot", dropout: float = 0.0, seed: int | None = None,
                 **kwargs: Any):  # fmt: skip
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError(f"Attention: expected score_mode dot or concat, got {score_mode!r}")
        self.use_scale, self.score_mode, self.dropout = use_scale, score_mode, dropout
        self.scale: Any = None
        self.concat_score_weight: Any = None

    def build(self, input_shape: Any) -> None:
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")
        self.built = True

    def scores(self, query: Any, key: Any) -> Any:
        if self.score_mode == "dot":
            scores = query @ key.mT
            return scores if self.scale is None else scores * self.scale
        sums = ops.expand_dims(query, axis=-2) + ops.expand_dims(key, axis=-3)
        sums = sums if self.scale is None else sums * self.scale
        return ops.sum(F.tanh(sums), axis=-1) * self.concat_score_weight

    def call(self, inputs: Any, mask: Any = None, return_attention_scores: bool = False, training: Any = None,
             use_causal_mask: bool = False) -> Any:  # fmt: skip
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            raise ValueError(f"{type(self).__name__} {self.name!r}: expected [query, value] or [query, value, key]")
        query, value, key = inputs[0], inputs[1], inputs[-1]
        scores = self.scores(query, key)
        seen = None if mask is None or len(mask) < 2 or mask[1] is None else mask[1][:, None, :]
        if use_causal_mask:
            lower = ops.tril(ops.ones(scores.shape[-2:], dtype=bool, device=scores.device))
            seen = lower if seen is None else seen & lower
        if seen is not None:
            scores = ops.where(seen, scores, ops.full_like(scores, -1e30))
        weights = F.softmax(scores, -1)
        out = (F.dropout(weights, self.dropout) if training and self.dropout else weights) @ value
        if mask is not None and mask[0] is not None:
            out = out * ops.astype(mask[0][..., None], dtype=out.dtype)
        return (out, weights) if return_attention_scores else out

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None if previous_mask is None else previous_mask[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[0][:-1], input_shape[1][-1])


class AdditiveAttention(Attention):
    """Attention by sum(scale tanh(query + key)), with a learned scale (D,).  Bahdanau et al., 2015.

    >>> from weft import keras
    >>> x = np.ones((2, 5, 8), "f")
    >>> keras.layers.AdditiveAttention()([x, x]).shape
    (2, 5, 8)
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any):
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: Any) -> None:
        if self.use_scale:
            self.scale = self.add_weight((input_shape[0][-1],), "glorot_uniform", name="scale")
        self.built = True

    def scores(self, query: Any, key: Any) -> Any:
        sums = F.tanh(ops.expand_dims(query, axis=-2) + ops.expand_dims(key, axis=-3))
        return ops.sum(sums if self.scale is None else sums * self.scale, axis=-1)
