"""The words of numbers that two examples translate."""

from __future__ import annotations

import numpy as np
import pytest

from weft.recipes.numerals import english, german

WORDS = {
    0: ("zero", "null"), 1: ("one", "eins"), 16: ("sixteen", "sechzehn"), 17: ("seventeen", "siebzehn"),
    18: ("eighteen", "achtzehn"), 21: ("twenty one", "einundzwanzig"), 30: ("thirty", "dreißig"),
    100: ("one hundred", "einhundert"), 101: ("one hundred and one", "einhunderteins"),
    407: ("four hundred and seven", "vierhundertsieben"), 1000: ("one thousand", "eintausend"),
    1012: ("one thousand and twelve", "eintausendzwölf"), 1100: ("one thousand one hundred", "eintausendeinhundert"),
    77_066: ("seventy seven thousand and sixty six", "siebenundsiebzigtausendsechsundsechzig"),
    101_000: ("one hundred and one thousand", "einhunderteintausend"),
    999_999: ("nine hundred and ninety nine thousand nine hundred and ninety nine",
              "neunhundertneunundneunzigtausendneunhundertneunundneunzig"),
}  # fmt: skip


@pytest.mark.parametrize("number", WORDS)
def test_words(number):
    assert (english(number), german(number)) == WORDS[number]


def test_each_number_has_words_of_its_own():
    numbers = range(20_000)
    assert len({english(n) for n in numbers}) == len({german(n) for n in numbers}) == len(numbers)
    assert english(np.int64(21_025)) == english(21_025)


@pytest.mark.parametrize("words", [english, german])
def test_out_of_range(words):
    for number in (-1, 1_000_000):
        with pytest.raises(ValueError, match=f"{words.__name__}: expected a number from 0 to 999,999, got {number}"):
            words(number)
