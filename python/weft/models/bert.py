"""BERT: a transformer that sees the whole text, with the heads that fill gaps and that name the kind of a text."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import weft
from weft import ops
from weft.models.config import Config, activation
from weft.models.huggingface import Pretrained
from weft.models.parts import embedding, integers, linear, merge, padding_mask, places, split
from weft.nn import Dropout, LayerNorm, Module, ModuleList, Parameter, init
from weft.nn import functional as F


@dataclasses.dataclass(kw_only=True)
class BertConfig(Config):
    """The fields of BERT's config.json."""

    model_type: ClassVar[str] = "bert"
    fixed: ClassVar[dict[str, Any]] = {"position_embedding_type": "absolute", "tie_word_embeddings": True}

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    classifier_dropout: float | None = None
    pad_token_id: int | None = 0

    def validate(self) -> None:
        heads, width = self.num_attention_heads, self.hidden_size
        self.need(width % heads == 0, f"a hidden_size that {heads} heads divide, got {width}")

    def layers(self) -> int:
        return self.num_hidden_layers


class BertEmbeddings(Module):
    """Words, kinds of sentences and places, added and normalised.  tokens (B, T) -> (B, T, C)"""

    def __init__(self, config: BertConfig):
        C, std = config.hidden_size, config.initializer_range
        self.word_embeddings = embedding(config.vocab_size, C, std, config.pad_token_id)
        self.position_embeddings = embedding(config.max_position_embeddings, C, std)
        self.token_type_embeddings = embedding(config.type_vocab_size, C, std)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, tokens: Any, kinds: Any, at: Any) -> Any:
        x = self.word_embeddings(tokens) + self.token_type_embeddings(kinds) + self.position_embeddings(at)
        return self.dropout(self.LayerNorm(x))


class BertSelfAttention(Module):
    """Heads that look at every token that is no padding.  (B, T, C) -> (B, T, C)"""

    def __init__(self, config: BertConfig):
        C, std = config.hidden_size, config.initializer_range
        self.heads, self.dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.query, self.key, self.value = (linear(C, C, std) for _ in range(3))

    def forward(self, x: Any, mask: Any) -> Any:
        q, k, v = (split(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        dropout = self.dropout if self.training else 0.0
        return merge(ops.scaled_dot_product_attention(q, k, v, mask, dropout=dropout))


class BertOutput(Module):
    """A linear layer, then its result beside the input, normalised."""

    def __init__(self, inputs: int, config: BertConfig):
        self.dense = linear(inputs, config.hidden_size, config.initializer_range)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x: Any, beside: Any) -> Any:
        return self.LayerNorm(self.dropout(self.dense(x)) + beside)


class BertAttention(Module):
    """Attention and what follows it; its parts have the names of the files."""

    def __init__(self, config: BertConfig):
        self.self = BertSelfAttention(config)
        self.output = BertOutput(config.hidden_size, config)

    def forward(self, x: Any, mask: Any) -> Any:
        return self.output(self.self(x, mask), x)


class BertIntermediate(Module):
    """The wide layer of a block.  (B, T, C) -> (B, T, intermediate_size)"""

    def __init__(self, config: BertConfig):
        self.dense = linear(config.hidden_size, config.intermediate_size, config.initializer_range)
        self.act = activation(config.hidden_act, F)

    def forward(self, x: Any) -> Any:
        return self.act(self.dense(x))


class BertLayer(Module):
    """Attention and two linear layers."""

    def __init__(self, config: BertConfig):
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config.intermediate_size, config)

    def forward(self, x: Any, mask: Any) -> Any:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class BertEncoder(Module):
    """All the layers."""

    def __init__(self, config: BertConfig):
        self.layer = ModuleList([BertLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x: Any, mask: Any) -> Any:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class BertPooler(Module):
    """The first token of each text, once more through a layer.  (B, T, C) -> (B, C)"""

    def __init__(self, config: BertConfig):
        self.dense = linear(config.hidden_size, config.hidden_size, config.initializer_range)

    def forward(self, x: Any) -> Any:
        return ops.tanh(self.dense(x[:, 0]))


class BertBody(Module):
    """Embeddings, layers, and a pooler where the head wants one."""

    def __init__(self, config: BertConfig, pooled: bool):
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if pooled else None

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any, position_ids: Any) -> Any:
        """(hidden (B, T, C), pooled (B, C) or None)."""
        table = self.embeddings.word_embeddings.weight
        tokens = integers("BERT", input_ids, table)
        B, T = tokens.shape
        kinds = weft.zeros_like(tokens) if token_type_ids is None else integers("BERT", token_type_ids, table)
        if kinds.shape != tokens.shape:
            raise ValueError(f"BERT: expected token_type_ids {tokens.shape}, got {kinds.shape}")
        at = places("BERT", position_ids, 0, (B, T))
        if at.size and at.max() >= self.config.max_position_embeddings:
            raise ValueError(f"BERT: expected positions below {self.config.max_position_embeddings}, got {at.max()}")
        mask = padding_mask("BERT", attention_mask, (B, T), table)
        x = self.encoder(self.embeddings(tokens, kinds, at), mask)
        return x, None if self.pooler is None else self.pooler(x)


