"""Small models: nine of ten weights pruned, the rest as 8-bit integers, with hardly a digit more wrong.

Weights of least magnitude are set to zero, a little more at a time, and the rest is trained on (arXiv:1506.02626); the
whole net beside it is trained as long. Then every weight matrix is stored as int8 with one scale per row. Sizes are
those of the files, zeros compressed.
"""

import gzip

import numpy as np

import weft
from weft import nn, optim
from weft.data import DataLoader, Normalize, mnist, random_split
from weft.nn import utils
from weft.recipes.example import Example, main
from weft.train import Trainer

SCALE = Normalize(0.1307, 0.3081)


def build() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # (N, 32, 7, 7)
        nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def train(model: nn.Module, loader: DataLoader, epochs: int, rate: float, masks: dict | None = None) -> None:
    optimizer = optim.AdamW(model.parameters(), lr=rate)
    schedule = optim.OneCycleLR(optimizer, max_lr=rate, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if masks:
                utils.apply_masks(model, masks)


def accuracy(model: nn.Module, samples) -> float:
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.0), nn.CrossEntropyLoss(), metrics=["accuracy"],
                      progress=False)  # fmt: skip
    return 100 * trainer.evaluate(DataLoader(samples, 500, transform=SCALE))["accuracy"]


def size(path, state) -> int:
    """Bytes of the file, as a download has them."""
    weft.save(path, state)
    return len(gzip.compress(path.read_bytes()))


def once(example: Example, seed: int) -> list[tuple[str, float, int]]:
    weft.random.seed(seed)
    samples, test, _, _ = mnist(example.data)
    part = example.choose(short=0.045, default=0.35)
    samples, _ = random_split(samples, [part, 1 - part], seed=seed)
    loader = DataLoader(samples, 64, shuffle=True, seed=seed, drop_last=True, transform=SCALE)
    model, whole, small = (build().to(example.device) for _ in range(3))
    file, amounts = example.folder / "model.safetensors", (0.5, 0.8, 0.9)
    train(model, loader, epochs=2, rate=4e-3)
    whole.load_state_dict(model.state_dict())
    for _ in amounts:
        train(whole, loader, epochs=1, rate=1e-3)
    rows = [("float32", accuracy(whole, test), size(file, whole.state_dict()))]
    utils.load_int8_state_dict(small, utils.int8_state_dict(whole))
    rows.append(("int8", accuracy(small, test), size(file, utils.int8_state_dict(whole))))

    for amount in amounts:
        masks = utils.prune_by_magnitude(model, amount)
        train(model, loader, epochs=1, rate=1e-3, masks=masks)
        rows.append((f"{amount:.0%} pruned", accuracy(model, test), size(file, model.state_dict())))
    utils.load_int8_state_dict(small, utils.int8_state_dict(model))
    rows.append(("90% pruned, int8", accuracy(small, test), size(file, utils.int8_state_dict(model))))
    return rows


def run(example: Example) -> None:
    every = [once(example, seed) for seed in example.seeds()]
    rows = {every[0][i][0]: np.mean([rows[i][1:] for rows in every], axis=0) for i in range(len(every[0]))}
    for name, (right, bytes_) in rows.items():
        print(f"{name:18} {right:6.2f} %   {bytes_ / 1024:7.1f} KiB")
    whole, whole_size = rows["float32"]
    example.figure("accuracy in float32", whole, "%", at_least=example.choose(short=90.0, default=98.5))
    example.figure("points lost by int8", whole - rows["int8"][0], at_most=0.5)
    example.figure("size of int8", rows["int8"][1] / whole_size, "of float32", at_most=0.3)
    example.figure("points lost with 90% pruned and int8", whole - rows["90% pruned, int8"][0], at_most=0.5)
    example.figure("size with 90% pruned and int8", rows["90% pruned, int8"][1] / whole_size, "of float32", at_most=0.1)
    draw(example, rows)


def draw(example: Example, rows) -> None:
    figure, (axis,) = example.canvas(7, 4)
    for name, (right, bytes_) in rows.items():
        eight = "int8" in name
        axis.semilogx(
            bytes_ / 1024, right, "s" if eight else "o", color="#d95f0e" if eight else "#2166ac", markersize=8
        )
        axis.annotate(name, (bytes_ / 1024, right), textcoords="offset points", xytext=(0, 9), ha="center", fontsize=9)
    axis.margins(x=0.15, y=0.3)
    axis.set(xlabel="size of the compressed file, KiB", ylabel="test accuracy, %", title="What a smaller model costs")
    axis.set_xticks([10, 20, 50, 100, 200, 400], ["10", "20", "50", "100", "200", "400"])
    axis.grid(axis="y", color="#e6e6e6")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
