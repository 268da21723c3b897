"""Tables: CSV files, preprocessing by the training rows alone, and what a report finds."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from policy import DATA, needs
from weft.data import (
    MissingDataError,
    Preprocessor,
    Table,
    california_housing,
    data_report,
    iris,
    movielens,
    read_csv,
    wine_quality,
)
from weft.data.tabular import WINE

rng = np.random.default_rng()


def kinds(report):
    return sorted({finding.kind for finding in report.findings})


# ---- tables and files


def test_a_csv_file(tmp_path):
    text = 'a,"b, c",d\n1,x,\n\n2.5,"y ""z""",NA\n nan ,,-3e2\n'
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.replace("\n", "\r\n").encode()))
    for name in ("t.csv", "t.csv.gz"):
        table = read_csv(tmp_path / name)
        assert table.names == ["a", "b, c", "d"] and table.numeric == ["a", "d"] and len(table) == 3
        assert np.array_equal(table["a"], [1, 2.5, np.nan], equal_nan=True)
        assert table["b, c"].tolist() == ["x", 'y "z"', ""]
        assert np.array_equal(table["d"], [np.nan, np.nan, -300], equal_nan=True)
    (tmp_path / "t.csv").write_text("1;2\n3;x\n")
    assert read_csv(tmp_path / "t.csv", ["p", "q"], ";")["q"].tolist() == ["2", "x"]


@pytest.mark.parametrize(
    "content, message",
    [(b"a,b\n1,2\n3\n", "expected 2 values in line 3 of .*, got 1"), (b"a,a\n1,2\n", "a name for each column"),
     (b"", "got 0 rows and no names"), (b"a,b\n", "got 0 rows and a, b"), (b"a\n\xff\n", "a CSV file in UTF-8"),
     (b'a\n"x\n', "a CSV file in UTF-8"), (b"\x1f\x8b\x08damaged", "a whole gzip file")],
)  # fmt: skip
def test_csv_files_that_are_damaged(content, message, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / "t.csv")


def test_what_python_alone_reads_as_a_number_is_a_name(tmp_path):
    (tmp_path / "t.csv").write_text("key,digits,number\n20_1,\u0661\u0662,1e3\n3_0,4,-5\n", encoding="utf-8")
    table = read_csv(tmp_path / "t.csv")
    assert table.numeric == ["number"] and table["key"].tolist() == ["20_1", "3_0"]
    assert table["digits"].tolist() == ["\u0661\u0662", "4"]


def test_rows_and_columns():
    table = Table({"n": [3, 1, 2], "flag": np.array([True, False, True]), "who": ["x", "", "z"]})
    assert table.rows([2, 0])["n"].tolist() == [2, 3] and len(table.rows(table["n"] > 1)) == 2
    assert table.without("n").names == ["flag", "who"] and "n" in table and "m" not in table
    for call in (lambda: table["m"], lambda: table.without("m")):
        with pytest.raises(KeyError, match="expected one of n, flag, who, got 'm'"):
            call()
    with pytest.raises(ValueError, match="one length, got a 1, b 2"):
        Table({"a": [1], "b": [1, 2]})
    with pytest.raises(TypeError, match="numbers or names"):
        Table({"a": [None, 1]})


# ---- preprocessing


def test_only_the_training_rows_decide():
    n = 200
    values = np.where(rng.random(n) < 0.1, np.nan, rng.normal(50, 9, n))
    table = Table({"x": values, "c": rng.choice(["p", "q", "r"], n), "y": rng.normal(size=n)})
    train, test = table.rows(np.arange(150)), table.rows(np.arange(150, n))
    prepare = Preprocessor().fit(train)
    median = np.nanmedian(values[:150])
    filled = np.where(np.isnan(values), median, values)
    found = prepare(test)
    assert found.dtype == np.float32 and prepare.features == ["x", "x missing", "c=p", "c=q", "c=r", "y"]
    want = (filled[150:] - filled[:150].mean()) / filled[:150].std()
    assert np.allclose(found[:, 0], want, atol=1e-5) and np.array_equal(found[:, 1], np.isnan(values[150:]))
    assert np.array_equal(found[:, 2:5], test["c"][:, None] == ["p", "q", "r"])
    again = Preprocessor().fit(train)(Table({"y": test["y"], "c": test["c"], "x": test["x"]}))
    assert np.array_equal(found, again), "the order of columns is that of the training rows"


