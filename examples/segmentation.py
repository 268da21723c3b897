"""Which pixel belongs to which digit: a small U-Net labels every pixel of a canvas.

The net looks at ever coarser copies of the image, to see what a digit is, and comes back to the full size with the help
of what it saw on the way down, to see where (arXiv:1505.04597). Scored by the intersection over union of each class's
pixels over all test canvases; the background is one of the 11 classes.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import Canvases, digit_canvases, mnist
from weft.metrics import mean_iou
from weft.nn import functional as F
from weft.recipes.example import Example, main

CLASSES = 11  # the background and ten digits


def layer(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """Images (N, 1, H, W), sides multiples of 8 -> scores (N, 11, H, W)."""

    def __init__(self):
        self.down = nn.ModuleList([layer(1, 16), layer(16, 32), nn.Sequential(layer(32, 64), layer(64, 64))])
        self.bottom = nn.Sequential(layer(64, 96), layer(96, 64))
        self.up = nn.ModuleList([layer(64 + 64, 32), layer(32 + 32, 16), layer(16 + 16, 16)])
        self.head = nn.Conv2d(16, CLASSES, 1)

    def forward(self, x: weft.Tensor) -> weft.Tensor:
        seen = []
        for part in self.down:
            seen.append(part(x))
            x = F.max_pool2d(seen[-1], 2)
        x = self.bottom(x)  # (N, 64, H / 8, W / 8)
        for part in self.up:
            x = part(weft.concat([F.interpolate(x, scale_factor=2), seen.pop()], axis=1))
        return self.head(x)


def train(scenes: Canvases, batch: int, epochs: int, seed: int) -> nn.Module:
    model = UNet()
    images, masks = scale(scenes.images), weft.asarray(scenes.masks.astype(np.int64))
    steps = len(scenes.images) // batch
    optimizer = optim.AdamW(model.parameters(), lr=4e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * steps)
    weight = weft.asarray([0.3] + [1.0] * 10)  # most pixels are background
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for part in rng.permutation(steps * batch).reshape(steps, batch):
            chosen = weft.asarray(part)
            loss = F.cross_entropy(model(images[chosen]), masks[chosen], weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def scale(images: np.ndarray) -> weft.Tensor:
    return weft.asarray(images.astype(np.float32) / 255)


def label(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Images (N, 1, H, W) -> the class of each pixel (N, H, W)."""
    with weft.no_grad():
        parts = [model(scale(images[i : i + 100])).numpy().argmax(axis=1) for i in range(0, len(images), 100)]
    return np.concatenate(parts)


def run(example: Example) -> None:
    digits, test_digits, *_ = mnist(example.data)
    n, batch, epochs, tested = example.choose(
        short=(900, 6, 1, 100), default=(4_000, 16, 2, 1_000), full=(6_000, 16, 2, 1_000)
    )
    test = digit_canvases(test_digits, tested, seed=1001)
    scores = []
    for seed in example.seeds():
        weft.random.seed(seed)
        model = train(digit_canvases(digits, n, seed=2 + seed), batch, epochs, seed)
        found = label(model, test.images)
        scores.append(mean_iou(test.masks, found, average=None, classes=CLASSES))
    each = 100 * np.mean(scores, axis=0)  # (11,)
    # With no model: ink is what is bright, and all of it the commonest digit.
    bright = np.where(test.images[:, 0] >= 128, np.bincount(test.masks.ravel())[1:].argmax() + 1, 0)
    beside = {"bright pixels as one digit": 100 * mean_iou(test.masks, bright, classes=CLASSES)}
    bar = example.choose(short=15, default=85)
    example.figure(f"mean IoU of 11 classes, {tested:,} test canvases", each.mean(), "%", at_least=bar, beside=beside)
    example.figure("IoU of the background", each[0], "%")
    example.figure(f"IoU of the worst digit, {each[1:].argmin()}", each[1:].min(), "%")
    example.picture(draw(example, test, found))


def draw(example: Example, scenes: Canvases, found: np.ndarray):
    """Test canvases, the pixels of each digit as they are, and as they were found."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colours = ["#f2f2f2", *(f"C{digit}" for digit in range(10))]
    figure, axes = example.canvas(14, 7.6, 1)
    axes[0].remove()
    grid = figure.subplots(3, 6)
    rows = {"canvas": scenes.images[:, 0], "truth": scenes.masks, "found": found}
    for row, (name, images) in zip(grid, rows.items()):
        for axis, image in zip(row, images):
            if name == "canvas":
                axis.imshow(image, cmap="gray", vmin=0, vmax=255)
            else:
                axis.imshow(image, cmap=ListedColormap(colours), vmin=-0.5, vmax=10.5, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=12)
    handles = [Patch(color=colours[1 + digit], label=str(digit)) for digit in range(10)]
    figure.legend(handles=handles, loc="outside lower center", ncols=10, frameon=False)
    return figure


if __name__ == "__main__":
    main(run)
