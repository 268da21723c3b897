"""Llama: rotary positions, fewer heads of keys than of queries, RMS norms, gated linear layers."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside
from weft.models.config import Config, activation
from weft.models.huggingface import Pretrained
from weft.models.parts import Cache, Sight, embedding, integers, linear, merge, padding_mask, places, split
from weft.models.rotary import check_rope, rotary_tables
from weft.nn import Module, ModuleList, RMSNorm
from weft.nn import functional as F


@dataclasses.dataclass(kw_only=True)
class LlamaConfig(Config):
    """The fields of Llama's config.json; rope_theta and rope_scaling of older files become rope_parameters."""

    model_type: ClassVar[str] = "llama"
    harmless: ClassVar[frozenset[str]] = frozenset({"pretraining_tp"})  # sums in slices, which changes their rounding

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_parameters: dict | None = None
    attention_bias: bool = False
    attention_dropout: float = 0.0
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    eos_token_id: int | list | None = 2

    @classmethod
    def upgraded(cls, fields: dict[str, Any]) -> dict[str, Any]:
        fields = dict(fields)
        theta, scaling = fields.pop("rope_theta", None), fields.pop("rope_scaling", None)
        if theta is None and scaling is None:
            return fields
        if fields.get("rope_parameters") is not None:
            raise ValueError("llama: expected rope_parameters, or rope_theta and rope_scaling as older files have, "
                             "got both")  # fmt: skip
        if scaling is not None and not isinstance(scaling, dict):
            raise ValueError(f"llama: expected rope_scaling to be an object, got {scaling!r}")
        rope = {("rope_type" if name == "type" else name): value for name, value in (scaling or {}).items()}
        return {**fields, "rope_parameters": rope if theta is None else {"rope_theta": theta, **rope}}

    def validate(self) -> None:
        heads, pairs = self.num_attention_heads, self.num_key_value_heads or self.num_attention_heads
        if self.head_dim is None:
            self.need(self.hidden_size % heads == 0, f"a hidden_size that {heads} heads divide, got {self.hidden_size}")
            self.head_dim = self.hidden_size // heads
        self.num_key_value_heads = pairs
        self.need(heads % pairs == 0, f"num_key_value_heads that divide {heads} heads, got {pairs}")
        self.need(self.head_dim % 2 == 0, f"an even head_dim, got {self.head_dim}")
        rope = {"rope_type": "default", "rope_theta": 10000.0, **(self.rope_parameters or {})}
        if rope["rope_type"] in ("yarn", "longrope", "llama3"):
            rope.setdefault("original_max_position_embeddings", self.max_position_embeddings)
        check_rope(rope, self.head_dim)
        self.rope_parameters = rope

    def layers(self) -> int:
        return self.num_hidden_layers


class LlamaAttention(Module):
    """Heads that look at earlier tokens and know how far away those are.  (B, T, C) -> (B, T, C)"""

    def __init__(self, config: LlamaConfig, layer: int):
        C, D, bias, std = config.hidden_size, config.head_dim or 0, config.attention_bias, config.initializer_range
        self.heads, self.pairs, self.layer = config.num_attention_heads, config.num_key_value_heads or 0, layer
        self.q_proj = linear(C, self.heads * D, std, bias)
        self.k_proj = linear(C, self.pairs * D, std, bias)
        self.v_proj = linear(C, self.pairs * D, std, bias)
        self.o_proj = linear(self.heads * D, C, std, bias)
        self.dropout = config.attention_dropout

    def forward(self, x: Any, turns: tuple[Tensor, Tensor], sight: Sight) -> Any:
        q = rotate(split(self.q_proj(x), self.heads), turns)
        k = rotate(split(self.k_proj(x), self.pairs), turns)
        v = split(self.v_proj(x), self.pairs)
        return self.o_proj(merge(sight.attend(self.layer, q, k, v, dropout=self.dropout if self.training else 0.0)))


