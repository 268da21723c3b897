"""Models of text."""

from __future__ import annotations

import functools
import math
from typing import Any

import weft


def gpt2(
    vocabulary: int = 50_304, *, length: int = 1024, layers: int = 12, width: int = 768, heads: int = 12,
    framework: Any = weft,
) -> Any:  # fmt: skip
    """A decoder-only transformer, with GPT-2's 124 million parameters by default.  tokens (B, T) -> (B, T, vocabulary)

    Its head is the embedding's weight, there is no dropout, and the vocabulary of 50,257 is padded to a multiple of 64.
    length: the most tokens. framework: weft or torch. Radford et al., "Language models are unsupervised multitask
    learners" (2019).
    """
    if width % heads:
        raise ValueError(f"gpt2: expected a width that {heads} heads divide, got {width}")
    return transformer(framework)["GPT2"](vocabulary, length, layers, width, heads)


@functools.cache
def transformer(framework: Any) -> dict[str, Any]:
    """The classes of the transformer, of a framework's layers."""
    nn: Any = framework.nn
    F = nn.functional

    def linear(inputs: int, outputs: int, std: float = 0.02) -> Any:
        layer = nn.Linear(inputs, outputs)
        nn.init.normal_(layer.weight, 0.0, std)
        nn.init.zeros_(layer.bias)
        return layer

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        """Attention and two linear layers, each beside its input and behind a normalisation."""

        def __init__(self, width: int, heads: int, layers: int):
            super().__init__()
            into_residual = 0.02 / math.sqrt(2 * layers)
            self.heads = heads
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.projection = linear(width, 3 * width), linear(width, width, into_residual)
            self.up, self.down = linear(width, 4 * width), linear(4 * width, width, into_residual)
            self.gelu = nn.GELU(approximate="tanh")

        def forward(self, x: Any) -> Any:
            B, T, C = x.shape
            qkv = self.qkv(self.ln_1(x)).reshape(B, T, 3, self.heads, C // self.heads)
            q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))  # (B, H, T, D)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.projection(y.swapaxes(1, 2).reshape(B, T, C))
            return x + self.down(self.gelu(self.up(self.ln_2(x))))

    class GPT2(nn.Module):  # type: ignore[misc, name-defined]
        """Embeddings of tokens and places, blocks, a normalisation, and the embedding once more."""

        def __init__(self, vocabulary: int, length: int, layers: int, width: int, heads: int):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            nn.init.normal_(self.wte.weight, 0.0, 0.02)
            nn.init.normal_(self.wpe.weight, 0.0, 0.02)
            self.h = nn.Sequential(*[Block(width, heads, layers) for _ in range(layers)])
            self.ln_f = nn.LayerNorm(width)

        def forward(self, tokens: Any) -> Any:
            x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
            return F.linear(self.ln_f(self.h(x)), self.wte.weight)

    return {"Block": Block, "GPT2": GPT2}
