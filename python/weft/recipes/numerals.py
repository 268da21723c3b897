"""Whole numbers in English and German words: something to translate, of which each has one right translation."""

from __future__ import annotations

ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
GERMAN = "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split()
GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def english(number: int) -> str:
    """A number from 0 to 999,999 in English, its words apart; ValueError for another.

    >>> english(16_407), english(90_021)
    ('sixteen thousand four hundred and seven', 'ninety thousand and twenty one')
    """
    check("english", number)
    thousands, hundreds, rest = number // 1000, number // 100 % 10, number % 100
    parts = [english(thousands), "thousand"] if thousands else []
    parts += [ENGLISH[hundreds], "hundred"] if hundreds else []
    if rest and parts:
        parts.append("and")
    if rest >= 20:
        parts.append(ENGLISH_TENS[rest // 10 - 2])
        parts += [ENGLISH[rest % 10]] if rest % 10 else []
    elif rest or not parts:
        parts.append(ENGLISH[rest])
    return " ".join(parts)


def german(number: int, alone: bool = True) -> str:
    """A number from 0 to 999,999 in German, which writes it as one word with the ones before the tens.

    alone: nothing is counted by it, so that a one at its end is "eins". ValueError for a number out of range.

    >>> german(427), german(21_001)
    ('vierhundertsiebenundzwanzig', 'einundzwanzigtausendeins')
    """
    check("german", number)
    thousands, hundreds, rest = number // 1000, number // 100 % 10, number % 100
    word = f"{german(thousands, False)}tausend" if thousands else ""
    word += f"{GERMAN[hundreds]}hundert" if hundreds else ""
    if rest >= 20:
        return word + (f"{GERMAN[rest % 10]}und" if rest % 10 else "") + GERMAN_TENS[rest // 10 - 2]
    if rest > 12:
        return word + {16: "sech", 17: "sieb"}.get(rest, GERMAN[rest - 10]) + "zehn"
    if rest == 1 and alone:
        return word + "eins"
    return word + GERMAN[rest] if rest or not word else word


def check(name: str, number: int) -> None:
    if not 0 <= number < 1_000_000:
        raise ValueError(f"{name}: expected a number from 0 to 999,999, got {number}")
