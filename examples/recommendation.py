"""Recommendation: embeddings of people and films from their ratings, against the mean ratings of both.

A rating is the mean of all, plus how generous the person is, plus how good the film is, plus how well both fit: the
product of two vectors. A film's is its own and its genres'; a person's is learned too, and is also told by which films
they rated and how (asymmetric factors: Koren, "Factorization meets the neighborhood", 2008). Width, penalty and epochs
were chosen on a validation tenth of the first split.
"""

import numpy as np

import weft
from weft import metrics, nn, optim
from weft.data import MovieLens, movielens
from weft.recipes.example import Example, main


def popularity(data: MovieLens, train: np.ndarray, rounds: int = 10) -> np.ndarray:
    """Mean plus user's plus film's deviation, each pulled to 0 where ratings are few: a guess of every rating (N,)."""
    ratings, users, films = data.ratings[train].astype(np.float64), data.users[train], data.films[train]
    user, film = np.zeros(data.users.max() + 1), np.zeros(len(data.titles))
    mean = ratings.mean()
    for _ in range(rounds):
        film = np.bincount(films, ratings - mean - user[users], len(film)) / (np.bincount(films, None, len(film)) + 3)
        user = np.bincount(users, ratings - mean - film[films], len(user)) / (np.bincount(users, None, len(user)) + 5)
    return (mean + user[data.users] + film[data.films]).astype(np.float32)


class Taste(nn.Module):
    """What person and film add to the means; `seen` and `liked` (users, films) hold the training ratings alone."""

    def __init__(self, data: MovieLens, train: np.ndarray, beyond: np.ndarray, width: int = 32):
        n, m = int(data.users.max()) + 1, len(data.titles)
        seen = np.zeros((n, m), np.float32)
        seen[data.users[train], data.films[train]] = 1
        liked = np.zeros((n, m), np.float32)
        liked[data.users[train], data.films[train]] = beyond[train]
        root = np.sqrt(np.maximum(seen.sum(axis=1, keepdims=True), 1))
        self.seen, self.liked, self.root = (nn.Buffer(x) for x in (seen / root, liked / root, root))
        self.genres = nn.Buffer(data.genres / np.maximum(data.genres.sum(axis=1, keepdims=True), 1).astype(np.float32))
        self.user, self.film, self.of_seen, self.of_liked = (nn.Embedding(rows, width) for rows in (n, m, m, m))
        self.genre = nn.Linear(data.genres.shape[1], width, bias=False)
        for part in (self.user, self.film, self.of_seen, self.of_liked, self.genre):
            nn.init.normal_(part.weight, std=0.05)
        self.user_bias, self.film_bias = nn.Embedding(n, 1), nn.Embedding(m, 1)
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.film_bias.weight)
        self.drop = nn.Dropout(0.3)

    def forward(self, users, films, beyond=None):
        """users, films (B,) -> (B,). beyond (B,): the ratings asked for, to keep them out of the person's vector."""
        person = self.user.weight + self.seen @ self.of_seen.weight + self.liked @ self.of_liked.weight
        taste, film = person[users], self.film(films) + self.genre(self.genres[films])  # (B, width)
        if beyond is not None:
            own = self.of_seen(films) + self.of_liked(films) * beyond[:, None]
            taste = self.drop(taste - own / self.root[users])
        return (taste * film).sum(axis=1) + self.user_bias(users)[:, 0] + self.film_bias(films)[:, 0]

    def penalty(self, users, films):
        """Squared lengths of the vectors used, which hold those of rarely rated films near 0."""
        vectors = self.user(users), self.film(films), self.of_seen(films), self.of_liked(films)
        biases = self.user_bias(users), self.film_bias(films)
        return 0.5 * sum((v**2).sum(axis=1).mean() for v in vectors) + 0.05 * sum((b**2).mean() for b in biases)


