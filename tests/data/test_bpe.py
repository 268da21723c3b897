"""GPT-2's tokens: those that the package `tokenizers` gives, for any text; files that are wrong are refused by name."""

from __future__ import annotations

import functools
import json
import random
import re
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from policy import DATA, needs
from weft.data import BPETokenizer, bpe, gpt2_tokenizer, read_text, tokenizer_json

GPT2 = DATA / "gpt2-bpe"


@pytest.fixture(scope="module")
def ours():
    return gpt2_tokenizer(DATA)


@pytest.fixture(scope="module")
def theirs():
    import tokenizers

    vocabulary, merges = str(GPT2 / "encoder.json"), str(GPT2 / "vocab.bpe")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(vocabulary, merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


def tiny():
    """The 256 bytes, four merges and an end."""
    characters = bpe.alphabet()
    words = [*characters, "th", "the", "\u0120the", "ll", "<|endoftext|>"]
    return {word: i for i, word in enumerate(words)}, [("t", "h"), ("th", "e"), ("\u0120", "the"), ("l", "l")]


def test_bytes_words_and_merges():
    tokenizer = BPETokenizer(*tiny(), special=["<|endoftext|>"])
    assert len(tokenizer) == 261
    assert tokenizer.encode("the the").tolist() == [257, 258]
    assert tokenizer.encode("lll").tolist() == [259, ord("l")]  # the leftmost pair
    assert tokenizer.encode("").tolist() == [] and tokenizer.decode([]) == ""
    assert tokenizer.encode("\u00e9").tolist() == list("\u00e9".encode())
    assert tokenizer.decode([0xC3, 0xA9, 257]) == "\u00e9the"
    assert tokenizer.decode(np.array([0xC3, 257], "i4")) == "\ufffdthe"
    with pytest.raises(UnicodeDecodeError):
        tokenizer.decode([0xC3], errors="strict")
    with pytest.raises(ValueError, match="got 999"):
        tokenizer.decode([1, 999])
    with pytest.raises(ValueError, match=r"integers \(n,\)"):
        tokenizer.decode([[1, 2]])


def test_special_tokens_are_text_unless_they_are_asked_for():
    tokenizer = BPETokenizer(*tiny(), special=["<|endoftext|>"])
    text = "the<|endoftext|> the"
    assert 260 not in tokenizer.encode(text)
    assert tokenizer.encode(text, special=True).tolist() == [257, 260, 258]
    for special in (False, True):
        assert tokenizer.decode(tokenizer.encode(text, special=special)) == text


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(ValueError, match=r"got '\\ud800' at 4"):
        BPETokenizer(*tiny()).encode("the \ud800")


def test_a_very_long_piece():
    tokenizer = BPETokenizer(*tiny())
    assert tokenizer.encode("l" * 100_001).tolist() == [259] * 50_000 + [ord("l")]


@pytest.mark.parametrize(
    "vocabulary, merges, message",
    [({"a": 300}, [], "number of its own"), ({"zz": "1"}, [], "numbers from 0"), ({"zz": -1}, [], "numbers from 0"),
     ({"zz": True}, [], "numbers from 0"), ({}, [("t", "x")], "'t' and 'x'"), ({}, [("t", "h")], "twice"),
     ({"\u0100": ...}, [], "every byte")],
)  # fmt: skip
def test_tables_that_do_not_fit(vocabulary, merges, message):
    words, pairs = tiny()
    words = {word: number for word, number in (words | vocabulary | {"b": 300}).items() if number is not ...}
    with pytest.raises(ValueError, match=message):
        BPETokenizer(words, pairs + merges)


def test_special_tokens_must_be_there():
    with pytest.raises(ValueError, match="'<mask>'"):
        BPETokenizer(*tiny(), special=["<mask>"])


@pytest.mark.parametrize("names", bpe.FILES)
def test_folders(tmp_path, names):
    words, pairs = tiny()
    (tmp_path / names[0]).write_text(json.dumps(words))
    with pytest.raises(FileNotFoundError, match="vocab.json and merges.txt or encoder.json and vocab.bpe"):
        BPETokenizer.from_folder(tmp_path)
    text = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in pairs)
    (tmp_path / names[1]).write_bytes(text.replace("\n", "\r\n").encode())
    tokenizer = BPETokenizer.from_folder(tmp_path)
    assert tokenizer.special == ("<|endoftext|>",) and tokenizer.encode(" the").tolist() == [258]

    def refused(name, content, message):
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            BPETokenizer.from_folder(tmp_path)
        assert name in str(caught.value)
        (tmp_path / name).write_bytes(good)

    refused(names[0], b'{"a": 1, "a": 2}', "'a' twice")
    refused(names[0], b"[1]", "JSON object")
    refused(names[0], b"{", "expected JSON")
    refused(names[0], b"\xff", "expected JSON")
    refused(names[1], b"t h e\n", "line 1")
    refused(names[1], b"\nt\n", "line 2")
    refused(names[1], b" t\n", "line 1")
    refused(names[1], b"\xff", "UTF-8")
    refused(names[1], b"q z\n", "'q' and 'z'")


