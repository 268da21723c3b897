"""GPT-2: written once, for files of Hugging Face's layout, for training from scratch, and for benchmarks."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, ClassVar

import weft
from weft.models.config import Config, activation
from weft.models.huggingface import Pretrained
from weft.models.parts import Cache, Sight, integers, padding_mask, places
from weft.nn import functional as F


@dataclasses.dataclass(kw_only=True)
class GPT2Config(Config):
    """The fields of GPT-2's config.json. Scores are divided by sqrt(head width) if `scale_attn_weights`, and by the
    layer's number if `scale_attn_by_inverse_layer_idx`; `reorder_and_upcast_attn` asks for float32 sums, which Weft's
    attention has always."""

    model_type: ClassVar[str] = "gpt2"
    harmless: ClassVar[frozenset[str]] = frozenset({
        "n_ctx", "reorder_and_upcast_attn", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
        "summary_type", "summary_use_proj",
    })  # fmt: skip

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    tie_word_embeddings: bool = True
    eos_token_id: int | list | None = 50256

    def validate(self) -> None:
        self.need(self.n_embd % self.n_head == 0, f"a width that {self.n_head} heads divide, got {self.n_embd}")

    def layers(self) -> int:
        return self.n_layer


@functools.cache
def transformer(framework: Any) -> dict[str, Any]:
    """The classes of the transformer, of a framework's layers."""
    nn: Any = framework.nn

    def linear(inputs: int, outputs: int, std: float) -> Any:
        layer = nn.Linear(inputs, outputs)
        nn.init.normal_(layer.weight, 0.0, std)
        nn.init.zeros_(layer.bias)
        return layer

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        """Heads that look at earlier tokens.  (B, T, C) -> (B, T, C)"""

        def __init__(self, config: GPT2Config, layer: int):
            super().__init__()
            C, std = config.n_embd, config.initializer_range
            self.heads, self.layer = config.n_head, layer
            self.c_attn = linear(C, 3 * C, std)
            self.c_proj = linear(C, C, std / math.sqrt(2 * config.n_layer))
            self.scale = (C // self.heads) ** -0.5 if config.scale_attn_weights else 1.0
            if config.scale_attn_by_inverse_layer_idx:
                self.scale /= layer + 1
            self.dropout, self.residual_dropout = config.attn_pdrop, nn.Dropout(config.resid_pdrop)

        def forward(self, x: Any, sight: Sight | None) -> Any:
            B, T, C = x.shape
            qkv = self.c_attn(x).reshape(B, T, 3, self.heads, C // self.heads)
            q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))  # (B, H, T, D)
            dropout = self.dropout if self.training else 0.0
            if sight is None:
                attend = nn.functional.scaled_dot_product_attention
                y = attend(q, k, v, dropout_p=dropout, is_causal=True, scale=self.scale)
            else:
                y = sight.attend(self.layer, q, k, v, scale=self.scale, dropout=dropout)
            return self.residual_dropout(self.c_proj(y.swapaxes(1, 2).reshape(B, T, C)))

    class MLP(nn.Module):  # type: ignore[misc, name-defined]
        """Two linear layers around an activation.  (B, T, C) -> (B, T, C)"""

        def __init__(self, config: GPT2Config):
            super().__init__()
            C, inner, std = config.n_embd, config.n_inner or 4 * config.n_embd, config.initializer_range
            self.c_fc, self.c_proj = linear(C, inner, std), linear(inner, C, std / math.sqrt(2 * config.n_layer))
            self.act = activation(config.activation_function, nn.functional)
            self.dropout = nn.Dropout(config.resid_pdrop)

        def forward(self, x: Any) -> Any:
            return self.dropout(self.c_proj(self.act(self.c_fc(x))))

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        """Attention and two linear layers, each beside its input and behind a normalisation."""

        def __init__(self, config: GPT2Config, layer: int):
            super().__init__()
            self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
            self.attn = Attention(config, layer)
            self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
            self.mlp = MLP(config)

        def forward(self, x: Any, sight: Sight | None) -> Any:
            x = x + self.attn(self.ln_1(x), sight)
            return x + self.mlp(self.ln_2(x))

    class Decoder(nn.Module):  # type: ignore[misc, name-defined]
        """Embeddings of tokens and places, blocks, and a normalisation.  tokens (B, T) -> (B, T, C)"""

        def __init__(self, config: GPT2Config):
            super().__init__()
            self.wte = nn.Embedding(config.vocab_size, config.n_embd)
            self.wpe = nn.Embedding(config.n_positions, config.n_embd)
            for table in (self.wte, self.wpe):
                nn.init.normal_(table.weight, 0.0, config.initializer_range)
            self.drop = nn.Dropout(config.embd_pdrop)
            self.h = nn.ModuleList([Block(config, i) for i in range(config.n_layer)])
            self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

        def forward(self, tokens: Any, places: Any = None, sight: Sight | None = None) -> Any:
            at = self.wpe.weight[: tokens.shape[1]] if places is None else self.wpe(places)
            x = self.drop(self.wte(tokens) + at)
            for block in self.h:
                x = block(x, sight)
            return self.ln_f(x)

    class LanguageModel(nn.Module):  # type: ignore[misc, name-defined]
        """The decoder, and the embedding once more.  tokens (B, T) -> (B, T, vocabulary)"""

        def __init__(self, config: GPT2Config):
            super().__init__()
            self.transformer = Decoder(config)

        def forward(self, tokens: Any) -> Any:
            return nn.functional.linear(self.transformer(tokens), self.transformer.wte.weight)

    return {"Decoder": Decoder, "LanguageModel": LanguageModel}


