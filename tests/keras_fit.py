"""A program: `fit` of three models in `weft.keras` and in Keras, from the same weights; prints how far they end apart.

Run by tests/keras/test_fit_beside_keras.py in a process of its own, as Keras chooses its backend once.
"""

from __future__ import annotations

import json

import keras as theirs
import numpy as np

from weft import keras as ours


def images(keras):
    L = keras.layers
    head = L.Dense(8, activation="relu", kernel_regularizer="l2", kernel_constraint="max_norm")
    model = keras.Sequential(
        [keras.Input((8, 8, 2)), L.Conv2D(4, 3, padding="same", activation="relu"), L.BatchNormalization(),
         L.MaxPooling2D(), L.Flatten(), head, L.Dense(3, activation="softmax")]
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, {"class_weight": {0: 2.0, 1: 1.0, 2: 0.5}}


def words(keras):
    L = keras.layers
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), L.Embedding(9, 5, mask_zero=True),
         L.Bidirectional(L.LSTM(4, return_sequences=True)), L.GRU(3), L.Dense(1, activation="sigmoid")]
    )  # fmt: skip
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.7)
    model.compile(keras.optimizers.RMSprop(rate), "binary_crossentropy", metrics=["accuracy", "auc"])
    return model, {}


def sequences(keras):
    L = keras.layers
    inputs = keras.Input((6, 4))
    h = L.LayerNormalization()(L.Add()([inputs, L.MultiHeadAttention(2, 3)(inputs, inputs)]))
    model = keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling1D()(h)))
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=1.0, weight_decay=0.01)
    model.compile(optimizer, "huber", metrics=["mae", keras.metrics.RootMeanSquaredError()])
    return model, {}


def main():
    rng = np.random.default_rng(0)
    indices = rng.integers(1, 9, (40, 6))
    indices[:20, 4:] = 0
    data = {
        images: (rng.standard_normal((40, 8, 8, 2)).astype("f"), rng.integers(0, 3, 40)),
        words: (indices, rng.integers(0, 2, 40)),
        sequences: (rng.standard_normal((40, 6, 4)).astype("f"), rng.standard_normal((40, 2)).astype("f")),
    }
    found = {}
    for make, (x, y) in data.items():
        for keras in (ours, theirs):
            keras.utils.clear_session()
        (mine, options), (reference, _) = make(ours), make(theirs)
        mine.set_weights(reference.get_weights())
        options = options | {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0, "validation_split": 0.2}
        a, b = (model.fit(x, y, **options).history for model in (mine, reference))
        weights = zip(mine.get_weights(), reference.get_weights())
        found[make.__name__] = {
            "names": [list(a), list(b)],
            "figures": max(float(np.abs(np.subtract(a[name], b[name])).max()) for name in b),
            "weights": max(float(abs(p - q).max() / max(abs(q).max(), 1e-3)) for p, q in weights),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
