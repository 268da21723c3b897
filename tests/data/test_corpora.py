"""Texts and time series by name: the real files, files made by hand, and files that are not as they should be."""

from __future__ import annotations

import numpy as np
import pytest

from policy import DATA, needs
from weft.data import (
    LabelledTexts,
    MissingDataError,
    WordVocabulary,
    airline_passengers,
    batches_by_length,
    daily_temperatures,
    download,
    first_names,
    read_labelled,
    read_series,
    sms_spam,
    split_words,
    sst2,
    sunspots,
)
from weft.random import Generator

SETS = {"sst2": (sst2, "sst2-train.tsv"), "sms": (sms_spam, "SMSSpamCollection.tsv"),
        "names": (first_names, "names.txt"), "temperatures": (daily_temperatures, "daily-min-temperatures.csv"),
        "passengers": (airline_passengers, "airline-passengers.csv"),
        "sunspots": (sunspots, "monthly-sunspots.csv")}  # fmt: skip


# ---- real data


@needs("data/text")
def test_sst2():
    parts = sst2(DATA)
    assert [len(part.texts) for part in parts] == [6920, 872, 1821]
    assert parts.train.texts[1].startswith("apparently reassembled") and parts.train.labels[:2].tolist() == [1, 0]
    assert [int(part.labels.sum()) for part in parts] == [3610, 444, 909]


@needs("data/text")
def test_sms_without_duplicates():
    all_of_them, messages = sms_spam(DATA, duplicates=True), sms_spam(DATA)
    assert len(all_of_them.texts) == 5574 and all_of_them.labels.sum() == 747
    assert len(messages.texts) == len(set(messages.texts)) == len(set(all_of_them.texts)) == 5171
    assert messages.texts[0] == all_of_them.texts[0] and messages.classes[messages.labels[2]] == "spam"
    assert list(dict.fromkeys(all_of_them.texts)) == messages.texts, "the first of each, in order"


@needs("data/text")
def test_names_without_duplicates():
    all_of_them, names = first_names(DATA, duplicates=True), first_names(DATA)
    assert len(all_of_them) == 32033 and names[:3] == ["emma", "olivia", "ava"]
    assert len(names) == len(set(names)) == 29494
    assert list(dict.fromkeys(all_of_them)) == names, "the first of each, in order"
    assert set("".join(names)) <= set(map(chr, range(97, 123)))


@needs("data/timeseries")
def test_series():
    days, months = daily_temperatures(DATA), airline_passengers(DATA)
    assert len(days.values) == 3650 and days.times[0] == np.datetime64("1981-01-01") and days.unit == "°C"
    assert months.values[:2].tolist() == [112, 118] and str(months.times[-1]) == "1960-12" and len(months.times) == 144
    assert sunspots(DATA).values.shape == (2820,) and sunspots(DATA).times.dtype == "datetime64[M]"


@needs("data/text", "data/timeseries")
@pytest.mark.parametrize("name", SETS)
def test_pins_are_those_of_the_real_files(name):
    for pinned in download.SOURCES[name]:
        path = DATA / pinned.path
        assert path.stat().st_size == pinned.size and download.digest(path) == pinned.sha256


# ---- what is missing or wrong


