"""Tables that courses use: California housing, wine quality, iris; and MovieLens, ratings of films."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weft.data.catalog import locate
from weft.data.tables import Table, read_csv

Array = np.ndarray[Any, Any]
FOLDERS = ["tabular"]
UCI = "https://archive.ics.uci.edu/dataset/"
WINE = [
    "fixed acidity", "volatile acidity", "citric acid", "residual sugar", "chlorides", "free sulfur dioxide",
    "total sulfur dioxide", "density", "pH", "sulphates", "alcohol", "quality",
]  # fmt: skip
IRIS = ["sepal length", "sepal width", "petal length", "petal width", "species"]


def california_housing(data: Path | str | None = None) -> Table:
    """California housing: 20,640 districts of 1990 with their median house value, 8 numbers and a name of place.

    207 values of total_bedrooms are missing; house values end at 500,001 dollars. data: the folder to look in first;
    then `WEFT_DATA` and the cache folder are searched for california-housing.csv.gz or housing.csv. MissingDataError if
    they have none. Source: Pace and Barry, "Sparse spatial autoregressions" (1997), as changed by A. Geron.

    >>> weft.data.california_housing()["median_house_value"].max()  # doctest: +SKIP
    500001.0
    """
    names = ["california-housing.csv.gz", "california-housing.csv", "housing.csv"]
    origin = "https://github.com/ageron/handson-ml2/tree/master/datasets/housing"
    (path,) = locate("california housing", FOLDERS, [names], data, origin)
    return expect(path, read_csv(path), ["median_house_value", "ocean_proximity", "total_bedrooms"])


def wine_quality(data: Path | str | None = None) -> Table:
    """Wine quality: 1,599 red and 4,898 white wines, 11 measurements each, a grade of 0 to 10, and the colour.

    data: as `california_housing`. Source: Cortez et al., "Modeling wine preferences by data mining" (2009).

    >>> np.unique(weft.data.wine_quality()["quality"])  # doctest: +SKIP
    array([3., 4., 5., 6., 7., 8., 9.])
    """
    files = [[f"winequality-{colour}.csv"] for colour in ("red", "white")]
    paths = locate("wine quality", FOLDERS, files, data, UCI + "186/wine+quality")
    parts = [read_headed(path, WINE) for path in paths]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in WINE}
    return Table(columns | {"colour": np.repeat(["red", "white"], [len(part) for part in parts])})


def iris(data: Path | str | None = None) -> Table:
    """Iris: 150 flowers of 3 species, the lengths and widths of sepals and petals in cm.

    data: as `california_housing`.
    Source: Fisher, "The use of multiple measurements in taxonomic problems" (1936).

    >>> np.unique(weft.data.iris()["species"])  # doctest: +SKIP
    array(['Iris-setosa', 'Iris-versicolor', 'Iris-virginica'], dtype='<U15')
    """
    (path,) = locate("iris", FOLDERS, [["iris.csv", "iris.data"]], data, UCI + "53/iris")
    return read_headed(path, IRIS)


class MovieLens(NamedTuple):
    """Ratings of films by people, people and films as numbers from 0, in the order of the file.

    >>> ratings = weft.data.movielens()  # doctest: +SKIP
    """

    users: Array  # int64 (N,)
    films: Array  # int64 (N,)
    ratings: Array  # float32 (N,), 0.5 to 5 in halves
    times: Array  # int64 (N,), seconds since 1970
    titles: list[str]  # of the films
    genres: Array  # bool (films, genres)
    genre_names: list[str]


def movielens(data: Path | str | None = None) -> MovieLens:
    """MovieLens, small (2018): 100,836 ratings of 9,724 films by 610 people; only films that somebody rated.

    data: as `california_housing`, with ratings.csv(.gz) and movies.csv. For research: no commercial use. Source: Harper
    and Konstan, "The MovieLens datasets" (2015), GroupLens.

    >>> len(weft.data.movielens().titles)  # doctest: +SKIP
    9724
    """
    files = [["ratings.csv.gz", "ratings.csv"], ["movies.csv", "movies.csv.gz"]]
    origin = "https://grouplens.org/datasets/movielens/latest/"
    ratings_path, films_path = locate("movielens", ["movielens", "ml-latest-small"], files, data, origin)
    table = expect(ratings_path, read_csv(ratings_path), ["userId", "movieId", "rating", "timestamp"])
    films = expect(films_path, read_csv(films_path), ["movieId", "title", "genres"])
    whole = [table["userId"], table["movieId"], table["timestamp"], films["movieId"]]
    if not all(np.isfinite(values).all() and (values == np.rint(values)).all() for values in whole):
        raise ValueError(f"movielens: expected whole numbers as userId, movieId and timestamp in {ratings_path}")
    if not ((table["rating"] >= 0.5) & (table["rating"] <= 5)).all():
        raise ValueError(f"movielens: expected ratings from 0.5 to 5 in {ratings_path}, got {table['rating'].min()} to "
                         f"{table['rating'].max()}")  # fmt: skip
    users = np.unique(table["userId"], return_inverse=True)[1]
    keys, rated = np.unique(table["movieId"], return_inverse=True)
    row_of = {key: row for row, key in enumerate(films["movieId"].tolist())}
    unknown = [int(key) for key in keys.tolist() if key not in row_of]
    if unknown:
        raise ValueError(f"movielens: expected every rated film in {films_path}, got none with movieId {unknown[:5]}")
    rows = [row_of[key] for key in keys.tolist()]
    kinds = [set(films["genres"][row].split("|")) - {"(no genres listed)"} for row in rows]
    names = sorted(set().union(*kinds))
    return MovieLens(
        users, rated, table["rating"].astype(np.float32), table["timestamp"].astype(np.int64),
        [str(films["title"][row]) for row in rows], np.array([[name in kind for name in names] for kind in kinds]),
        names,
    )  # fmt: skip


def read_headed(path: Path, names: list[str]) -> Table:
    """A file of the columns `names`, with a line of names or without; UCI's wine files have semicolons."""
    head = path.read_text(encoding="utf-8-sig", errors="replace").split("\n", 1)[0]
    delimiter = ";" if ";" in head else ","
    table = read_csv(path, None if names[0] in head else names, delimiter)
    return expect(path, table, names)


def expect(path: Path, table: Table, names: list[str]) -> Table:
    lacking = [name for name in names if name not in table]
    if lacking:
        raise ValueError(f"expected the columns {', '.join(names)} in {path}, got {', '.join(table)}")
    return table
