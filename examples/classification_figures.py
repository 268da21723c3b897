"""Figures of a classifier: accuracy, precision, recall, F1, ROC AUC, calibration; per class, and per group of people.

A small network recognises spoken digits. Over all recordings it looks good; a table by speaker tells of whom it is
true, and one for a speaker whom it never heard, what the mean hid.
"""

import numpy as np

import weft
from weft import metrics, nn, optim
from weft.data import ArrayDataset, DataLoader, SpokenDigits, log_mel, spoken_digits
from weft.recipes.example import Example, main

MELS, PIECES = 20, 12
FIGURES = {"accuracy": metrics.accuracy, "macro F1": metrics.f1}


def features(spoken: SpokenDigits) -> np.ndarray:
    """Each recording as the mean log-mel spectrum of 12 pieces of equal length, (N, 240)."""
    rows = []
    for wave in spoken.waves:
        x = log_mel(wave, spoken.rate, mels=MELS, hop=80)  # (frames, MELS)
        pieces = [piece.mean(axis=0) for piece in np.array_split(x, PIECES)]
        rows.append(np.concatenate(pieces) - x.mean())  # without the mean: louder is no other digit
    return np.array(rows, np.float32)


def learn(x: np.ndarray, labels: np.ndarray, epochs: int, seed: int) -> nn.Module:
    weft.random.seed(seed)
    model = nn.Sequential(nn.BatchNorm1d(x.shape[1]), nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Dropout(0.3),
                          nn.Linear(128, 10))  # fmt: skip
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    loader = DataLoader(ArrayDataset(x, labels), 64, shuffle=True, drop_last=True, seed=seed)
    for _ in range(epochs):
        for inputs, targets in loader:
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def chances_of(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """Probabilities (N, 10)."""
    with weft.no_grad():
        return nn.functional.softmax(model(weft.asarray(x)), dim=1).numpy()


def run(example: Example) -> None:
    spoken = spoken_digits(example.data)
    x, labels, speakers = features(spoken), spoken.labels, spoken.speakers
    epochs = example.choose(short=5, default=20)
    test = spoken.takes < 5  # as the data set's authors part it
    model = learn(x[~test], labels[~test], epochs, example.seed)
    truth, chances = labels[test], chances_of(model, x[test])
    guess = chances.argmax(axis=1)

    bar = example.choose(short=85, default=93)
    example.figure("accuracy", 100 * metrics.accuracy(truth, guess), "%", at_least=bar, beside={"chance": 10})
    example.figure("top-3 accuracy", 100 * metrics.top_k_accuracy(truth, chances, 3), "%", at_least=bar)
    for average in ("macro", "micro", "weighted"):
        each = [metrics.precision(truth, guess, average), metrics.recall(truth, guess, average)]
        print(f"{average}: precision {each[0]:.4f}, recall {each[1]:.4f}")
    example.figure("ROC AUC, each against the rest", metrics.roc_auc(truth, chances), at_least=0.97)
    example.figure("average precision", metrics.average_precision(truth, chances))
    example.figure("log loss", metrics.log_loss(truth, chances), "nats", beside={"chance": float(np.log(10))})
    example.figure("calibration error", metrics.calibration_error(truth, chances))
    classes = metrics.per_class(truth, guess, [str(digit) for digit in range(10)])
    print(classes)
    groups = metrics.by_group(FIGURES, speakers[test], truth, guess)
    print(groups)
    example.figure("gap between speakers it heard", 100 * groups.gap("accuracy"), "points")

    unheard = {}
    for speaker in example.choose(short=["theo"], default=list(groups)):
        own = speakers == speaker
        other = learn(x[~own], labels[~own], epochs, example.seed)
        unheard[speaker] = metrics.accuracy(labels[own], chances_of(other, x[own]).argmax(axis=1))
    mean = 100 * float(np.mean(list(unheard.values())))
    example.figure("accuracy on speakers it did not hear", mean, "%", beside={"chance": 10})
    draw(example, truth, chances, classes, groups, unheard)


def draw(example, truth, chances, classes, groups, unheard) -> None:
    figure, (matrix, bars, people, honest) = example.canvas(15, 3.8, 4)
    confusion = metrics.confusion_matrix(truth, chances.argmax(axis=1), 10)
    matrix.imshow(np.sqrt(confusion), cmap="Blues")
    for i, j in zip(*np.nonzero(confusion)):
        matrix.text(j, i, confusion[i, j], ha="center", va="center", fontsize=7, color="white" if i == j else "#222222")
    matrix.set(title="confusion matrix", xlabel="predicted", ylabel="said", xticks=range(10), yticks=range(10))
    place = np.arange(10)
    bars.bar(place - 0.2, classes.column("precision"), 0.38, label="precision", color="#2166ac")
    bars.bar(place + 0.2, classes.column("recall"), 0.38, label="recall", color="#c6dbef")
    bars.set(title="per class", xlabel="digit", ylabel="share", xticks=place, ylim=(0.5, 1.12))
    bars.legend(frameon=False, ncols=2, loc="upper center")
    names, rows = list(groups), np.arange(len(groups))
    people.barh(rows - 0.2, 100 * groups.column("accuracy"), 0.38, label="heard in training", color="#2166ac")
    never = [100 * unheard.get(name, np.nan) for name in names]
    people.barh(rows + 0.2, never, 0.38, label="held out", color="#d95f0e")
    people.set(title="per speaker", xlabel="accuracy in %", yticks=rows, yticklabels=names, xlim=(0, 100))
    people.set_ylim(len(names) + 0.4, -0.6)
    people.legend(loc="lower center", frameon=False, fontsize=8, ncols=2)
    curve = metrics.calibration_curve(truth, chances)
    honest.plot([0, 1], [0, 1], ":", color="#8a8a8a")
    honest.plot(curve.predicted, curve.observed, "o-", color="#2166ac")
    honest.set(title="calibration", xlabel="probability of its guess", ylabel="share that is right")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
