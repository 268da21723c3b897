"""A small CNN reads MNIST's digits and names Fashion-MNIST's clothes, a linear model beside it.

Two convolutions find strokes and their combinations wherever they are; the linear model has one weight per pixel and
class. Both learn from the same images in the same order. The picture shows the mistakes that the CNN was surest of.
"""

import numpy as np

import weft
from weft import models, nn, optim
from weft.data import DataLoader, Normalize, Subset, fashion_mnist, mnist, random_split
from weft.recipes.example import Example, main
from weft.train import Trainer, draw_images

SETS = {"MNIST": (mnist, Normalize(0.1307, 0.3081)), "Fashion-MNIST": (fashion_mnist, Normalize(0.2860, 0.3530))}
SHOWN = 10


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def learn(model: nn.Module, train, scale: Normalize, epochs: int, batch: int, seed: int) -> Trainer:
    loader = DataLoader(train, batch, shuffle=True, drop_last=True, seed=seed, workers=1, transform=scale)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=3e-3, total_steps=epochs * len(loader))
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), schedule=schedule, progress=False)
    trainer.fit(loader, epochs=epochs)
    return trainer


def run(example: Example) -> None:
    count, epochs, batch = example.choose(short=(1_500, 1, 25), default=(12_000, 2, 64), full=(60_000, 3, 128))
    bars = example.choose(short=(82, 62), default=(97.5, 85.5), full=(99.0, 91.0))
    figure, axes = example.canvas(12, 3.2, 2)
    for axis, bar, (name, (load, scale)) in zip(axes, bars, SETS.items()):
        samples, test, classes, _ = load(example.data)
        if example.form == "short":
            test = Subset(test, range(1000))
        images, labels = (np.stack(field) for field in zip(*(test[i] for i in range(len(test)))))
        reached: dict[str, list[float]] = {"CNN": [], "linear": []}
        for seed in example.seeds():
            weft.random.seed(seed)
            share = [count / len(samples), 1 - count / len(samples)]
            train, _ = random_split(samples, share, seed=seed, stratify=samples.arrays[1])
            for kind, make in (("linear", linear), ("CNN", models.mnist_cnn)):
                trainer = learn(make().to(example.device), train, scale, epochs, batch, seed)
                scores = trainer.predict(scale(images))  # (N, 10)
                reached[kind].append(100 * (scores.argmax(1) == labels).mean())
        mean = {kind: float(np.mean(values)) for kind, values in reached.items()}
        example.figure(f"{name}, test accuracy", mean["CNN"], "%", at_least=bar, beside={"linear": mean["linear"]})
        draw(axis, images, labels, scores, classes, f"{name}: {mean['CNN']:.1f} % right, the surest mistakes")
    example.picture(figure)


def draw(axis, images, labels, scores, classes, title: str) -> None:
    chances = nn.functional.softmax(weft.asarray(scores), dim=1).numpy()
    said = chances.argmax(1)
    wrong = np.flatnonzero(said != labels)
    shown = wrong[np.argsort(-chances[wrong, said[wrong]], kind="stable")[:SHOWN]]
    captions = [f"{classes[labels[i]]},\nsaid {classes[said[i]]}" for i in shown]
    draw_images(axis, 255 - images[shown], SHOWN // 2, captions, room=0.5)
    axis.set_title(title, fontsize=11, loc="left")


if __name__ == "__main__":
    main(run)
