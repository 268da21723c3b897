"""House prices in California: a small network on a table, beside a linear model and gradient boosting.

Numbers are scaled by quantile, and longitude and latitude also enter as waves of random direction and length (random
Fourier features: Tancik et al., 2020), so that the network can tell one valley from the next.
"""

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

import weft
from weft import metrics, nn, optim
from weft.data import ArrayDataset, DataLoader, Preprocessor, Table, california_housing
from weft.recipes.example import Example, main

PLACE = ("longitude", "latitude")


def waves(place: np.ndarray, count: int = 64) -> np.ndarray:
    """Places in degrees (N, 2) -> (N, 2 count)."""
    angles = place @ np.random.default_rng(0).normal(0, 1, (2, count))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def learn(x: np.ndarray, y: np.ndarray, *, width: int, epochs: int, seed: int) -> nn.Module:
    """x (N, D), y (N, 1) of mean 0 and deviation 1."""
    weft.random.seed(seed)
    model = nn.Sequential(nn.Linear(x.shape[1], width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                          nn.Linear(width, 1))  # fmt: skip
    loader = DataLoader(ArrayDataset(x, y), 128, shuffle=True, drop_last=True, seed=seed)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = optim.OneCycleLR(optimizer, max_lr=3e-3, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for inputs, targets in loader:
            loss = nn.functional.huber_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


def run(example: Example) -> None:
    table = california_housing(example.data)
    y = (table["median_house_value"] / 1e5).astype(np.float32)  # 100,000 dollars
    ratios = {
        f"{part} per {whole}": np.log(table[part] / table[whole])
        for part, whole in (
            ("total_rooms", "households"),
            ("population", "households"),
            ("total_bedrooms", "total_rooms"),
        )
    }
    inputs = Table({**table.without("median_house_value").columns, **ratios})
    place = waves(np.stack([table[name] - table[name].mean() for name in PLACE], axis=1))
    width, epochs = example.choose(short=64, default=128), example.choose(short=10, default=40)
    scores: dict[str, list[float]] = {"network": [], "linear": [], "gradient boosting": []}
    for split in range(example.seed, example.seed + example.choose(short=1, default=5)):
        order = np.random.default_rng(split).permutation(len(y))
        test, train = order[: len(y) // 5], order[len(y) // 5 :]
        prepare = Preprocessor(scale="quantile", unseen="ignore").fit(inputs.rows(train))
        x = np.concatenate([prepare(inputs), place], axis=1)
        mean, deviation = y[train].mean(), y[train].std()
        model = learn(x[train], ((y[train] - mean) / deviation)[:, None], width=width, epochs=epochs, seed=split)
        with weft.no_grad():
            guess = model(weft.asarray(x[test])).numpy()[:, 0] * deviation + mean
        scores["network"].append(metrics.r2(y[test], guess))
        plain = Preprocessor(unseen="ignore").fit(inputs.rows(train))(inputs)
        others = {"linear": LinearRegression(),
                  "gradient boosting": HistGradientBoostingRegressor(max_iter=200, random_state=split)}  # fmt: skip
        with threadpool_limits(1):  # its threads would wait for each other while the machine is busy
            for name, other in others.items():
                scores[name].append(metrics.r2(y[test], other.fit(plain[train], y[train]).predict(plain[test])))
        print(f"split {split}: " + ", ".join(f"{name} {values[-1]:.3f}" for name, values in scores.items()), flush=True)
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    example.figure("R2", means.pop("network"), at_least=example.choose(short=0.74, default=0.8), beside=means)
    example.figure("mean absolute error", 100_000 * metrics.mae(y[test], guess), "dollars")
    draw(example, table.rows(test), y[test], guess, scores)


def draw(example, table, truth, guess, scores) -> None:
    figure, (scatter, where, bars) = example.canvas(13, 4, 3)
    scatter.plot(truth, guess, ".", markersize=2, color="#2166ac", alpha=0.4)
    scatter.plot([0, 5], [0, 5], color="#d95f0e", linewidth=1)
    scatter.set(title="districts of the test split", xlabel="median value, 100,000 dollars", ylabel="predicted")
    wrong = where.scatter(
        table["longitude"], table["latitude"], c=guess - truth, s=3, cmap="RdBu_r", vmin=-1.5, vmax=1.5
    )
    figure.colorbar(wrong, ax=where, label="predicted - true, 100,000 dollars")
    where.set(title="where it errs", xlabel="longitude", ylabel="latitude", aspect=1.2)
    means = [np.mean(values) for values in scores.values()]
    bars.bar_label(bars.barh(list(scores), means, color=["#2166ac", "#8a8a8a", "#8a8a8a"]), fmt="%.3f", padding=3)
    bars.set(title="districts not seen", xlabel="R2, mean of the splits", xlim=(0, 1))
    bars.invert_yaxis()
    example.picture(figure)


if __name__ == "__main__":
    main(run)