class BertPretrained(Pretrained):
    """What BERT's files have in common. Devlin et al., "BERT" (2018)."""

    config_class = BertConfig
    prefix = "bert"
    heads = ("cls.", "classifier.")
    renamed: ClassVar[tuple[tuple[str, str], ...]] = (
        (r"LayerNorm\.gamma$", "LayerNorm.weight"),
        (r"LayerNorm\.beta$", "LayerNorm.bias"),
    )
    ignored = r"embeddings\.position_ids$"
    config: BertConfig


class BertModel(BertPretrained, BertBody):
    """BERT without a head.  tokens (B, T) -> hidden (B, T, C), pooled (B, C)"""

    prefix = ""
    renamed = ((r"^bert\.", ""), *BertPretrained.renamed)

    def __init__(self, config: BertConfig):
        BertBody.__init__(self, config, True)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, position_ids: Any = None
    ) -> Any:
        """attention_mask: (B, T) of 1 and 0 (padding). token_type_ids: (B, T), the sentence of each token, by default
        0. position_ids: (B, T) or (T,), by default 0, 1, ..."""
        return BertBody.forward(self, input_ids, attention_mask, token_type_ids, position_ids)


class BertTransform(Module):
    """The layer between the hidden states and the words."""

    def __init__(self, config: BertConfig):
        self.dense = linear(config.hidden_size, config.hidden_size, config.initializer_range)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.act = activation(config.hidden_act, F)

    def forward(self, x: Any) -> Any:
        return self.LayerNorm(self.act(self.dense(x)))


class BertPredictions(Module):
    """Scores of words: the embedding's rows once more, and a bias."""

    def __init__(self, config: BertConfig):
        self.transform = BertTransform(config)
        self.bias = Parameter(init.filled((config.vocab_size,), 0))

    def forward(self, x: Any, table: Any) -> Any:
        return F.linear(self.transform(x), table, self.bias)


class BertHead(Module):
    """The head under the name that files have."""

    def __init__(self, config: BertConfig):
        self.predictions = BertPredictions(config)

    def forward(self, x: Any, table: Any) -> Any:
        return self.predictions(x, table)


class BertForMaskedLM(BertPretrained):
    """BERT that fills gaps.  tokens (B, T) -> scores (B, T, vocab_size)

    The pooler and the head of sentence pairs, which files of the pretrained model hold beside, are left out.
    """

    ignored = BertPretrained.ignored + r"|^bert\.pooler\.|^cls\.seq_relationship\."

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.bert = BertBody(config, False)
        self.cls = BertHead(config)

    def tied(self) -> tuple[tuple[str, str], ...]:
        return (
            ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
            ("cls.predictions.decoder.bias", "cls.predictions.bias"),
        )

    def forward(
        self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, position_ids: Any = None
    ) -> Any:
        """Arguments as `BertModel`."""
        x, _ = self.bert(input_ids, attention_mask, token_type_ids, position_ids)
        return self.cls(x, self.bert.embeddings.word_embeddings.weight)


class BertForSequenceClassification(BertPretrained):
    """BERT that names the kind of a text.  tokens (B, T) -> scores (B, num_labels)"""

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.bert = BertBody(config, True)
        share = config.classifier_dropout
        self.dropout = Dropout(config.hidden_dropout_prob if share is None else share)
        self.classifier = linear(config.hidden_size, config.num_labels, config.initializer_range)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, position_ids: Any = None
    ) -> Any:
        """Arguments as `BertModel`."""
        _, pooled = self.bert(input_ids, attention_mask, token_type_ids, position_ids)
        return self.classifier(self.dropout(pooled))