@needs("sklearn")
def test_quantiles_as_scikit_learn_computes_them():
    from sklearn.preprocessing import QuantileTransformer

    x = np.exp(rng.normal(size=1001))
    found = Preprocessor(scale="quantile").fit(Table({"x": x}))(Table({"x": x}))[:, 0]
    want = QuantileTransformer(n_quantiles=1001, output_distribution="normal").fit_transform(x[:, None])[:, 0]
    middle = abs(want) < 3
    assert np.allclose(found[middle], want[middle], atol=0.02) and abs(found).max() < 3.2
    tied = np.r_[np.zeros(700), rng.random(300) + 1]
    place = Preprocessor(scale="quantile").fit(Table({"x": tied}))(Table({"x": [0.0, 9.0]}))[:, 0]
    assert place == pytest.approx([-0.3853, 3.0902], abs=0.01)  # the middle of the lower 70 %, and the top


def test_what_training_rows_never_had():
    train = Table({"x": [1.0, 2.0], "c": ["p", "q"]})
    strict, lenient = Preprocessor().fit(train), Preprocessor(unseen="ignore").fit(train)
    with pytest.raises(ValueError, match="names of 'c' out of p, q, got new; unseen='ignore'"):
        strict(Table({"x": [1.0], "c": ["new"]}))
    with pytest.raises(ValueError, match="no missing number in 'x'.* got 1"):
        strict(Table({"x": [np.nan], "c": ["p"]}))
    assert lenient(Table({"x": [np.nan], "c": ["new"]})).tolist() == [[0, 0, 0]]
    for other, message in ((Table({"x": [1.0]}), "the columns x, c, got x"), (
        Table({"x": ["1"], "c": ["p"]}), "expected numbers in 'x'")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            strict(other)
    with pytest.raises(ValueError, match="fit to be called first"):
        Preprocessor()(train)
    with pytest.raises(ValueError, match="scale standard, quantile or None"):
        Preprocessor("minmax")
    with pytest.raises(ValueError, match="at most 3 different names in 'k', got 4 in 4 rows"):
        Preprocessor(max_names=3).fit(Table({"k": list("abcd")}))
    with pytest.raises(ValueError, match="finite numbers in 'x', got 0 of 2"):
        Preprocessor().fit(Table({"x": [np.nan, np.nan]}))
    assert Preprocessor(None).fit(train)(train)[:, 0].tolist() == [1, 2]
    for n in range(2, 12):  # of some of which the mean is rounded
        for value in (4.0, 0.1, 0.3, 123456.7):
            constant = Table({"x": [value] * n})
            assert not Preprocessor().fit(constant)(constant).any()
    with pytest.raises(ValueError, match="finite numbers in 'x', got 1 infinite"):
        strict(Table({"x": [np.inf], "c": ["p"]}))


# ---- the report


def sound_table(n=400):
    """A table with nothing to find."""
    x, z = rng.normal(size=n), rng.uniform(size=n)
    return {"x": x, "z": z, "c": rng.choice(["p", "q"], n), "y": x + rng.normal(size=n)}


def test_a_sound_table_has_no_findings():
    for _ in range(3):
        assert data_report(Table(sound_table()), "y", outliers=6).findings == []


SPOILED = {
    "missing values": lambda t: t | {"x": np.where(np.arange(400) < 7, np.nan, t["x"])},
    "infinite numbers": lambda t: t | {"z": np.where(np.arange(400) == 5, np.inf, t["z"])},
    "constant column": lambda t: t | {"k": np.full(400, 3.0)},
    "duplicate columns": lambda t: t | {"again": t["z"]},
    "duplicate rows": lambda t: {name: np.where(np.arange(400) == 9, v[3], v) for name, v in t.items()},
    "many names": lambda t: t | {"key": [f"row {i}" for i in range(400)]},
    "outliers": lambda t: t | {"z": np.where(np.arange(400) == 5, 1e3, t["z"])},
    "capped values": lambda t: t | {"z": np.minimum(t["z"], 0.9)},
    "leak": lambda t: t | {"price with tax": 3 * t["y"] + 1},
}


@pytest.mark.parametrize("kind", SPOILED)
def test_each_weakness_is_found(kind):
    report = data_report(Table(SPOILED[kind](sound_table())), "y", outliers=6)
    assert kinds(report) == [kind], report
    assert len(report.of(kind)) == 1 and kind in str(report)


def test_tables_with_little_in_them():
    empty = Table({"x": np.zeros(0), "c": np.zeros(0, "U1")})
    assert kinds(data_report(empty, "c")) == ["constant column"] == kinds(data_report(empty, "x"))
    assert kinds(data_report(Table({"x": [np.nan, np.nan], "y": [1.0, 2.0]}), "x")) == [
        "constant column", "duplicate rows", "missing values"][::2]  # fmt: skip


def test_findings_say_where_and_how_much():
    table = Table(SPOILED["missing values"](sound_table()))
    (finding,) = data_report(table, outliers=6).findings
    assert finding.columns == ("x",) and finding.rows == 7 and finding.text == "7 of 400 rows (1.8 %)"


def test_classes_that_are_rare_and_columns_that_tell_them():
    table = sound_table() | {"class": np.where(np.arange(400) % 40 == 0, "fraud", "fine")}
    assert kinds(data_report(Table(table), "class", outliers=6)) == ["class imbalance"]
    label = rng.integers(0, 3, 400)
    for told in (label * 10.0 + rng.random(400), np.array(["a", "b", "c"])[label]):
        report = data_report(Table(sound_table() | {"told": told, "label": label}), "label", outliers=6)
        assert [(f.kind, f.columns) for f in report.findings] == [("leak", ("told",))]


def test_rows_to_test_on_that_were_trained_on():
    table = Table(sound_table())
    train, test = table.rows(np.arange(300)), table.rows(np.arange(295, 400))
    (finding,) = data_report(train, "y", test, outliers=6).findings
    assert finding.kind == "leak" and finding.rows == 5
    with pytest.raises(ValueError, match="test rows with the columns"):
        data_report(train, "y", test.without("x"))
    with pytest.raises(KeyError, match="expected one of"):
        data_report(train, "no such")


# ---- the sets


def test_sets_from_tiny_files(tmp_path):
    (tmp_path / "housing.csv").write_text("median_house_value,ocean_proximity,total_bedrooms\n5,INLAND,\n7,ISLAND,2\n")
    assert len(california_housing(tmp_path)) == 2
    (tmp_path / "iris.csv").write_text("5.1,3.5,1.4,0.2,Iris-setosa\n")
    assert iris(tmp_path)["species"].tolist() == ["Iris-setosa"]
    grade = ",".join(["1"] * 11)
    (tmp_path / "winequality-red.csv").write_text(f"{grade},5\n")
    head = ";".join(["fixed acidity", *WINE[1:]])  # as the original files have it
    rows = f"{grade},6\n{grade},7\n".replace(",", ";")
    (tmp_path / "winequality-white.csv").write_text(f"{head}\n{rows}")
    wines = wine_quality(tmp_path)
    assert wines["quality"].tolist() == [5, 6, 7] and wines["colour"].tolist() == ["red", "white", "white"]
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n9,40,3.5,70\n2,40,1,50\n9,7,5,60\n")
    (tmp_path / "movies.csv").write_text('movieId,title,genres\n40,"A, The (1999)",Drama|War\n7,B,Comedy\n8,C,X\n')
    films = movielens(tmp_path)
    assert (
        films.users.tolist() == [1, 0, 1]
        and films.films.tolist() == [1, 1, 0]
        and films.titles == ["B", "A, The (1999)"]
    )
    assert films.genre_names == ["Comedy", "Drama", "War"] and films.genres.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert films.ratings.tolist() == [3.5, 1, 5] and films.times.tolist() == [70, 50, 60]


@pytest.mark.parametrize(
    "ratings, message",
    [("userId,movieId,rating\n1,1,3\n", "expected the columns .* timestamp"), ("1,1,6,5", "ratings from 0.5 to 5"),
     ("1,2,3,5", "every rated film"), ("1.5,1,3,5", "whole numbers"), (",1,3,5", "whole numbers")],
)  # fmt: skip
def test_ratings_that_do_not_fit(ratings, message, tmp_path):
    head = "" if "userId" in ratings else "userId,movieId,rating,timestamp\n"
    (tmp_path / "ratings.csv").write_text(head + ratings + "\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,A,Drama\n")
    with pytest.raises(ValueError, match=message):
        movielens(tmp_path)


@pytest.mark.parametrize(
    "load, file",
    [(california_housing, "california-housing.csv.gz"), (iris, "iris.csv"),
     (wine_quality, "winequality-red.csv"), (movielens, "ratings.csv.gz")],
)  # fmt: skip
def test_sets_that_are_nowhere(load, file, tmp_path, monkeypatch):
    monkeypatch.delenv("WEFT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(MissingDataError, match=f"{file}.*Get them from https://"):
        load(tmp_path)


@needs("data/tabular", "data/movielens")
def test_the_real_sets():
    houses = california_housing(DATA)
    assert len(houses) == 20640 and np.isnan(houses["total_bedrooms"]).sum() == 207
    found = {(f.kind, f.columns) for f in data_report(houses, "median_house_value").findings}
    assert {("missing values", ("total_bedrooms",)), ("capped values", ("median_house_value",))} <= found
    wines = wine_quality(DATA)
    assert len(wines) == 6497 and np.bincount(wines["quality"].astype(int)).tolist()[3:] == [
        30,
        216,
        2138,
        2836,
        1079,
        193,
        5,
    ]
    assert np.unique(iris(DATA)["species"], return_counts=True)[1].tolist() == [50, 50, 50]
    films = movielens(DATA)
    assert len(films.ratings) == 100836 and len(films.titles) == 9724 and films.users.max() == 609
    assert films.titles[0] == "Toy Story (1995)" and films.genres.shape == (9724, 19)
