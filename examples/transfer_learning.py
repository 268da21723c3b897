"""A net that knows CIFAR-10 learns to read hand signs from 30 photos, the same net from scratch beside it.

Transfer is three moves: take the weights that another task has made, swap the last layer for one of the new classes and
train it while all others are frozen, then unfreeze them and fine-tune. Both nets get the same photos, three of each
sign, the same augmentation and the same number of steps. In the full form each gets the learning rate, out of three,
that does best on 60 validation photos. 200 photos to test with are the same for every seed. What is gained shrinks as
photos are added: from 100 photos training from scratch comes about as far.
"""

import numpy as np

import weft
from weft import models, nn, optim
from weft.data import (
    ArrayDataset,
    ColorJitter,
    Compose,
    DataLoader,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    Resize,
    cifar10,
    cifar10_sample,
    random_split,
    sign_digits,
)
from weft.recipes.example import Example, main
from weft.train import Trainer, draw_images

SCALE = Normalize([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])
SIGNS = Compose([RandomHorizontalFlip(), RandomAffine(15, (0.1, 0.1), (0.9, 1.1)), ColorJitter(0.2, 0.2, 0.2), SCALE])

BATCH = 10


def fit(model: nn.Module, train, transform, rate: float, epochs: int, batch: int, seed: int) -> Trainer:
    """Train what is not frozen."""
    loader = DataLoader(train, batch, shuffle=True, drop_last=True, seed=seed, transform=transform)
    optimizer = optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=0.01)
    schedule = optim.OneCycleLR(optimizer, max_lr=rate, total_steps=epochs * len(loader))
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), schedule=schedule, progress=False)
    trainer.fit(loader, epochs=epochs)
    return trainer


def pretrain(example: Example) -> dict:
    """The weights of a ResNet-18 of 16 channels that has learnt CIFAR-10; kept in the run's folder by its first run."""
    path = example.folder / f"cifar10-{example.form}-{example.seed}.safetensors"
    if path.exists():
        print(f"pretrained weights: {path}")
        return weft.load(path)
    weft.random.seed(example.seed)
    samples, _, _, source = (cifar10 if example.form == "full" else cifar10_sample)(example.data)
    count, epochs = example.choose(short=(320, 1), default=(4_000, 4), full=(20_000, 3))
    train, _ = random_split(samples, [count / len(samples), 1 - count / len(samples)], stratify=samples.arrays[1])
    model = models.resnet18(10, small=True, width=16).to(example.device)
    trainer = fit(model, train, Compose([RandomHorizontalFlip(), RandomCrop(4), SCALE]), 4e-3, epochs, 64, example.seed)
    print(f"{source}: {count:,} photos, loss {trainer.records[-1]['loss']:.2f}")
    weft.save(path, model.state_dict())
    return weft.load(path)


def from_scratch(example: Example, train, weights: dict, rate: float, epochs: int, seed: int) -> Trainer:
    model = models.resnet18(10, small=True, width=16).to(example.device)
    return fit(model, train, SIGNS, rate, epochs, BATCH, seed)


def transferred(example: Example, train, weights: dict, rate: float, epochs: int, seed: int) -> Trainer:
    model = models.resnet18(10, small=True, width=16).to(example.device)
    head = model.fc.state_dict()
    model.load_state_dict(weights)
    model.fc.load_state_dict(head)  # of signs, not of CIFAR-10's classes
    model.requires_grad_(False)
    model.fc.requires_grad_(True)
    fit(model, train, SIGNS, 1e-2, epochs // 4, BATCH, seed)
    model.requires_grad_(True)
    return fit(model, train, SIGNS, rate, epochs - epochs // 4, BATCH, seed)


def run(example: Example) -> None:
    photos, _ = sign_digits(example.data)
    images, labels = (field[:: example.choose(short=2, default=1)] for field in photos.arrays)
    small = ArrayDataset(Resize(32)(images), labels)
    weights = pretrain(example)
    epochs = example.choose(short=4, default=40)
    rates = example.choose(short=[3e-3], default=[3e-3], full=[1e-3, 3e-3, 1e-2])
    ways = {"from scratch": from_scratch, "transferred": transferred}
    reached: dict[str, list[float]] = {name: [] for name in ways}
    known, test = random_split(small, [0.6, 0.4], seed=2026, stratify=labels)
    unseen = tuple(field[test.indices] for field in small.arrays)
    pool = ArrayDataset(*(field[known.indices] for field in small.arrays))
    for seed in example.seeds():
        train, validation, _ = random_split(pool, [0.1, 0.2, 0.7], seed=seed, stratify=pool.arrays[1])
        seen = tuple(field[validation.indices] for field in pool.arrays)
        said = {}
        for name, learn in ways.items():
            candidates = {}
            for rate in rates:
                weft.random.seed(seed)
                trainer = learn(example, train, weights, rate, epochs, seed)
                candidates[rate] = (trainer.predict(SCALE(seen[0])).argmax(1) == seen[1]).mean(), trainer
            rate = max(candidates, key=lambda rate: candidates[rate][0])
            accuracy, trainer = candidates[rate]
            said[name] = trainer.predict(SCALE(unseen[0])).argmax(1)
            reached[name].append(100 * (said[name] == unseen[1]).mean())
            print(f"seed {seed}, {name}: rate {rate:g}, validation {accuracy:.0%}, test {reached[name][-1]:.1f} %")
    scratch, moved = (float(np.mean(values)) for values in reached.values())
    example.figure("transferred, test accuracy", moved, "%", beside={"from scratch": scratch, "chance": 10})
    example.figure("gain by transfer", moved - scratch, "points", at_least=example.choose(short=None, default=3))
    draw(example, len(train), reached, images[test.indices], unseen[1], said)


def draw(example: Example, photos: int, reached, images, labels, said) -> None:
    figure, (bars, tiles) = example.canvas(12, 4, 2)
    colours = {"from scratch": "#8a8a8a", "transferred": "#2166ac"}
    for place, (name, values) in enumerate(reached.items()):
        bars.bar(place, np.mean(values), 0.5, color=colours[name])
        bars.plot([place] * len(values), values, "o", color="#222222", markersize=4)
        bars.text(place, np.mean(values) / 2, f"{np.mean(values):.1f} %", color="white", ha="center", fontsize=12)
    bars.set(title=f"after {photos} photos of signs", ylabel="right on test photos, %", ylim=(0, 100))
    bars.set_xticks(range(len(reached)), list(reached))
    helped = np.flatnonzero((said["transferred"] == labels) & (said["from scratch"] != labels))
    helped = helped[np.unique(np.linspace(0, len(helped) - 1, min(15, len(helped))).astype(int))]  # of all digits
    captions = [f"{labels[i]}, not {said['from scratch'][i]}" for i in helped]
    draw_images(tiles, images[helped], 5, captions)
    tiles.set_title("signs that only the transferred net reads, and what the other said", fontsize=11)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