def rotate(x: Any, turns: tuple[Tensor, Tensor]) -> Any:
    """x (B, H, T, D) at the positions of the tables, (T, D / 2) for all rows or (B * T, D / 2) for each its own."""
    B, H, T, D = x.shape
    if turns[0].shape[0] == T:
        return ops.rope(x, *turns)
    rows = x.swapaxes(0, 1).reshape(H, B * T, D)
    return ops.rope(rows, *turns).reshape(H, B, T, D).swapaxes(0, 1)


class LlamaMLP(Module):
    """act(gate(x)) * up(x), and back.  (B, T, C) -> (B, T, C)"""

    def __init__(self, config: LlamaConfig):
        C, inner, bias, std = config.hidden_size, config.intermediate_size, config.mlp_bias, config.initializer_range
        self.gate_proj, self.up_proj = linear(C, inner, std, bias), linear(C, inner, std, bias)
        self.down_proj = linear(inner, C, std, bias)
        self.act = activation(config.hidden_act, F)

    def forward(self, x: Any) -> Any:
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(Module):
    """Attention and a gated pair of linear layers, each beside its input and behind a normalisation."""

    def __init__(self, config: LlamaConfig, layer: int):
        self.self_attn = LlamaAttention(config, layer)
        self.mlp = LlamaMLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Any, turns: tuple[Tensor, Tensor], sight: Sight) -> Any:
        x = x + self.self_attn(self.input_layernorm(x), turns, sight)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaModel(Module):
    """Embeddings, layers, and a normalisation."""

    def __init__(self, config: LlamaConfig):
        std, pad = config.initializer_range, config.pad_token_id
        self.embed_tokens = embedding(config.vocab_size, config.hidden_size, std, pad)
        self.layers = ModuleList([LlamaLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, tokens: Any, turns: tuple[Tensor, Tensor], sight: Sight) -> Any:
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, turns, sight)
        return self.norm(x)


class LlamaForCausalLM(Pretrained):
    """Llama with scores of the next token.  tokens (B, T) -> (B, T, vocab_size)

    Touvron et al., "LLaMA: open and efficient foundation language models" (2023), with grouped heads as by Ainslie et
    al., "GQA" (2023).
    """

    config_class = LlamaConfig
    prefix = "model"
    heads = ("lm_head",)
    ignored = r"rotary_emb\.inv_freq$"
    config: LlamaConfig

    def __init__(self, config: LlamaConfig):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = linear(config.hidden_size, config.vocab_size, config.initializer_range, bias=False)

    def tied(self) -> tuple[tuple[str, str], ...]:
        return (("lm_head.weight", "model.embed_tokens.weight"),) if self.lm_head is None else ()

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, cache: Cache | None = None,
        logits_to_keep: int = 0,
    ) -> Any:  # fmt: skip
        """Scores (B, T, vocab_size) of the token after each of input_ids (B, T).

        attention_mask: (B, T) of 1 and 0 (padding), those in the cache included. position_ids: (B, T) or (T,), by
        default counted on from the cache. cache: what the tokens before gave, to which these are added.
        logits_to_keep: scores of that many last tokens only, 0 for all.
        """
        config, table = self.config, self.model.embed_tokens.weight
        tokens = integers("Llama", input_ids, table)
        past = cache.length if cache is not None else 0
        B, T = tokens.shape
        mask = padding_mask("Llama", attention_mask, (B, past + T), table)
        at = places("Llama", position_ids, past, (B, T))
        tables = rotary_tables(config.rope_parameters or {}, config.head_dim or 0, config.max_position_embeddings, at)
        cos, sin = (Tensor(beside(values, table.data)) for values in tables)
        x = self.model(tokens, (cos, sin), Sight(mask, cache))
        x = x[:, -logits_to_keep:] if logits_to_keep else x
        return F.linear(x, table if self.lm_head is None else self.lm_head.weight)
