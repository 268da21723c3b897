"""Text as the tokens of GPT-2 and its like: pieces of words, found by merging pairs of bytes in a learned order."""

from __future__ import annotations

import functools
import heapq
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from weft.io.header import HeaderError, read_object

Array = np.ndarray[Any, Any]
NormalForm = Literal["NFC", "NFD", "NFKC", "NFKD"]
LIMIT = 64_000_000  # bytes of a file; read as JSON, it takes several times as much memory
JSON = "tokenizer.json"
FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
END = "<|endoftext|>"
REMEMBERED = 1 << 16  # pieces of text whose tokens are kept

# Letters (L) and numbers (N) of Unicode 15.0 to 16.0, which the tables of an older Python do not have yet.
LATER = {
    "L": "1c89-1c8a a7cb-a7cd a7da-a7dc 105c0-105f3 10d4a-10d65 10d6f-10d85 10ec2-10ec4 1123f-11240 11380-11389 "
         "1138b 1138e 11390-113b5 113b7 113d1 113d3 11bc0-11be0 11f02 11f04-11f10 11f12-11f33 1342f 13441-13446 "
         "13460-143fa 16100-1611d 16d40-16d6c 18cff 1b132 1b155 1df25-1df2a 1e030-1e06d 1e4d0-1e4eb 1e5d0-1e5ed "
         "1e5f0 2b739 2ebf0-2ee5d 31350-323af",
    "N": "10d40-10d49 116d0-116e3 11bf0-11bf9 11f50-11f59 16130-16139 16d70-16d79 1ccf0-1ccf9 1d2c0-1d2d3 "
         "1e4f0-1e4f9 1e5f1-1e5fa",
}  # fmt: skip
SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # the property White_Space


# Rules for cutting text, in which L, N and S stand for letters, numbers and spaces: endings such as 's, words, numbers
# and signs with a space before, spaces. Those of Llama 3 and Qwen 2 keep lines apart and take a sign with a word.
LATE = r"(?i:'(?:[stmd]|re|ve|ll))|[^\r\n<L><N>]?[<L>]+|{}| ?[^<S><L><N>]+[\r\n]*|[<S>]*[\r\n]+|[<S>]+(?![^<S>])|[<S>]+"
CUTS = {
    "gpt2": r"'(?:[stmd]|re|ve|ll)| ?[<L>]+| ?[<N>]+| ?[^<S><L><N>]+|[<S>]+(?![^<S>])|[<S>]+",
    "llama3": LATE.replace("{}", "[<N>]{1,3}"),
    "qwen2": LATE.replace("{}", "[<N>]"),
}


class Rules(NamedTuple):
    """How a text is prepared and cut before pairs are merged. The defaults are GPT-2's."""

    cut: str = "gpt2"  # a name in CUTS
    prefix_space: bool = False  # a space comes before a text that begins with none
    normal_form: NormalForm | None = None  # of Unicode
    whole: bool = False  # a piece that is a token is that token, whatever the merges make of it
    always: tuple[str, ...] = ()  # tokens that stand for themselves in any text


GPT2 = Rules()


@functools.cache
def pieces(cut: str) -> re.Pattern[str]:
    """The rule of CUTS, compiled."""
    classes = {"L": category("L"), "N": category("N"), "S": SPACE}
    return re.compile(re.sub("<([LNS])>", lambda name: classes[name[1]], CUTS[cut]))


@functools.cache
def category(kind: str) -> str:
    """The characters of a kind, "L" or "N", as ranges for a regular expression."""
    points = [point for point in range(0x110000) if unicodedata.category(chr(point))[0] == kind]
    for span in LATER[kind].split():
        first, _, last = span.partition("-")
        points += range(int(first, 16), int(last or first, 16) + 1)
    found = np.unique(points)
    ends = np.flatnonzero(np.diff(found) > 1)
    firsts, lasts = found[np.r_[0, ends + 1]], found[np.r_[ends, len(found) - 1]]
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in zip(firsts.tolist(), lasts.tolist()))


