"""Texts that Weft knows by name: sentences with their sentiment, messages that are spam or not, first names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weft.data.catalog import locate

Array = np.ndarray[Any, Any]


class LabelledTexts(NamedTuple):
    """Texts and the class of each: `labels` int64 (N,), an index of `classes`.

    >>> texts, labels, classes = weft.data.sms_spam()                                       # doctest: +SKIP
    """

    texts: list[str]
    labels: Array
    classes: list[str]

    def select(self, indices: Any) -> LabelledTexts:
        """The texts at `indices` (n,), in that order.

        >>> import numpy as np
        >>> LabelledTexts(["bad", "good"], np.array([0, 1]), ["negative", "positive"]).select([1]).texts
        ['good']
        """
        return LabelledTexts([self.texts[i] for i in indices], self.labels[np.asarray(indices)], self.classes)


class Splits(NamedTuple):
    """A data set whose authors fixed what to train on, to choose by, and to test with.

    >>> train, validation, test = weft.data.sst2()                                          # doctest: +SKIP
    """

    train: LabelledTexts
    validation: LabelledTexts
    test: LabelledTexts


def sst2(data: Path | str | None = None) -> Splits:
    """SST-2: 6,920, 872 and 1,821 sentences of film reviews, words and marks apart by spaces; 0 negative, 1 positive.

    data: the folder to look in first; then `WEFT_DATA` and the cache folder are searched. MissingDataError if they have
    none. Source: Socher et al., "Recursive deep models for semantic compositionality over a sentiment treebank" (2013).

    >>> train, validation, test = weft.data.sst2()                                          # doctest: +SKIP
    """
    files = [[f"sst2-{part}.tsv", f"{part}.tsv"] for part in ("train", "dev", "test")]
    paths = locate("sst2", ["text", "SST2"], files, data)
    return Splits(*(read_labelled(path, ["negative", "positive"], label_first=False, codes="01") for path in paths))


def sms_spam(data: Path | str | None = None, *, duplicates: bool = False) -> LabelledTexts:
    """The SMS Spam Collection: 5,574 messages, 747 of them spam; 0 ham, 1 spam. Otherwise as `sst2`.

    duplicates: keep messages that come more than once; by default the first of each is kept, 5,171, since a message on
    both sides of a split is no test. Source: Almeida, Gomez Hidalgo and Yamakami (2011).

    >>> texts, labels, classes = weft.data.sms_spam()                                       # doctest: +SKIP
    """
    (path,) = locate("sms", ["text", "sms"], [["SMSSpamCollection.tsv", "SMSSpamCollection"]], data)
    messages = read_labelled(path, ["ham", "spam"], label_first=True)
    if duplicates:
        return messages
    first = {text: i for i, text in reversed(list(enumerate(messages.texts)))}
    return messages.select(sorted(first.values()))


def first_names(data: Path | str | None = None, *, duplicates: bool = False) -> list[str]:
    """29,494 first names in lower case, the most frequent first. Otherwise as `sst2`.

    duplicates: keep the 2,539 that come again, since both girls and boys have them; by default the first of each is
    kept, since a name on both sides of a split is no test.
    Source: https://github.com/karpathy/makemore, from the United States' Social Security Administration.

    >>> weft.data.first_names()[:3]                                                         # doctest: +SKIP
    ['emma', 'olivia', 'ava']
    """
    (path,) = locate("names", ["text", "names"], [["names.txt"]], data)
    names = [line.strip() for line in read_lines(path)]
    return names if duplicates else list(dict.fromkeys(names))


def read_labelled(
    path: Path | str, classes: Sequence[str], *, label_first: bool, codes: Sequence[str] | None = None
) -> LabelledTexts:
    r"""A UTF-8 file with a text, a tab and its label on each line, or first the label.

    codes: how the file writes each of `classes`, by default as they are called. ValueError names the line that is not
    so.

    >>> read_labelled("reviews.tsv", ["bad", "good"], label_first=False)                    # doctest: +SKIP
    """
    codes = list(classes if codes is None else codes)
    texts, labels = [], []
    for number, line in enumerate(read_lines(Path(path)), 1):
        parts = line.partition("\t") if label_first else line.rpartition("\t")
        code, text = (parts[0], parts[2]) if label_first else (parts[2], parts[0])
        if not parts[1] or code not in codes:
            raise ValueError(f"read_labelled: expected a text, a tab and one of {', '.join(codes)} in line {number} of "
                             f"{path}, got {line[:60]!r}")  # fmt: skip
        texts.append(text)
        labels.append(codes.index(code))
    return LabelledTexts(texts, np.array(labels, np.int64), list(classes))


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file that hold something; ValueError if there is none or it is not UTF-8."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"read_lines: expected UTF-8 in {path}, got {error.reason} at byte {error.start}") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]  # a text may hold other ends of lines
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"read_lines: expected lines of text in {path}, got none")
    return lines
