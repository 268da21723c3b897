"""Models of images."""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any

import weft


def mnist_cnn(framework: Any = weft) -> Any:
    """Two convolutions and two linear layers for handwritten digits.  (N, 1, 28, 28) -> (N, 10)

    framework: weft or torch.

    >>> weft.models.mnist_cnn()(weft.ones((1, 1, 28, 28))).shape
    (1, 10)
    """
    nn = framework.nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def alexnet(classes: int = 1000, *, small: bool = False, width: int = 64, framework: Any = weft) -> Any:
    """Five convolutions and three linear layers with dropout between them.  (N, 3, H, W) -> (N, classes)

    small: a stem for images of about 32 pixels: 3x3 kernels and pools of 2 where 224 pixels have 11x11 and 5x5 kernels
    and pools of 3. width: channels of the first convolution, to which all layers are in proportion. Parameters have
    torchvision's names and shapes. framework: weft or torch. Krizhevsky, "One weird trick for parallelizing
    convolutional neural networks" (2014), the one-tower form of AlexNet.

    >>> weft.models.alexnet(classes=10, small=True, width=8).eval()(weft.ones((2, 3, 32, 32))).shape
    (2, 10)
    """
    nn = framework.nn
    if width < 1:
        raise ValueError(f"alexnet: expected width >= 1, got {width}")
    first, second, third, last, hidden = width, 3 * width, 6 * width, 4 * width, 64 * width

    def pool() -> Any:
        return nn.MaxPool2d(2) if small else nn.MaxPool2d(3, stride=2)

    side = 2 if small else 6
    stem = nn.Conv2d(3, first, 3, stride=2, padding=1) if small else nn.Conv2d(3, first, 11, stride=4, padding=2)
    after = nn.Conv2d(first, second, 3, padding=1) if small else nn.Conv2d(first, second, 5, padding=2)
    features = nn.Sequential(
        stem, nn.ReLU(), pool(),
        after, nn.ReLU(), pool(),
        nn.Conv2d(second, third, 3, padding=1), nn.ReLU(),
        nn.Conv2d(third, last, 3, padding=1), nn.ReLU(),
        nn.Conv2d(last, last, 3, padding=1), nn.ReLU(), pool(),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(last * side * side, hidden), nn.ReLU(),
        nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes),
    )  # fmt: skip
    return nn.Sequential(OrderedDict(
        features=features, avgpool=nn.AdaptiveAvgPool2d(side), flatten=nn.Flatten(), classifier=classifier
    ))  # fmt: skip


def resnet18(classes: int = 1000, *, small: bool = False, width: int = 64, framework: Any = weft) -> Any:
    """A residual network of 18 layers.  (N, 3, H, W) -> (N, classes)

    small: a stem for images of about 32 pixels, without the stride and the pooling that 224 pixels allow. width:
    channels of the first stage; each further stage has twice as many. Parameters have torchvision's names and, with
    the paper's width of 64, shapes. framework: weft or torch. He et al., "Deep residual learning" (2015).

    >>> weft.models.resnet18(classes=10, small=True, width=16)(weft.ones((2, 3, 8, 8))).shape
    (2, 10)
    """
    kinds = residual(framework)
    return kinds["ResNet"](kinds["Basic"], (2, 2, 2, 2), classes, small, width)


def resnet50(classes: int = 1000, *, small: bool = False, width: int = 64, framework: Any = weft) -> Any:
    """A residual network of 50 layers; the stride of a block is at its 3x3 convolution.  (N, 3, H, W) -> (N, classes)

    Arguments and source as `resnet18`.

    >>> model = weft.models.resnet50()  # doctest: +SKIP
    """
    kinds = residual(framework)
    return kinds["ResNet"](kinds["Bottleneck"], (3, 4, 6, 3), classes, small, width)


@functools.cache
def residual(framework: Any) -> dict[str, Any]:
    """The classes of residual networks, of a framework's layers."""
    nn: Any = framework.nn

    def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> Any:
        layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        return layer

    def activated(norm: Any, x: Any, added: Any = None) -> Any:
        """relu(norm(x) + added), which Weft's batch norm does in one pass over memory."""
        if framework is weft:
            return norm(x, added, relu=True)
        y = norm(x)
        return (y if added is None else y + added).relu()

    def shortcut(inputs: int, outputs: int, stride: int) -> Any:
        """What makes a block's input addable to its output; None where it is."""
        if stride == 1 and inputs == outputs:
            return None
        return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    class Basic(nn.Module):  # type: ignore[misc, name-defined]
        """Two 3x3 convolutions beside a shortcut."""

        expansion = 1

        def __init__(self, inputs: int, width: int, stride: int):
            super().__init__()
            self.conv1, self.bn1 = convolution(inputs, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = convolution(width, width, 3), nn.BatchNorm2d(width)
            self.downsample = shortcut(inputs, width, stride)

        def forward(self, x: Any) -> Any:
            y = activated(self.bn1, self.conv1(x))
            return activated(self.bn2, self.conv2(y), x if self.downsample is None else self.downsample(x))

    class Bottleneck(nn.Module):  # type: ignore[misc, name-defined]
        """A 3x3 convolution between two of 1x1, beside a shortcut."""

        expansion = 4

        def __init__(self, inputs: int, width: int, stride: int):
            super().__init__()
            self.conv1, self.bn1 = convolution(inputs, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = convolution(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = convolution(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
            self.downsample = shortcut(inputs, 4 * width, stride)

        def forward(self, x: Any) -> Any:
            y = activated(self.bn1, self.conv1(x))
            y = activated(self.bn2, self.conv2(y))
            return activated(self.bn3, self.conv3(y), x if self.downsample is None else self.downsample(x))

    class ResNet(nn.Module):  # type: ignore[misc, name-defined]
        """A stem, four stages of blocks, the mean over all pixels, and a linear layer."""

        def __init__(self, block: Any, blocks: tuple[int, ...], classes: int, small: bool, width: int):
            super().__init__()
            if width < 1:
                raise ValueError(f"ResNet: expected width >= 1, got {width}")
            self.conv1 = convolution(3, width, 3 if small else 7, 1 if small else 2)
            self.bn1 = nn.BatchNorm2d(width)
            self.maxpool = None if small else nn.MaxPool2d(3, stride=2, padding=1)
            inputs, stages = width, []
            for stage, count in enumerate(blocks):
                channels, layers = width << stage, []
                for i in range(count):
                    layers.append(block(inputs, channels, 2 if stage and not i else 1))
                    inputs = channels * block.expansion
                stages.append(nn.Sequential(*layers))
            self.layer1, self.layer2, self.layer3, self.layer4 = stages
            self.avgpool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
            self.fc = nn.Linear(inputs, classes)

        def forward(self, x: Any) -> Any:
            x = activated(self.bn1, self.conv1(x))
            if self.maxpool is not None:
                x = self.maxpool(x)
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.flatten(self.avgpool(x)))

    return {"Basic": Basic, "Bottleneck": Bottleneck, "ResNet": ResNet}
