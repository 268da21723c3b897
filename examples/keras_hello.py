"""Keras's hello-world, import lines changed only: a net of 109,386 parameters reads handwritten digits.

Between the lines of BEGIN and END stands the program as Keras's pages have it, but for where `keras` comes from.
"""

import numpy as np

from weft import keras
from weft.recipes.example import Example, main, tiles

GAP = 12  # pixels between the digits of the picture


def hello_world(x_train, y_train, x_test, y_test):
    # BEGIN
    x_train, x_test = x_train / 255.0, x_test / 255.0

    model = keras.models.Sequential(
        [
            keras.layers.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.summary()
    history = model.fit(x_train, y_train, epochs=5)
    loss, accuracy = model.evaluate(x_test, y_test)
    # END
    return model, history, accuracy


def run(example: Example) -> None:
    (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data(example.data)
    n = example.choose(short=12_000, default=60_000)
    reached = []
    for seed in example.seeds():
        keras.utils.set_random_seed(seed)
        model, history, accuracy = hello_world(x_train[:n], y_train[:n], x_test, y_test)
        reached.append(100 * accuracy)
    example.figure("parameters", model.count_params(), at_least=109_386, at_most=109_386)
    majority = 100 * np.mean(y_test == np.bincount(y_train).argmax())
    bar = example.choose(short=94.0, default=97.0, full=97.5)
    beside = {"always the commonest digit": majority}
    example.figure("accuracy on the test digits", np.mean(reached), "%", at_least=bar, beside=beside)
    draw(example, history.history, model.predict(x_test / 255.0, verbose=0), x_test, y_test)


def draw(example: Example, history: dict[str, list[float]], outputs, images, labels) -> None:
    """Accuracy by epoch, and the digits that the net is surest of and wrong about."""
    figure, (curve, wrong) = example.canvas(10, 3.6, 2)
    epochs = range(1, len(history["accuracy"]) + 1)
    curve.plot(epochs, 100 * np.array(history["accuracy"]), marker="o")
    curve.set(xlabel="epoch", ylabel="accuracy on the training digits (%)", xticks=list(epochs), title="model.fit")
    guesses = outputs.argmax(1)
    mistakes = np.flatnonzero(guesses != labels)
    surest = mistakes[np.argsort(-outputs[mistakes].max(1))][:15]
    pitch = 28 + GAP
    wrong.imshow(tiles(1 - images[surest] / 255.0, columns=5, gap=GAP), cmap="gray", vmin=0, vmax=1)
    for i, k in enumerate(surest):
        wrong.text(i % 5 * pitch + 14, i // 5 * pitch - 2, f"{guesses[k]}, not {labels[k]}", fontsize=8, ha="center")
    wrong.set(ylim=(3 * pitch - GAP, -GAP))
    wrong.set_title("the surest mistakes: guess, not label")
    wrong.axis("off")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