class GPT2LMHeadModel(Pretrained):
    """GPT-2 with scores of the next token.  tokens (B, T) -> (B, T, vocab_size)

    Radford et al., "Language models are unsupervised multitask learners" (2019).
    """

    config_class = GPT2Config
    prefix = "transformer"
    heads = ("lm_head",)
    ignored = r"\.attn\.(masked_)?bias$"
    transposed = r"\.(c_attn|c_proj|c_fc)\.weight$"
    config: GPT2Config

    def __init__(self, config: GPT2Config):
        super().__init__(config)
        self.transformer = transformer(weft)["Decoder"](config)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = weft.nn.Linear(config.n_embd, config.vocab_size, bias=False)
            weft.nn.init.normal_(self.lm_head.weight, 0.0, config.initializer_range)

    def tied(self) -> tuple[tuple[str, str], ...]:
        return (("lm_head.weight", "transformer.wte.weight"),) if self.lm_head is None else ()

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, cache: Cache | None = None,
        logits_to_keep: int = 0,
    ) -> Any:  # fmt: skip
        """Scores (B, T, vocab_size) of the token after each of input_ids (B, T).

        attention_mask: (B, T) of 1 and 0 (padding), those in the cache included. position_ids: (B, T) or (T,), by
        default counted on from the cache. cache: what the tokens before gave, to which these are added.
        logits_to_keep: scores of that many last tokens only, 0 for all. ValueError where there are more tokens than the
        n_positions of the model.
        """
        decoder = self.transformer
        tokens = integers("GPT2", input_ids, decoder.wte.weight)
        past = cache.length if cache is not None else 0
        B, T = tokens.shape
        at = places("GPT2", position_ids, past, (B, T))
        if at.size and at.max() >= self.config.n_positions:
            raise ValueError(f"GPT2: expected positions below {self.config.n_positions}, got {at.max()}")
        mask = padding_mask("GPT2", attention_mask, (B, past + T), decoder.wte.weight)
        plain = position_ids is None and not past
        sight = None if plain and mask is None and cache is None else Sight(mask, cache)
        x = decoder(tokens, None if plain else at, sight)
        x = x[:, -logits_to_keep:] if logits_to_keep else x
        return F.linear(x, decoder.wte.weight if self.lm_head is None else self.lm_head.weight)


def gpt2(
    vocabulary: int = 50_304, *, length: int = 1024, layers: int = 12, width: int = 768, heads: int = 12,
    framework: Any = weft,
) -> Any:  # fmt: skip
    """A decoder-only transformer, with GPT-2's 124 million parameters by default.  tokens (B, T) -> (B, T, vocabulary)

    Its head is the embedding's weight, there is no dropout, and the vocabulary of 50,257 is padded to a multiple of 64.
    length: the most tokens. framework: weft or torch. Source as in `GPT2LMHeadModel`, which it is in Weft.

    >>> model = weft.models.gpt2(64, length=8, layers=1, width=16, heads=2)
    >>> model(weft.asarray([[1, 2, 3]])).shape
    (1, 3, 64)
    """
    config = GPT2Config(vocab_size=vocabulary, n_positions=length, n_layer=layers, n_embd=width, n_head=heads,
                        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)  # fmt: skip
    return GPT2LMHeadModel(config) if framework is weft else transformer(framework)["LanguageModel"](config)
