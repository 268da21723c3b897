"""Fuzz targets: the readers of data sets and of GPT-2's vocabulary."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import wave
from pathlib import Path

from weft.data import BPETokenizer, bpe, read_cifar, read_csv, read_idx, read_wav, tokenizer_json

FOLDER = Path(tempfile.mkdtemp(prefix="weft-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def said(function, *paths: Path) -> object:
    """What a reader makes of files, or None where it says, in a ValueError, what is wrong."""
    try:
        return function(*paths)
    except ValueError as error:
        if not str(error):
            raise AssertionError("no words") from None
        return None


def idx(data: bytes) -> None:
    path = FOLDER / "f.idx"
    path.write_bytes(data)
    array = said(read_idx, path)
    if array is not None and data[:2] != b"\x1f\x8b" and array.nbytes > len(data):
        raise AssertionError("more bytes than the file has")


def cifar(data: bytes) -> None:
    path = FOLDER / "f.bin"
    path.write_bytes(data)
    said(read_cifar, path)


def wav(data: bytes) -> None:
    sound = said(read_wav, data)
    if sound is not None and sound.samples.size > len(data):
        raise AssertionError("more samples than the file has bytes")


def csv(data: bytes) -> None:
    path = FOLDER / "f.csv"
    path.write_bytes(data)
    said(read_csv, path)


WORDS = {**{word: i for i, word in enumerate(bpe.alphabet())}, "th": 256, "the": 257, "\u0120the": 258}


def vocabulary(data: bytes) -> None:
    """The JSON of tokens: the bytes of the alphabet are in it, what the fuzzer writes is beside them."""
    known = json.dumps(WORDS).encode()[:-1]
    (FOLDER / "vocab.json").write_bytes(known + b", " + data + b"}" if data[:1] != b"{" else data)
    (FOLDER / "merges.txt").write_text("#version\nt h\nth e\n")
    round_trip(said(BPETokenizer.from_folder, FOLDER), data)


def merges(data: bytes) -> None:
    """The text of merges, over a vocabulary of a few; what it makes of a text decodes to that text."""
    (FOLDER / "vocab.json").write_text(json.dumps(WORDS))
    (FOLDER / "merges.txt").write_bytes(data)
    round_trip(said(BPETokenizer.from_folder, FOLDER), data)


HEAD = {"model": {"type": "BPE", "merges": [["t", "h"], "th e"], "vocab": WORDS}}
REST = {
    "added_tokens": [{"id": 300, "content": "<a>", "special": True}, {"id": 301, "content": "<b>"}],
    "decoder": {"type": "ByteLevel"}, "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": list(tokenizer_json.CUTS)[1]}, "behavior": "Isolated"},
        {"type": "ByteLevel", "use_regex": False}]},
}  # fmt: skip


def tokenizer(data: bytes) -> None:
    """A tokenizer.json: its model, and beside it what the fuzzer writes."""
    path = FOLDER / "tokenizer.json"
    path.write_bytes(json.dumps(HEAD).encode()[:-1] + b", " + data + b"}" if data[:1] != b"{" else data)
    round_trip(said(BPETokenizer.from_json, path), data)
    path.unlink()


def round_trip(tokenizer: BPETokenizer | None, data: bytes) -> None:
    if tokenizer is not None and not tokenizer.rules.normal_form and not tokenizer.rules.prefix_space:
        text = data.decode(errors="replace") + " the theth"
        if tokenizer.decode(tokenizer.encode(text)) != text:
            raise AssertionError("another text")


def idx_seeds() -> list[bytes]:
    plain = b"\0\0\x08\x02" + (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + bytes(6)
    return [plain, gzip.compress(plain, mtime=0), b"\0\0\x0d\x01" + (1).to_bytes(4, "big") + bytes(4)]


def wav_seeds() -> list[bytes]:
    made = []
    for channels, width in ((1, 1), (2, 2), (1, 3), (1, 4)):
        with wave.open(file := io.BytesIO(), "wb") as out:
            out.setparams((channels, width, 8000, 0, "NONE", ""))
            out.writeframes(bytes(range(24)))
        made.append(file.getvalue())
    return made


TARGETS = {
    "wav": (wav, wav_seeds),
    "csv": (csv, lambda: [b'a,"b"\n1,x\n,NA\n', gzip.compress(b"a\n1e9\n", mtime=0), b"\xef\xbb\xbfa\r\ninf\r\n"]),
    "idx": (idx, idx_seeds),
    "cifar": (cifar, lambda: [bytes(3073), gzip.compress(bytes(6146), mtime=0)]),
    "vocabulary": (vocabulary, lambda: [b'"zz": 300', json.dumps(WORDS).encode(), b'"zz": -1, "y": 1e9']),
    "tokenizer": (tokenizer, lambda: [json.dumps(REST | more).encode()[1:-1] for more in ({}, {"normalizer": None})]),
    "merges": (merges, lambda: [b"#version: 0.2\nt h\nth e\n\xc4\xa0 the\n", b"t h\r\n", b""]),
}
