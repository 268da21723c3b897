"""ViT: an image as a sequence of patches."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from weft import ops
from weft.models.config import Config, activation
from weft.models.huggingface import Pretrained
from weft.models.parts import linear, merge, split
from weft.nn import Conv2d, Dropout, LayerNorm, Module, ModuleList, Parameter, init
from weft.nn import functional as F


@dataclasses.dataclass(kw_only=True)
class ViTConfig(Config):
    """The fields of ViT's config.json; sizes are one number or [height, width]."""

    model_type: ClassVar[str] = "vit"
    harmless: ClassVar[frozenset[str]] = frozenset({"encoder_stride", "pooler_act", "pooler_output_size"})

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    layer_norm_eps: float = 1e-12
    image_size: int | list = 224
    patch_size: int | list = 16
    num_channels: int = 3
    qkv_bias: bool = True

    def validate(self) -> None:
        heads, width = self.num_attention_heads, self.hidden_size
        self.need(width % heads == 0, f"a hidden_size that {heads} heads divide, got {width}")
        for size in (self.image_size, self.patch_size):
            fits = isinstance(size, int) or (len(size) == 2 and all(type(n) is int and n > 0 for n in size))
            self.need(fits, f"image_size and patch_size to be a number or two, got {size!r}")
        image, patch = self.pair(self.image_size), self.pair(self.patch_size)
        self.need(patch[0] <= image[0] and patch[1] <= image[1], f"patches within images, got {patch} of {image}")

    def pair(self, size: int | list[int]) -> tuple[int, int]:
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    def layers(self) -> int:
        return self.num_hidden_layers


class ViTPatches(Module):
    """Patches as vectors.  (N, channels, H, W) -> (N, patches, C)"""

    def __init__(self, config: ViTConfig):
        patch = config.pair(config.patch_size)
        self.projection = Conv2d(config.num_channels, config.hidden_size, patch, stride=patch)

    def forward(self, images: Any) -> Any:
        x = self.projection(images)
        return x.reshape(*x.shape[:2], -1).swapaxes(1, 2)


class ViTEmbeddings(Module):
    """A token for the whole image, one per patch, and their places.  (N, channels, H, W) -> (N, 1 + patches, C)"""

    def __init__(self, config: ViTConfig):
        self.image = config.pair(config.image_size)
        patch = config.pair(config.patch_size)
        count = (self.image[0] // patch[0]) * (self.image[1] // patch[1])
        self.cls_token = Parameter(init.empty((1, 1, config.hidden_size)))
        self.position_embeddings = Parameter(init.empty((1, 1 + count, config.hidden_size)))
        for parameter in (self.cls_token, self.position_embeddings):
            init.normal_(parameter, 0.0, config.initializer_range)
        self.patch_embeddings = ViTPatches(config)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, images: Any) -> Any:
        if images.ndim != 4 or images.shape[2:] != self.image:
            raise ValueError(
                f"ViT: expected images (N, channels, {self.image[0]}, {self.image[1]}), got {images.shape}"
            )
        whole = ops.broadcast_to(self.cls_token, (images.shape[0], 1, self.cls_token.shape[2]))
        return self.dropout(ops.concat([whole, self.patch_embeddings(images)], axis=1) + self.position_embeddings)


class ViTSelfAttention(Module):
    """Heads that look at every patch.  (N, T, C) -> (N, T, C)"""

    def __init__(self, config: ViTConfig):
        C = config.hidden_size
        self.heads, self.dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.query, self.key, self.value = (linear(C, C, config.initializer_range, config.qkv_bias) for _ in range(3))

    def forward(self, x: Any) -> Any:
        q, k, v = (split(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        return merge(ops.scaled_dot_product_attention(q, k, v, dropout=self.dropout if self.training else 0.0))


class ViTDense(Module):
    """A linear layer, an activation where it has one, and dropout where it has none."""

    def __init__(self, inputs: int, outputs: int, config: ViTConfig, act: str | None = None):
        self.dense = linear(inputs, outputs, config.initializer_range)
        self.after = Dropout(config.hidden_dropout_prob) if act is None else activation(act, F)

    def forward(self, x: Any) -> Any:
        return self.after(self.dense(x))


class ViTAttention(Module):
    """Attention and the layer behind it; its parts have the names of the files."""

    def __init__(self, config: ViTConfig):
        self.attention = ViTSelfAttention(config)
        self.output = ViTDense(config.hidden_size, config.hidden_size, config)

    def forward(self, x: Any) -> Any:
        return self.output(self.attention(x))


class ViTLayer(Module):
    """Attention and two linear layers, each beside its input and behind a normalisation."""

    def __init__(self, config: ViTConfig):
        C, inner = config.hidden_size, config.intermediate_size
        self.attention = ViTAttention(config)
        self.intermediate = ViTDense(C, inner, config, config.hidden_act)
        self.output = ViTDense(inner, C, config)
        self.layernorm_before = LayerNorm(C, config.layer_norm_eps)
        self.layernorm_after = LayerNorm(C, config.layer_norm_eps)

    def forward(self, x: Any) -> Any:
        x = x + self.attention(self.layernorm_before(x))
        return x + self.output(self.intermediate(self.layernorm_after(x)))


class ViTEncoder(Module):
    """All the layers."""

    def __init__(self, config: ViTConfig):
        self.layer = ModuleList([ViTLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x: Any) -> Any:
        for layer in self.layer:
            x = layer(x)
        return x


class ViTBody(Module):
    """Embeddings, layers, and a normalisation."""

    def __init__(self, config: ViTConfig):
        self.embeddings = ViTEmbeddings(config)
        self.encoder = ViTEncoder(config)
        self.layernorm = LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, images: Any) -> Any:
        return self.layernorm(self.encoder(self.embeddings(images)))


class ViTForImageClassification(Pretrained):
    """ViT that names what an image shows.  (N, channels, H, W) -> scores (N, num_labels)

    Dosovitskiy et al., "An image is worth 16x16 words" (2020).
    """

    config_class = ViTConfig
    prefix = "vit"
    heads = ("classifier.",)
    ignored = r"^vit\.pooler\."
    config: ViTConfig

    def __init__(self, config: ViTConfig):
        super().__init__(config)
        self.vit = ViTBody(config)
        self.classifier = linear(config.hidden_size, config.num_labels, config.initializer_range)

    def forward(self, pixel_values: Any) -> Any:
        """pixel_values: images of the size that the configuration says, normalised as in training; ValueError else."""
        return self.classifier(self.vit(pixel_values)[:, 0])
