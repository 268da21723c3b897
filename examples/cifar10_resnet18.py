"""A ResNet-18 of 16 channels learns CIFAR-10's photos on a CPU, an AlexNet-shaped net beside it.

A linear model is there too. All see the same photos, mirrored and shifted anew in each epoch. An epoch costs AlexNet
an eighth of ResNet's time in this size, so it gets three times as many. The full form takes 20,000 of the training
photos of the copy as JPEG: its results cannot be compared with published ones. `weft train cifar10_resnet18` is the
recipe for a GPU, of all photos and the full width.
"""

import time

import numpy as np

import weft
from weft import models, nn, optim
from weft.data import (
    Compose,
    DataLoader,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    Subset,
    cifar10,
    cifar10_sample,
    random_split,
)
from weft.recipes.example import Example, main
from weft.train import Trainer, draw_images

SCALE = Normalize([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])  # per channel, of the training images
NETS = ("linear", "AlexNet-shaped", "ResNet-18")
SHOWN = 32  # photos in the picture


def build(name: str) -> nn.Module:
    if name == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    make = models.resnet18 if name == "ResNet-18" else models.alexnet
    return make(10, small=True, width=16)


def learn(name: str, train, epochs: int, batch: int, seed: int, device: str | None) -> tuple[Trainer, list[float]]:
    """The trainer of a trained net; the seconds that its training took of two cores, and by the clock."""
    weft.random.seed(seed)
    model, residual = build(name).to(device), name == "ResNet-18"
    augment = Compose([RandomHorizontalFlip(), RandomCrop(4), SCALE])
    loader = DataLoader(train, batch, shuffle=True, drop_last=True, seed=seed, transform=augment)
    if residual:  # weights decay, the scales and shifts of batch norm do not
        rate = 0.2 * batch / 128
        groups = [{"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 5e-4},
                  {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0}]  # fmt: skip
        optimizer = optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    else:
        rate, epochs = 1e-3, 3 * epochs
        optimizer = optim.AdamW(model.parameters(), lr=rate)
    schedule = optim.OneCycleLR(optimizer, max_lr=rate, total_steps=epochs * len(loader))
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    trainer = Trainer(model, optimizer, loss, schedule=schedule, progress=False)
    begun, cpu = time.perf_counter(), time.process_time()
    trainer.fit(loader, epochs=epochs)
    return trainer, [(time.process_time() - cpu) / 2, time.perf_counter() - begun]


def run(example: Example) -> None:
    full = example.form == "full"
    samples, test, classes, source = (cifar10 if full else cifar10_sample)(example.data)
    count, epochs, batch = example.choose(short=(640, 1, 20), default=(4_000, 4, 64), full=(20_000, 3, 128))
    share = [count / len(samples), 1 - count / len(samples)]
    if example.form == "short":
        test = Subset(test, range(200))
    images, labels = (np.stack(field) for field in zip(*(test[i] for i in range(len(test)))))
    reached: dict[str, list[float]] = {name: [] for name in NETS}
    scores, seconds = {}, []
    for seed in example.seeds():
        train, _ = random_split(samples, share, seed=seed, stratify=samples.arrays[1])
        for name in NETS:
            trainer, taken = learn(name, train, epochs, batch, seed, example.device)
            scores[name] = trainer.predict(SCALE(images), batch_size=500)  # (N, 10)
            reached[name].append(100 * (scores[name].argmax(1) == labels).mean())
        seconds.append(taken)
        print(f"seed {seed}: " + ", ".join(f"{name} {values[-1]:.1f} %" for name, values in reached.items()))
    *others, residual = (float(np.mean(values)) for values in reached.values())
    print(f"{source}: {count:,} photos to learn from, {len(labels):,} to test")
    bar = example.choose(short=12, default=40, full=55)
    example.figure("ResNet-18, test accuracy", residual, "%", at_least=bar, beside=dict(zip(NETS, others)))
    limit = example.choose(short=10, default=60, full=120)
    busy, clock = np.mean(seconds, axis=0)
    example.figure("its training, half its seconds of CPU", busy, "s", at_most=limit, beside={"by the clock": clock})
    draw(example, images, labels, scores, classes)


def draw(example: Example, images, labels, scores, classes) -> None:
    figure, (bars, photos) = example.canvas(12, 4.4, 2)
    place = np.arange(10)
    for i, (name, colour) in enumerate(zip(NETS, ("#c7c7c7", "#d95f0e", "#2166ac"))):
        right = scores[name].argmax(1) == labels
        each = [100 * right[labels == c].mean() for c in place]
        bars.barh(place + 0.27 * (1 - i), each, 0.25, color=colour, label=f"{name}: {100 * right.mean():.1f} %")
    bars.set(title="right on test photos", xlabel="% of the class", yticks=place, yticklabels=classes, ylim=(9.6, -0.6))
    bars.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, -0.28), ncols=3)
    said = scores["ResNet-18"].argmax(1)
    at = np.arange(SHOWN) * len(images) // SHOWN  # of all classes, where they come one after another
    colours = ["#222222" if said[i] == labels[i] else "#d95f0e" for i in at]
    draw_images(photos, images[at], 8, [classes[c] for c in said[at]], colours)
    photos.set_title("what ResNet-18 says, orange where wrong", fontsize=11)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