@functools.cache
def alphabet() -> tuple[str, ...]:
    """The character that stands for each byte in GPT-2's files: itself where it can be seen, else one above 255."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in seen else next(others)) for byte in range(256))


class BPETokenizer:
    """Text to tokens and back, byte-pair encoding over UTF-8 as GPT-2 does it: any text, nothing unknown.

    vocabulary: text of a token (in GPT-2's alphabet of bytes) -> its number. merges: pairs in the order in which they
    were learned. special: tokens that stand for themselves. rules: how text is cut. ValueError names an entry that does
    not fit. Sennrich, Haddow, Birch, "Neural machine translation of rare words with subword units" (2016); Radford et
    al. (2019).

    >>> tokenizer = BPETokenizer.from_folder("gpt2")                                        # doctest: +SKIP
    >>> tokenizer.encode("Hello world").tolist()                                            # doctest: +SKIP
    [15496, 995]
    """

    def __init__(
        self, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], special: Sequence[str] = (),
        rules: Rules = GPT2,
    ):  # fmt: skip
        for token, number in vocabulary.items():
            if type(number) is not int or not 0 <= number < 2**31:
                raise ValueError(f"BPETokenizer: expected numbers from 0 to 2**31 - 1, got {number!r} for {token!r}")
        if len(set(vocabulary.values())) < len(vocabulary):
            raise ValueError("BPETokenizer: expected a number of its own for each token, got one twice")
        for token in (*alphabet(), *special, *rules.always):
            if token not in vocabulary:
                raise ValueError(
                    f"BPETokenizer: expected every byte and special token in the vocabulary, not {token!r}"
                )
        self.ranks: dict[tuple[str, str], int] = {}
        for rank, (a, b) in enumerate(merges):
            if a not in vocabulary or b not in vocabulary or a + b not in vocabulary:
                raise ValueError(f"BPETokenizer: expected merges of tokens into a token, got {a!r} and {b!r}")
            if (a, b) in self.ranks:
                raise ValueError(f"BPETokenizer: expected each pair once in the merges, got {a!r} and {b!r} twice")
            self.ranks[a, b] = rank
        self.vocabulary = dict(vocabulary)
        self.special, self.rules, self.named = tuple(special), rules, frozenset([*special, *rules.always])
        byte_of = {character: byte for byte, character in enumerate(alphabet())}
        self.bytes = {
            number: bytes(byte_of[c] for c in token)
            if token not in self.named and all(c in byte_of for c in token)
            else token.encode("utf-8", "surrogatepass")
            for token, number in vocabulary.items()
        }
        self.seen: dict[str, list[int]] = {}

    @classmethod
    def from_folder(cls, folder: Path | str, special: Sequence[str] | None = None) -> BPETokenizer:
        """The tokenizer in a folder with tokenizer.json, vocab.json and merges.txt, or GPT-2's encoder.json, vocab.bpe.

        The first that is there counts: tokenizer.json, which alone says how text is cut, is read by `from_json`; the
        others are GPT-2's rule. special: by default <|endoftext|> where the vocabulary has it; tokenizer.json names its
        own. ValueError names the files and what is wrong in them; FileNotFoundError if there are none.
        """
        folder = Path(folder)
        if (folder / JSON).is_file():
            if special is not None:
                raise ValueError(f"BPETokenizer: expected no special= beside {folder / JSON}, which names them")
            return cls.from_json(folder / JSON)
        for vocabulary, merges in FILES:
            if (folder / vocabulary).is_file() and (folder / merges).is_file():
                return cls.from_files(folder / vocabulary, folder / merges, special)
        wanted = " or ".join(f"{vocabulary} and {merges}" for vocabulary, merges in FILES)
        raise FileNotFoundError(f"BPETokenizer: expected {JSON}, {wanted} in {folder}, got none")

    @classmethod
    def from_json(cls, path: Path | str) -> BPETokenizer:
        """The tokenizer of a Hugging Face tokenizer.json of byte-level encodings, as of GPT-2, Llama 3, Qwen 2.

        What such a file has beside it (a token of the beginning, truncation, padding) is left to the caller. ValueError
        for a file that is wrong, or of another kind of tokenizer.
        """
        from weft.data.tokenizer_json import read_tokenizer

        return read_tokenizer(Path(path))

    @classmethod
    def from_files(
        cls, vocabulary: Path | str, merges: Path | str, special: Sequence[str] | None = None
    ) -> BPETokenizer:  # fmt: skip
        """The tokenizer of a JSON object of tokens and a text of merges, a pair in each line; see `from_folder`."""
        vocabulary, merges = Path(vocabulary), Path(merges)
        try:
            words = read_object(vocabulary, LIMIT)
        except HeaderError as error:
            raise ValueError(f"{vocabulary}: {error}") from None
        pairs = read_merges(merges)
        if special is None:
            special = (END,) if END in words else ()
        try:
            return cls(words, pairs, special)
        except ValueError as error:
            raise ValueError(f"{vocabulary}, {merges.name}: {error}") from None

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str, *, special: bool = False) -> Array:
        """The tokens of a text, int64 (n,).

        special: special tokens written out in the text, such as <|endoftext|>, become those tokens; by default they are
        text like any other, since text may come from anywhere. ValueError where half a surrogate pair stands alone,
        which UTF-8 cannot hold.
        """
        tokens: list[int] = []
        named = (*self.rules.always, *(self.special if special else ()))
        if named:
            names = "|".join(re.escape(name) for name in sorted(named, key=len, reverse=True))
            for i, part in enumerate(re.split(f"({names})", text)):
                if i % 2:
                    tokens.append(self.vocabulary[part])
                else:
                    self.encode_plain(part, tokens)
        else:
            self.encode_plain(text, tokens)
        return np.array(tokens, np.int64)

    def encode_plain(self, text: str, tokens: list[int]) -> None:
        characters, rules = alphabet(), self.rules
        if rules.normal_form:
            text = unicodedata.normalize(rules.normal_form, text)
        if rules.prefix_space and text and not text.startswith(" "):
            text = " " + text
        for match in pieces(rules.cut).finditer(text):
            piece = match.group()
            known = self.seen.get(piece)
            if known is None:
                try:
                    data = piece.encode()
                except UnicodeEncodeError as error:
                    raise ValueError(f"BPETokenizer: expected text that UTF-8 can hold, got {piece[error.start]!r} "
                                     f"at {match.start() + error.start}") from None  # fmt: skip
                parts = [characters[byte] for byte in data]
                token = "".join(parts)
                whole = rules.whole and token in self.vocabulary and token not in self.named
                known = [self.vocabulary[token]] if whole else self.merge(parts)
                if len(self.seen) < REMEMBERED and len(piece) < 64:
                    self.seen[piece] = known
            tokens += known

    def merge(self, parts: list[str]) -> list[int]:
        """The tokens of a piece: while there are pairs that were learned, the first learned, leftmost, becomes one.

        A heap of pairs and a linked list of parts: n log n, also for a piece of a million letters.
        """
        before, after = list(range(-1, len(parts) - 1)), [*range(1, len(parts)), -1]
        queue: list[tuple[int, int, str, str]] = []

        def offer(left: int, right: int) -> None:
            rank = self.ranks.get((parts[left], parts[right]))
            if rank is not None:
                heapq.heappush(queue, (rank, left, parts[left], parts[right]))

        for left in range(len(parts) - 1):
            offer(left, left + 1)
        while queue:
            _, left, a, b = heapq.heappop(queue)
            right = after[left]
            if parts[left] != a or right < 0 or parts[right] != b:
                continue  # one of the two has been merged since
            parts[left], parts[right] = a + b, ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
                offer(left, after[right])
            if before[left] >= 0:
                offer(before[left], left)
        return [self.vocabulary[part] for part in parts if part]

    def decode(self, tokens: Any, *, errors: str = "replace") -> str:
        """The text of tokens, (n,) integers. errors: what becomes of bytes that are not UTF-8, as tokens cut at any
        place may leave: "replace" gives U+FFFD, "strict" UnicodeDecodeError. ValueError for an unknown token."""
        numbers = np.asarray(tokens.numpy() if hasattr(tokens, "numpy") else tokens)
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise ValueError(f"BPETokenizer: expected integers (n,), got {numbers.dtype} {numbers.shape}")
        try:
            return b"".join([self.bytes[number] for number in numbers.tolist()]).decode(errors=errors)
        except KeyError as error:
            raise ValueError(f"BPETokenizer: expected tokens of the vocabulary, got {error.args[0]}") from None


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The pairs in a text file, one in each line with a space between, after an optional line of "#version"."""
    size = os.stat(path).st_size
    if size > LIMIT:
        raise ValueError(f"{path}: expected at most {LIMIT} bytes of merges, got {size}")
    try:
        lines = path.read_bytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8, got {error.reason} at byte {error.start}") from None
    pairs = []
    for number, line in enumerate(lines, 1):
        parts = line.removesuffix("\r").split(" ")
        if parts == [""] or (number == 1 and line.startswith("#version")):
            continue
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"{path}: expected two tokens in line {number}, got {line[:60]!r}")
        pairs.append((parts[0], parts[1]))
    return pairs