@needs("data/gpt2-bpe")
def test_known_tokens(ours):
    assert len(ours) == 50_257 and ours.special == ("<|endoftext|>",)
    assert ours.encode("Hello world").tolist() == [15496, 995]
    assert ours.encode("<|endoftext|>", special=True).tolist() == [50256]


@needs("data/gpt2-bpe", "data/text/tinyshakespeare.txt", "tokenizers")
def test_a_play(ours, theirs):
    corpus = read_text(DATA / "text" / "tinyshakespeare.txt")
    text = corpus.vocabulary.decode(corpus.validation)
    tokens = ours.encode(text)
    assert tokens.tolist() == theirs.encode(text).ids and ours.decode(tokens) == text


def same(ours, theirs, text):
    tokens = ours.encode(text)
    assert tokens.tolist() == theirs.encode(text).ids, repr(text)
    assert ours.decode(tokens) == text
    for part in (tokens[1:], tokens[:-1], tokens[::-1]):  # cut within characters too
        assert ours.decode(part) == theirs.decode(part.tolist(), skip_special_tokens=False)


@needs("data/gpt2-bpe", "tokenizers")
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@example("I'll we've 'S 'LL  x'd\n\n \t\u3000 y  ")
@example("\u00b2\u2167\u0663 \u4e00\u5341 a\u0301 \x1c\x1d\x85\u200b\u2028\u180e")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text(ours, theirs, text):
    same(ours, theirs, text)


MIXED = [
    "the ", " and", "'s", "'ll", "n't", "\n", "\r\n", "  ", "\t", "\u00a0", "\u3000", "\u200b", "\x1c", "123", "\u00bd",
    "\u0661", "\u00e9", "\u0301", "\u0928\u093f", "\u4f60\u597d", "\U0001f469\u200d\U0001f680", "\U000323af", "\ufe0f",
    "_", "...", "(", "<|endoftext|>", "\x00", "\u2167", "\ud7a3", "\uffff", "\U0010ffff",
]  # fmt: skip
POINTS = [*range(0xD800), *range(0xE000, 0xE800)]


def fuzzed(rng):
    return "".join(
        rng.choice(MIXED) if rng.random() < 0.7 else chr(rng.choice(POINTS)) for _ in range(rng.randint(1, 30))
    )


@needs("data/gpt2-bpe", "tokenizers")
def test_mixed_text(ours, theirs):
    rng = random.Random(0)
    for _ in range(200):
        same(ours, theirs, fuzzed(rng))


@pytest.mark.slow
@needs("data/gpt2-bpe", "tokenizers")
def test_every_character_and_more_text(ours, theirs):
    for point in range(sys.maxunicode + 1):
        if not 0xD800 <= point < 0xE000:
            text = f"a{chr(point)}a 1{chr(point)}1 !{chr(point)}! {chr(point)}"
            assert ours.encode(text).tolist() == theirs.encode(text).ids, hex(point)
            ours.seen.clear()
    rng = random.Random(1)
    for _ in range(20_000):
        same(ours, theirs, fuzzed(rng))


# ---- tokenizer.json

LLAMA3, QWEN2 = (pattern for pattern, name in tokenizer_json.CUTS.items() if name != "gpt2")
WORDS = [
    "the", "theatre", "Weft's", "WE'LL", "don't", "'S", "1234567", "x\u00b2", "na\u00efve", "nai\u0308ve",
    "\u65e5\u672c", "\r\n", "\n\n ", "  ", "\t", "<|end|>", "<tool>", "<|end", "!?...\n", " (", "\u017f'\u017f",
    "\u00a0", "\u2003", "\U0001f642\U0001f3fd", "e\u0301",
]  # fmt: skip


def trained(pattern, *, form=None, prefix=False, whole=False):
    """A small tokenizer of the package `tokenizers`, as a file of its own would have it."""
    import tokenizers as tk

    made = tk.Tokenizer(tk.models.BPE(ignore_merges=whole))
    steps, level = tk.pre_tokenizers, tk.pre_tokenizers.ByteLevel
    made.pre_tokenizer = level(add_prefix_space=prefix) if pattern is None else steps.Sequence([
        steps.Split(tk.Regex(pattern), "isolated"), level(add_prefix_space=False, use_regex=False)])  # fmt: skip
    made.normalizer = form and getattr(tk.normalizers, form)()
    made.decoder = tk.decoders.ByteLevel()
    trainer = tk.trainers.BpeTrainer(vocab_size=420, initial_alphabet=level.alphabet(), show_progress=False)
    made.train_from_iterator([" ".join(WORDS), "the theatre, the theatre's 1234 1234!"] * 3, trainer)
    made.add_special_tokens(["<|end|>"])
    made.add_tokens([tk.AddedToken("<tool>", normalized=False)])
    return made