@pytest.mark.parametrize("name", SETS)
def test_what_is_missing(name, tmp_path, monkeypatch):
    monkeypatch.delenv("WEFT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load, file = SETS[name]
    with pytest.raises(MissingDataError, match=f"expected the files {file}.*weft data get {name}"):
        load()
    assert any(source.path.endswith(file) for source in download.SOURCES[name])


def test_labelled_lines(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes("good\tfilm\t1\r\n\nschl\u00e4cht\u2028er\t0\n".encode())
    texts, labels, classes = read_labelled(path, ["no", "yes"], label_first=False, codes="01")
    assert texts == ["good\tfilm", "schlächt\u2028er"] and labels.tolist() == [1, 0] and labels.dtype == np.int64
    path.write_text("yes\tmy\ttext\n")
    assert read_labelled(path, ["no", "yes"], label_first=True) == (["my\ttext"], [1], ["no", "yes"])
    for content, match in (("fine\t1\nbad\t2\n", "0, 1 in line 2 .*'bad.*2'"), ("none", "line 1"), ("\n", "got none")):
        path.write_text(content)
        with pytest.raises(ValueError, match=match):
            read_labelled(path, ["no", "yes"], label_first=False, codes="01")
    path.write_bytes(b"\xff\t1\n")
    with pytest.raises(ValueError, match="UTF-8"):
        read_labelled(path, ["no", "yes"], label_first=False, codes="01")


def test_select():
    texts = LabelledTexts(["a", "b", "c"], np.array([0, 1, 0]), ["x", "y"])
    assert texts.select([2, 1]).texts == ["c", "b"] and texts.select([2, 1]).labels.tolist() == [0, 1]


def test_series_of_a_file(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text('"Day","V"\n"2020-01-31",1.5\n"2020-02-01",-2\n\n')
    times, values = read_series(path)
    assert times.dtype == "datetime64[D]" and values.tolist() == [1.5, -2.0] and times[1] - times[0] == 1
    rows = {"2020-01-01,x": "row 2", "2020-01-01": "row 2", "2020-01-01,nan": "finite", "2020-13-01,1": "a date",
            "2020-01-01,1\n2020-01-01,2": "row 3", "": "got none", ",1": "row 2",
            "2020-01-01,1_0": "row 2"}  # fmt: skip
    for row, match in rows.items():
        path.write_text(f"Day,V\n{row}\n")
        with pytest.raises(ValueError, match=match):
            read_series(path)


# ---- words


def test_words_of_a_text():
    assert split_words("Don\u2019t e-mail 3.50\u00a3, se\u00f1or_x!") == [
        "don\u2019t", "e", "-", "mail", "3", ".", "50", "\u00a3", ",", "se\u00f1or", "_", "x", "!"]  # fmt: skip
    assert split_words("  ") == []


def test_vocabulary():
    vocabulary = WordVocabulary(["b a b", "c a b"], split=str.split)
    assert vocabulary.words == ["<pad>", "<unk>", "b", "a", "c"] and len(vocabulary) == 5
    assert vocabulary.encode("c d").tolist() == [4, 1] and vocabulary.encode("").shape == (0,)
    assert vocabulary.encode("<pad>").tolist() == [1], "a text cannot ask for padding"
    assert vocabulary.decode([2, 0, 1]) == "b <unk>"
    batch = vocabulary.batch(["a", "b c a"], length=2)
    assert batch.tolist() == [[3, 0], [2, 4]] and batch.dtype == np.int64
    assert vocabulary.batch([]).shape == (0, 0)
    assert WordVocabulary(["b a b", "c a b"], min_count=2).words[2:] == ["b", "a"]
    assert WordVocabulary(["b a b", "c a b"], max_size=3).words[2:] == ["b"]


def test_vocabulary_refuses():
    with pytest.raises(TypeError, match="got one text"):
        WordVocabulary("a text")
    with pytest.raises(ValueError, match="2 times, got none"):
        WordVocabulary(["a b"], min_count=2)
    for wrong in ({"min_count": 0}, {"max_size": 2}):
        with pytest.raises(ValueError, match="min_count >= 1 and max_size >= 3"):
            WordVocabulary(["a"], **wrong)
    for wrong in ([-1], [3]):
        with pytest.raises(ValueError, match=r"tokens in \[0, 3\)"):
            WordVocabulary(["a"]).decode(wrong)


@pytest.mark.parametrize("count,size,spread", [(1000, 8, 16), (37, 5, 3), (4, 9, 1), (0, 2, 2)])
def test_batches_of_one_length(count, size, spread):
    lengths = np.random.default_rng().integers(1, 40, count)
    batches = batches_by_length(lengths, size, Generator(3), spread)
    assert sorted(np.concatenate([*batches, np.zeros(0, int)])) == list(range(count)), "each sequence once"
    assert all(0 < len(batch) <= size for batch in batches)
    if count == 1000:
        padding = sum((lengths[batch].max() - lengths[batch]).sum() for batch in batches)
        assert padding < 0.15 * lengths.sum()
        again, other = (batches_by_length(lengths, size, Generator(seed), spread) for seed in (3, 4))
        assert all(map(np.array_equal, batches, again)) and not all(map(np.array_equal, batches, other))
    with pytest.raises(ValueError, match="size and spread of at least 1"):
        batches_by_length(lengths, 0, Generator(0))