def learn(
    data: MovieLens, train: np.ndarray, test: np.ndarray, *, epochs: int, seed: int
) -> tuple[float, float, Taste]:
    """RMSE of the network and of the means on the ratings at `test`."""
    weft.random.seed(seed)
    means = popularity(data, train)
    beyond = data.ratings - means
    model, rng, batch = Taste(data, train, beyond), np.random.default_rng(seed), 4096
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=5e-3, total_steps=epochs * (len(train) // batch))
    for _ in range(epochs):
        for rows in rng.permutation(train)[: len(train) // batch * batch].reshape(-1, batch):
            users, films, wanted = (weft.asarray(x[rows]) for x in (data.users, data.films, beyond))
            loss = ((model(users, films, wanted) - wanted) ** 2).mean() + model.penalty(users, films)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with weft.no_grad():
        fit = model(weft.asarray(data.users[test]), weft.asarray(data.films[test])).numpy()
    guess, truth = np.clip(means[test] + fit, 0.5, 5), data.ratings[test]
    return metrics.rmse(truth, guess), metrics.rmse(truth, np.clip(means[test], 0.5, 5)), model


def run(example: Example) -> None:
    data = movielens(example.data)
    epochs, splits = example.choose(short=2, default=7), example.choose(short=1, default=5)
    results = []
    for seed in range(example.seed, example.seed + splits):
        order, tenth = np.random.default_rng(seed).permutation(len(data.ratings)), len(data.ratings) // 10
        ours, means, model = learn(data, order[tenth:], order[:tenth], epochs=epochs, seed=seed)
        print(f"split {seed}: RMSE {ours:.4f}, means of user and film {means:.4f}", flush=True)
        results.append((ours, means))
    ours, means = np.mean(results, axis=0)
    example.figure("RMSE, a tenth at random", ours, "stars", at_most=example.choose(short=0.875, default=0.86),
                   beside={"user plus item means": means})  # fmt: skip
    example.figure("under the means", means - ours, "stars", at_least=0.005)
    later = None
    if example.form != "short":
        order = np.argsort(data.times, kind="stable")
        tenth = len(order) // 10
        later = learn(data, order[:-tenth], order[-tenth:], epochs=epochs, seed=example.seed)[:2]
        example.figure("RMSE, the last tenth in time", later[0], "stars", beside={"user plus item means": later[1]})
    draw(example, data, model, np.array(results), later)


def draw(example, data, model, results, later) -> None:
    """The errors, and the best known films where their vectors vary most."""
    figure, (errors, plane) = example.canvas(13, 5, 2)
    names = [f"split {i + 1}" for i in range(len(results))] + ([] if later is None else ["by time"])
    values = results if later is None else np.vstack([results, later])
    place = np.arange(len(names))
    for shift, column, label, colour in (
        (-0.2, 1, "user plus item means", "#8a8a8a"),
        (0.2, 0, "embeddings", "#2166ac"),
    ):
        bars = errors.bar(place + shift, values[:, column], 0.38, label=label, color=colour)
        errors.bar_label(bars, fmt="%.3f", fontsize=7, padding=2)
    errors.set(title="error on ratings not seen", ylabel="RMSE in stars", ylim=(0.75, values.max() + 0.04),
               xticks=place, xticklabels=names)  # fmt: skip
    errors.legend(frameon=False, loc="upper left")
    vectors = (model.film.weight + model.genre(model.genres)).detach().numpy()
    known = np.argsort(-np.bincount(data.films, minlength=len(data.titles)))[:250]
    centred = vectors[known] - vectors[known].mean(axis=0)
    spots = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    plane.plot(*spots.T, ".", color="#c6dbef")
    for i in range(0, 40):
        plane.annotate(data.titles[known[i]].rsplit(" (", 1)[0][:24], spots[i], fontsize=6, ha="center")
    plane.set(title="the best known films, by taste", xlabel="first direction of taste", ylabel="second direction")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