KINDS = {
    "gpt2": (None, {}),
    "gpt2 with a space": (None, {"prefix": True}),
    "llama3": (LLAMA3, {"whole": True}),
    "qwen2": (QWEN2, {"form": "NFC"}),
}


@needs("tokenizers")
@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_file_cuts_and_merges_as_its_makers_do(kind, tmp_path):
    pattern, options = KINDS[kind]
    theirs = trained(pattern, **options)
    theirs.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "vocab.json").write_text("not read")
    ours = BPETokenizer.from_folder(tmp_path)
    assert len(ours) == theirs.get_vocab_size()
    draw = random.Random(kind)
    points = [*range(0x250), 0x300, 0x301, 0x3C3, 0x5D0, 0x661, 0x2160, 0x3042, 0xAC00, 0x212A, 0x1F600, 0x17F, 0x2028]
    for _ in range(3000):
        many = range(draw.randrange(9))
        text = draw.choice(["", " "]).join(draw.choice([draw.choice(WORDS), chr(draw.choice(points))]) for _ in many)
        wanted = theirs.encode(text).ids
        assert ours.encode(text, special=True).tolist() == wanted, text
        assert ours.decode(wanted) == theirs.decode(wanted, skip_special_tokens=False)


@needs("tokenizers")
def test_named_tokens_of_a_file(tmp_path):
    trained(QWEN2).save(str(tmp_path / "tokenizer.json"))
    ours = BPETokenizer.from_json(tmp_path / "tokenizer.json")
    end, tool = ours.vocabulary["<|end|>"], ours.vocabulary["<tool>"]
    found = ours.encode("a<|end|>b<tool>").tolist()
    assert end not in found and found[-1] == tool  # what is special is text unless it is asked for
    assert ours.encode("a<|end|>", special=True)[-1] == end and ours.decode([end, tool]) == "<|end|><tool>"
    with pytest.raises(ValueError, match="expected no special= beside"):
        BPETokenizer.from_folder(tmp_path, special=["<|end|>"])


def changed(path, *keys):
    return lambda fields: functools.reduce(lambda at, key: at[key], path, fields).update(*keys)


WRONG = {
    "another model": (changed(["model"], {"type": "Unigram"}), "byte-pair encoding with type 'BPE', got 'Unigram'"),
    "bytes that fall back": (changed(["model"], {"byte_fallback": True}), "with byte_fallback None, got True"),
    "no vocabulary": (changed(["model"], {"vocab": None}), "expected 'vocab' as an object, got NoneType"),
    "merges of three": (changed(["model"], {"merges": ["a b c"]}), "expected merges of two tokens each, got 'a b c'"),
    "no merges": (changed(["model"], {"merges": None}), "expected merges of two tokens each, got None"),
    "another decoder": (changed([], {"decoder": {"type": "Metaspace"}}), "a ByteLevel decoder, got 'Metaspace'"),
    "other cuts": (changed([], {"pre_tokenizer": {"type": "Whitespace"}}), "got a pre_tokenizer .*Whitespace"),
    "lower case": (changed([], {"normalizer": {"type": "Lowercase"}}), "a normalizer of NFC, .* got 'Lowercase'"),
    "a token that strips": (changed(["added_tokens", 0], {"lstrip": True}), "got lstrip of '<.endoftext.>'"),
    "a token of two numbers": (changed(["added_tokens", 0], {"id": 7}), "number of their own, got '<.endoftext.>', 7"),
    "a list of numbers": (changed([], {"added_tokens": [1]}), "expected 'added_tokens' as a list of objects"),
}


@pytest.mark.parametrize("case", WRONG)
def test_tokenizer_files_of_another_kind_are_refused(case, tmp_path):
    words, pairs = tiny()
    fields = {
        "model": {"type": "BPE", "vocab": words, "merges": [list(pair) for pair in pairs]}, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, "decoder": {"type": "ByteLevel"},
        "added_tokens": [{"id": 260, "content": "<|endoftext|>", "special": True}],
    }  # fmt: skip
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(fields))
    assert BPETokenizer.from_json(path).encode("the the").tolist() == [257, 258]
    change, words = WRONG[case]
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        BPETokenizer.from_json(path)
    assert re.search(words, str(caught.value))
