"""Where is which digit: a detector with no anchor boxes draws boxes around the digits on a canvas.

Each of 16 x 16 cells says for every class how much it looks like the middle of such a digit, and how far off the sides
of its box are (after CenterNet, arXiv:1904.07850, and FCOS, arXiv:1904.01355). Of boxes that overlap, non-maximum
suppression keeps the best. Scored by mAP50: the area under the precision-recall curve of each class, over all test
canvases, where a box counts as found if it overlaps the true one by half (intersection over union).
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import Canvases, digit_canvases, mnist
from weft.metrics import mean_average_precision
from weft.nn import functional as F
from weft.recipes.example import Example, main
from weft.vision import batched_nms

STRIDE, CELLS, CLASSES = 4, 16, 10


def layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def detector() -> nn.Module:
    """Images (N, 1, 64, 64) -> for each cell scores of classes and distances to sides (N, 10 + 4, 16, 16)."""
    model = nn.Sequential(
        *layer(1, 16),
        nn.MaxPool2d(2),
        *layer(16, 32),
        nn.MaxPool2d(2),  # (N, 32, 16, 16)
        *layer(32, 64),
        *layer(64, 64),
        *layer(64, 64),
        nn.Conv2d(64, CLASSES + 4, 1),
    )
    with weft.no_grad():
        model[-1].bias[:CLASSES] = -4.0  # nearly no cell is the middle of a digit
    return model


def targets(scenes: Canvases) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heat of classes (N, 10, 16, 16), 1 at middles, less beside them; distances (N, 4, 16, 16); where they count."""
    n = len(scenes.images)
    heat, sides = np.zeros((n, CLASSES, CELLS, CELLS), np.float32), np.zeros((n, 4, CELLS, CELLS), np.float32)
    middle = np.zeros((n, 1, CELLS, CELLS), np.float32)
    cells = np.arange(CELLS)
    for i, (boxes, labels) in enumerate(zip(scenes.boxes, scenes.labels)):
        for box, label in zip(boxes, labels):
            x, y = ((box[:2] + box[2:]) / 2 // STRIDE).astype(int)
            away = (cells - x) ** 2 + (cells[:, None] - y) ** 2  # (16, 16)
            heat[i, label] = np.maximum(heat[i, label], np.exp(-away))
            sides[i, :, y, x] = np.abs(box - STRIDE * (np.array([x, y, x, y]) + 0.5)) / 16
            middle[i, 0, y, x] = 1
    return heat, sides, middle


def loss_of(out: weft.Tensor, heat: weft.Tensor, sides: weft.Tensor, middle: weft.Tensor) -> weft.Tensor:
    """CenterNet's focal loss of the heat, and the error of the distances at the middles."""
    score, count = out[:, :CLASSES], middle.sum()
    p = F.sigmoid(score)
    found = (1 - p) ** 2 * F.logsigmoid(score) * (heat == 1)
    empty = (1 - heat) ** 4 * p**2 * F.logsigmoid(-score)
    distance = (F.softplus(out[:, CLASSES:]) - sides).abs() * middle
    return (distance.sum() - found.sum() - empty.sum()) / count


def train(scenes: Canvases, batch: int, epochs: int, seed: int) -> nn.Module:
    model = detector()
    arrays = [scale(scenes.images), *map(weft.asarray, targets(scenes))]
    steps = len(scenes.images) // batch
    optimizer = optim.AdamW(model.parameters(), lr=4e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * steps)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for part in rng.permutation(steps * batch).reshape(steps, batch):
            images, *wanted = (array[weft.asarray(part)] for array in arrays)
            loss = loss_of(model(images), *wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def scale(images: np.ndarray) -> weft.Tensor:
    return weft.asarray(images.astype(np.float32) / 255)


def detect(model: nn.Module, images: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each image its boxes (n, 4), scores (n,) and labels (n,), the best first."""
    found = []
    for start in range(0, len(images), 100):
        with weft.no_grad():
            out = model(scale(images[start : start + 100]))
            scores, sides = F.sigmoid(out[:, :CLASSES]).numpy(), 16 * F.softplus(out[:, CLASSES:]).numpy()
        for score, side in zip(scores, sides):
            labels, y, x = np.nonzero(score > 0.05)
            middles = STRIDE * (np.stack([x, y, x, y], axis=1) + 0.5)  # (n, 4)
            boxes = middles + side[:, y, x].T * [-1, -1, 1, 1]
            best = batched_nms(boxes, score[labels, y, x], labels, 0.5).numpy()
            found.append((boxes[best], score[labels, y, x][best], labels[best]))
    return found


def run(example: Example) -> None:
    digits, test_digits, *_ = mnist(example.data)
    n, batch, epochs, tested = example.choose(short=(600, 10, 2, 100), default=(6_000, 32, 2, 1_000))
    test = digit_canvases(test_digits, tested, seed=1001)
    truths = list(zip(test.boxes, test.labels))
    scores = []
    for seed in example.seeds():
        weft.random.seed(seed)
        model = train(digit_canvases(digits, n, seed=2 + seed), batch, epochs, seed)
        found = detect(model, test.images)
        scores.append([mean_average_precision(truths, found, iou) for iou in (0.5, 0.75)])
    half, strict = 100 * np.mean(scores, axis=0)
    example.figure(f"mAP50, {tested:,} test canvases", half, "%", at_least=example.choose(short=50, default=90))
    example.figure("mAP75", strict, "%")
    example.picture(draw(example, test, found))


def draw(example: Example, scenes: Canvases, found: list[tuple[np.ndarray, ...]]):
    """Test canvases with what was found by a score of 0.3 or more, and in grey what was to be found."""
    figure, axes = example.canvas(14, 3.4, 5)
    for axis, image, boxes, (guesses, scores, labels) in zip(axes, scenes.images, scenes.boxes, found):
        axis.imshow(image[0], cmap="gray", vmin=0, vmax=255, extent=(0, 64, 64, 0))
        for x1, y1, x2, y2 in boxes:
            axis.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color="#999999", linewidth=1, linestyle=":")
        for (x1, y1, x2, y2), score, label in zip(guesses, scores, labels):
            if score >= 0.3:
                axis.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=f"C{label}", linewidth=2)
                axis.text(x1, y1 - 1, f"{label}: {100 * score:.0f} %", color=f"C{label}", fontsize=9, weight="bold")
        axis.set(xlim=(0, 64), ylim=(64, 0), xticks=[], yticks=[])
    figure.suptitle("found, with scores; dotted: the true box", fontsize=11)
    return figure


if __name__ == "__main__":
    main(run)
