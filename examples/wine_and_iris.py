"""Classes of a table: wine by quality and iris by species, beside the largest class and logistic regression.

1,177 of the 6,497 wines are repeated in every value: such a row in both parts of a split would be learned by heart, so
each wine is kept once. Grades 3 to 5, 6, and 7 to 9 are the classes; few wines have a grade at either end.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

import weft
from weft import metrics, nn, optim
from weft.data import ArrayDataset, DataLoader, Preprocessor, Table, data_report, iris, random_split, wine_quality
from weft.recipes.example import Example, main

COLOURS = ("#b2182b", "#8a8a8a", "#2166ac")


def without_copies(table: Table) -> Table:
    keys = list(zip(*(values.tolist() for _, values in table.items())))
    return table.rows(sorted({key: row for row, key in reversed(list(enumerate(keys)))}.values()))


def learn(x: np.ndarray, labels: np.ndarray, *, width: int, epochs: int, seed: int) -> nn.Module:
    weft.random.seed(seed)
    model = nn.Sequential(nn.Linear(x.shape[1], width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, width), nn.ReLU(),
                          nn.Linear(width, int(labels.max()) + 1))  # fmt: skip
    loader = DataLoader(ArrayDataset(x, labels), 64, shuffle=True, seed=seed)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = optim.OneCycleLR(optimizer, max_lr=3e-3, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for inputs, targets in loader:
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def compare(inputs: Table, labels: np.ndarray, splits: range, **settings) -> tuple[dict, np.ndarray, np.ndarray]:
    """Mean accuracies in % over random fifths of the rows, and labels and probabilities of all of these."""
    accuracy = {"network": [], "logistic regression": [], "largest class": []}
    truths, probabilities = [], []
    for split in splits:
        parts = random_split(ArrayDataset(labels), [0.8, 0.2], seed=split, stratify=labels)
        train, test = (part.indices for part in parts)
        x = Preprocessor(scale="quantile", unseen="ignore").fit(inputs.rows(train))(inputs)
        model = learn(x[train], labels[train], seed=split, **settings)
        with weft.no_grad():
            chances = nn.functional.softmax(model(weft.asarray(x[test])), dim=1).numpy()
        plain = LogisticRegression(max_iter=1000).fit(x[train], labels[train]).predict(x[test])
        largest = np.full_like(plain, np.bincount(labels[train]).argmax())
        for name, guess in zip(accuracy, (chances.argmax(axis=1), plain, largest)):
            accuracy[name].append(100 * metrics.accuracy(labels[test], guess))
        truths.append(labels[test])
        probabilities.append(chances)
    means = {name: float(np.mean(values)) for name, values in accuracy.items()}
    return means, np.concatenate(truths), np.concatenate(probabilities)


def run(example: Example) -> None:
    splits = range(example.seed, example.seed + example.choose(short=1, default=5))
    flowers = iris(example.data)
    species, kind = np.unique(flowers["species"], return_inverse=True)
    means, truth, chances = compare(flowers.without("species"), kind, splits, width=16, epochs=150)
    example.figure(
        "iris, accuracy", means.pop("network"), "%", at_least=example.choose(short=86, default=93), beside=means
    )
    print(metrics.per_class(truth, chances.argmax(axis=1), list(species)))

    copied = wine_quality(example.data)
    print(data_report(copied, "quality").of("duplicate rows")[0].text)
    wines = without_copies(copied)
    grade = np.digitize(wines["quality"], [5.5, 6.5])
    names = ["3 to 5", "6", "7 to 9"]
    means, truth, chances = compare(
        wines.without("quality"), grade, splits, width=example.choose(short=32, default=64),
        epochs=example.choose(short=8, default=30),
    )  # fmt: skip
    low = means["logistic regression"]  # the network must find what a plane cannot part
    bar = example.choose(short=low - 2, default=low)
    example.figure("wine, accuracy", means.pop("network"), "%", at_least=bar, beside=means)
    example.figure("wine, ROC AUC", metrics.roc_auc(truth, chances), at_least=0.7, beside={"chance": 0.5})
    example.figure("wine, calibration error", metrics.calibration_error(truth, chances))
    print(metrics.per_class(truth, chances.argmax(axis=1), names))
    draw(example, flowers, kind, species, names, truth, chances)


def draw(example, flowers, kind, species, names, truth, chances) -> None:
    figure, (plane, curves, honest) = example.canvas(13, 4, 3)
    for k, (name, colour) in enumerate(zip(species, COLOURS)):
        own = flowers.rows(kind == k)
        plane.plot(own["petal length"], own["petal width"], ".", color=colour, label=name)
    plane.set(title="iris", xlabel="petal length, cm", ylabel="petal width, cm")
    plane.legend(frameon=False)
    for k, (name, colour) in enumerate(zip(names, COLOURS)):
        curve = metrics.roc_curve(truth == k, chances[:, k])
        area = metrics.roc_auc(truth == k, chances[:, k])
        curves.plot(curve.false_positive_rate, curve.true_positive_rate, color=colour, label=f"{name}: {area:.2f}")
    curves.plot([0, 1], [0, 1], ":", color="#8a8a8a")
    curves.set(title="wine: each grade against the others", xlabel="false positive rate", ylabel="true positive rate")
    curves.legend(frameon=False, title="grade: ROC AUC", loc="lower right")
    bins = metrics.calibration_curve(truth, chances)
    honest.plot([0, 1], [0, 1], ":", color="#8a8a8a", label="honest")
    honest.plot(bins.predicted, bins.observed, "o-", color="#2166ac", label="network")
    honest.set(
        title="wine: does it know how sure it is?", xlabel="probability of its guess", ylabel="share that is right"
    )
    honest.legend(frameon=False)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
