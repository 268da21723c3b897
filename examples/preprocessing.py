"""Poor data reported; numbers scaled, gaps filled and names made columns, from the training rows alone.

California's districts have all of it: missing bedrooms, a column of names, counts with long tails, values that end at a
cap. The same small network learns from the raw numbers, from scaled ones, and from quantiles.
"""

import numpy as np

import weft
from weft import metrics, nn, optim
from weft.data import ArrayDataset, DataLoader, Preprocessor, Table, california_housing, data_report, random_split
from weft.recipes.example import Example, main

TARGET = "median_house_value"  # dollars


def spoil(table: Table, rng: np.random.Generator) -> Table:
    """The table with what careless collection does to one: a column copied, another constant, one that leaks."""
    leak = table[TARGET] * rng.normal(1, 0.01, len(table))  # the tax that was paid on the value to be predicted
    return Table({**table.columns, "rooms": table["total_rooms"], "country": ["US"] * len(table), "tax paid": leak})


def learn(x: np.ndarray, y: np.ndarray, train: np.ndarray, epochs: int, seed: int) -> nn.Module:
    """A network of one hidden layer; x (N, D), y (N,)."""
    weft.random.seed(seed)
    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(ArrayDataset(x[train], y[train, None]), 256, shuffle=True, seed=seed)
    for _ in range(epochs):
        for inputs, targets in loader:
            loss = nn.functional.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def run(example: Example) -> None:
    table = california_housing(example.data)
    print(data_report(table, TARGET))
    spoilt = data_report(spoil(table, np.random.default_rng(example.seed)), TARGET)
    found = {kind: len(spoilt.of(kind)) for kind in ("constant column", "duplicate columns", "leak")}
    example.figure("planted faults found", sum(found.values()), "of 3", at_least=3, at_most=3)

    y = (table[TARGET] / 1e5).astype(np.float32)  # 100,000 dollars
    inputs = table.without(TARGET)
    parts = random_split(ArrayDataset(y), [0.8, 0.2], seed=example.seed)
    train, test = (part.indices for part in parts)
    epochs = example.choose(short=5, default=20)
    filled = {name: np.nan_to_num(inputs[name]) for name in inputs.numeric}  # gaps become 0, names are left out
    ways = {
        "raw numbers": np.stack(list(filled.values()), axis=1).astype(np.float32),
        "scaled": Preprocessor().fit(inputs.rows(train))(inputs),
        "quantiles": (prepare := Preprocessor(scale="quantile").fit(inputs.rows(train)))(inputs),
    }
    reached = {}
    for way, x in ways.items():
        scores = []
        for seed in example.seeds():
            model = learn(x, y, train, epochs, seed)
            with weft.no_grad():
                scores.append(metrics.r2(y[test], model(weft.asarray(x[test])).numpy()[:, 0]))
        reached[way] = float(np.mean(scores))
    print(f"{len(prepare.features)} columns: {', '.join(prepare.features)}")
    low = example.choose(short=0.55, default=0.68)
    example.figure("R2 with scaled columns", reached["scaled"], at_least=low, beside={"raw": reached["raw numbers"]})
    example.figure("R2 with quantiles", reached["quantiles"], at_least=low)
    draw(example, inputs, train, prepare(inputs), prepare.features, reached)


def draw(example, inputs, train, x, features, reached) -> None:
    figure, axes = example.canvas(13, 3.4, 4)
    people = inputs["population"][train]
    axes[0].hist(people, bins=80, color="#8a8a8a")
    axes[0].set(title="as it is", xlabel="population of a district", ylabel="districts")
    axes[1].hist((people - people.mean()) / people.std(), bins=80, color="#2166ac")
    axes[1].set(title="scaled: the tail stays", xlabel="deviations from the mean")
    axes[2].hist(x[train, features.index("population")], bins=80, color="#2166ac")
    axes[2].set(title="by quantile", xlabel="normal deviate")
    lengths = np.maximum(list(reached.values()), 0)  # worse than the mean is a bar of no length
    bars = axes[3].barh(list(reached), lengths, color=["#8a8a8a", "#2166ac", "#2166ac"])
    axes[3].bar_label(bars, [f"{value:.2f}" for value in reached.values()], padding=3)
    axes[3].invert_yaxis()
    axes[3].set(title="what the same network reaches", xlabel="R2 on test districts", xlim=(0, 1))
    example.picture(figure)


if __name__ == "__main__":
    main(run)
