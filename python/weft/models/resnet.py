"""Residual networks with the names and the choices of Hugging Face's files."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from weft.models.config import Config, activation
from weft.models.huggingface import Pretrained
from weft.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    Sequential,
    init,
)
from weft.nn import functional as F


@dataclasses.dataclass(kw_only=True)
class ResNetConfig(Config):
    """The fields of ResNet's config.json. hidden_sizes and depths: channels and blocks of each stage."""

    model_type: ClassVar[str] = "resnet"
    harmless: ClassVar[frozenset[str]] = frozenset({"out_features", "out_indices", "stage_names"})  # of backbones

    num_channels: int = 3
    embedding_size: int = 64
    hidden_sizes: list = dataclasses.field(default_factory=lambda: [256, 512, 1024, 2048])
    depths: list = dataclasses.field(default_factory=lambda: [3, 4, 6, 3])
    layer_type: str = "bottleneck"
    hidden_act: str = "relu"
    downsample_in_first_stage: bool = False
    downsample_in_bottleneck: bool = False

    def validate(self) -> None:
        sizes, depths = self.hidden_sizes, self.depths
        fits = len(sizes) == len(depths) > 0 and all(type(n) is int and n > 0 for n in [*sizes, *depths])
        self.need(fits, f"hidden_sizes and depths of as many stages, got {sizes} and {depths}")
        self.need(
            self.layer_type in ("basic", "bottleneck"), f"layer_type basic or bottleneck, got {self.layer_type!r}"
        )

    def layers(self) -> int:
        return sum(self.depths)


class ResNetConvolution(Module):
    """A convolution, its normalisation, and an activation if it has one."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, act: str | None = None):
        self.convolution = Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        self.normalization = BatchNorm2d(outputs)
        self.fused = act == "relu"  # which the normalisation does in the same pass
        self.act = None if act is None or self.fused else activation(act, F)

    def forward(self, x: Any) -> Any:
        x = self.normalization(self.convolution(x), relu=self.fused)
        return x if self.act is None else self.act(x)


class ResNetBlock(Module):
    """Convolutions beside a shortcut. Within them the activation is ReLU, whatever the configuration says."""

    def __init__(self, inputs: int, outputs: int, stride: int, config: ResNetConfig):
        same = inputs == outputs and stride == 1
        self.shortcut = Identity() if same else ResNetConvolution(inputs, outputs, 1, stride)
        if config.layer_type == "basic":
            layers = [ResNetConvolution(inputs, outputs, 3, stride, "relu"), ResNetConvolution(outputs, outputs)]
        else:
            narrow = outputs // 4
            first, second = (stride, 1) if config.downsample_in_bottleneck else (1, stride)
            layers = [
                ResNetConvolution(inputs, narrow, 1, first, "relu"),
                ResNetConvolution(narrow, narrow, 3, second, "relu"),
                ResNetConvolution(narrow, outputs, 1),
            ]
        self.layer = Sequential(*layers)
        self.act = activation(config.hidden_act, F)

    def forward(self, x: Any) -> Any:
        return self.act(self.layer(x) + self.shortcut(x))


class ResNetStage(Module):
    """Blocks of one width, the first of which may halve the image."""

    def __init__(self, inputs: int, outputs: int, stride: int, depth: int, config: ResNetConfig):
        first = ResNetBlock(inputs, outputs, stride, config)
        self.layers = Sequential(first, *[ResNetBlock(outputs, outputs, 1, config) for _ in range(depth - 1)])

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class ResNetStem(Module):
    """A wide convolution and a pooling, each of which halves the image."""

    def __init__(self, config: ResNetConfig):
        self.embedder = ResNetConvolution(config.num_channels, config.embedding_size, 7, 2, config.hidden_act)
        self.pooler = MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Any) -> Any:
        return self.pooler(self.embedder(x))


class ResNetEncoder(Module):
    """All the stages."""

    def __init__(self, config: ResNetConfig):
        widths = [config.embedding_size, *config.hidden_sizes]
        strides = [2 if config.downsample_in_first_stage else 1] + [2] * (len(config.depths) - 1)
        stages = zip(widths, widths[1:], strides, config.depths)
        self.stages = Sequential(*[ResNetStage(*stage, config) for stage in stages])

    def forward(self, x: Any) -> Any:
        return self.stages(x)


class ResNetBody(Module):
    """The stem, the stages, and the mean over all pixels.  (N, channels, H, W) -> (N, C, 1, 1)"""

    def __init__(self, config: ResNetConfig):
        self.embedder = ResNetStem(config)
        self.encoder = ResNetEncoder(config)
        self.pooler = AdaptiveAvgPool2d(1)

    def forward(self, x: Any) -> Any:
        return self.pooler(self.encoder(self.embedder(x)))


class ResNetForImageClassification(Pretrained):
    """A residual network that names what an image shows.  (N, channels, H, W) -> scores (N, num_labels)

    He et al., "Deep residual learning for image recognition" (2015).
    """

    config_class = ResNetConfig
    prefix = "resnet"
    heads = ("classifier.",)
    config: ResNetConfig

    def __init__(self, config: ResNetConfig):
        super().__init__(config)
        self.resnet = ResNetBody(config)
        self.classifier = Sequential(Flatten(), Linear(config.hidden_sizes[-1], config.num_labels))

    def forward(self, pixel_values: Any) -> Any:
        """pixel_values: images, normalised as in training."""
        return self.classifier(self.resnet(pixel_values))
