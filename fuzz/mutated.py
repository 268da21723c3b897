"""Thousands of damaged weight files, read in a process whose memory is limited: each is read or refused with a word.

    python fuzz/mutated.py [--files 10000] [--seed 0]

Prints one line of JSON: how many files were refused and how many could be read, and how many bytes the greediest
reading took for each byte of its file, of files that are mostly data. Ends with 1 at the first file that gives any
other error, or makes the reader allocate more than twice its size (and what the header takes as Python objects).
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  # which the reader would load, and count, at the first bfloat16
import numpy as np

from weft.io import CheckpointError, MappedFile, ShardedFiles, read_file, write_file
from weft.io.shards import INDEX

ROOM = 512 << 20  # bytes of address space beyond what the imports took
PARSED = 40  # bytes of Python objects for each byte of a header, and
FIXED = 128 << 10  # for what does not depend on the file

Header = dict[str, Any]
SIZES = [-1, 0, 1, 2, 3, 7, 2**16, 2**31, 2**32, 2**32 + 1, 2**62, 2**63 - 1, 2**63, 2**64, 2**64 - 4, 2**70, 1.0, True,
         None, "4", [4]]  # fmt: skip
DTYPES = ["F32", "F64", "U8", "BOOL", "BF16", "F8_E4M3", "C64", "I64", "F4", "f32", "", "OBJECT", None, 3, ["F32"]]


def tensors(rng: random.Random) -> dict[str, np.ndarray]:
    """Arrays of a small model, of several kinds; sometimes one that outweighs the header by far."""
    made: dict[str, np.ndarray] = {"large": np.ones((500, 500), "f4")} if rng.random() < 0.1 else {}
    for i in range(rng.randint(1, 12)):
        shape = tuple(rng.randint(0, 40) for _ in range(rng.randint(0, 3)))
        made[f"layer.{i}.{rng.choice(['weight', 'bias', 'scale'])}"] = np.ones(
            shape, rng.choice(["f4", "f8", "u1", "?"])
        )
    return made


def layout(arrays: dict[str, np.ndarray]) -> tuple[Header, bytes]:
    """Header and data of a file as other libraries write it, without checksums."""
    header, data = {}, b""
    names = {"f4": "F32", "f8": "F64", "u1": "U8", "b1": "BOOL"}
    for name, array in arrays.items():
        begin, data = len(data), data + array.tobytes()
        kind = names[array.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, len(data)]}
    return header, data


def seal(header: Header | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


# ---- the ways to damage a file; each takes what `layout` gives


def truncated(rng: random.Random, header: Header, data: bytes) -> bytes:
    whole = seal(header, data)
    return whole[: rng.randrange(len(whole))]


def longer(rng: random.Random, header: Header, data: bytes) -> bytes:
    return seal(header, data) + rng.randbytes(rng.randint(1, 100))


def flipped(rng: random.Random, header: Header, data: bytes) -> bytes:
    whole = bytearray(seal(header, data))
    for _ in range(rng.randint(1, 8)):
        end = len(whole) if rng.random() < 0.5 else min(len(whole), 600)  # half of them near the header
        whole[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(whole)


def replaced(rng: random.Random, header: Header, data: bytes) -> bytes:
    """Bytes put in, taken out or copied elsewhere."""
    whole = bytearray(seal(header, data))
    at, size = rng.randrange(len(whole)), rng.randint(1, 40)
    new = rng.choice([b"", rng.randbytes(size), b'{"a":' * size, b"[" * size, b"9" * size, bytes(whole[:size])])
    whole[at : at + rng.choice([0, size])] = new
    return bytes(whole)


def overlapping(rng: random.Random, header: Header, data: bytes) -> bytes:
    """Tensors that reach into each other, leave holes, or end before they begin."""
    for entry in rng.choices(list(header.values()), k=2):
        entry["data_offsets"][rng.randrange(2)] += rng.choice([-8, -4, -1, 1, 4, 8, 4096])
    return seal(header, data)


def duplicated(rng: random.Random, header: Header, data: bytes) -> bytes:
    """A name twice, of a tensor or inside one."""
    name = rng.choice(list(header))
    text = json.dumps(header)
    again = json.dumps({name: rng.choice(list(header.values()))})[1:-1]
    inside = text.replace('"dtype"', rng.choice(['"dtype": "U8", "dtype"', '"shape": [1], "dtype"']), 1)
    return seal(rng.choice([text[:-1] + ", " + again + "}", "{" + again + ", " + text[1:], inside]).encode(), data)


def huge(rng: random.Random, header: Header, data: bytes) -> bytes:
    """A length of the header that the file does not have, or a header that is mostly nothing."""
    whole = seal(header, data)
    if rng.random() < 0.8:
        length = rng.choice([2**64 - 1, 2**63, 2**40, 2**32, 100_000_000, 32_000_001, len(whole), len(whole) - 7, 1, 0])
        return length.to_bytes(8, "little") + whole[8:]
    text = json.dumps(header).encode()
    padding = rng.choice([b" " * 50_000, b"," * 50_000, b'"' + b"x" * 50_000, b"[" * 50_000, b'{"a":' * 20_000])
    return seal(text[:-1] + padding + b"}", data)


def wrapped(rng: random.Random, header: Header, data: bytes) -> bytes:
    """Sizes whose product is beyond 64 bits, or fits only modulo them; sizes that are no sizes."""
    entry = rng.choice(list(header.values()))
    field = rng.choice(["shape", "data_offsets"])
    entry[field] = rng.choice([
        [rng.choice(SIZES) for _ in range(rng.randint(0, 4))],
        [2**32 + 1, 2**32, 4], [2**63, 2], [2**62, 2**62, 0], [1] * rng.randint(30, 70), rng.choice(SIZES),
    ])  # fmt: skip
    return seal(header, data)


def mistyped(rng: random.Random, header: Header, data: bytes) -> bytes:
    """Another dtype, or fields that are missing, spare or of another kind."""
    name = rng.choice(list(header))
    entry = header[name]
    kind = rng.randrange(4)
    if kind == 0:
        entry["dtype"] = rng.choice(DTYPES)
    elif kind == 1:
        del entry[rng.choice(list(entry))]
    elif kind == 2:
        entry[rng.choice(["file", "location", "", "dtype "])] = rng.choice(["/etc/passwd", 1, None])
    else:
        header[rng.choice([name, "__metadata__", "", "\0", "weft.crc32"])] = rng.choice(
            [None, 1, [], "x", {"format": "pt"}, {"format": 1}, {"weft.crc32": "{}"}, {"weft.tree": "{}"}]
        )
    return seal(header, data)


DAMAGES: list[Callable[[random.Random, Header, bytes], bytes]] = [
    truncated, longer, flipped, replaced, overlapping, duplicated, huge, wrapped, mistyped
]  # fmt: skip


def damaged_file(rng: random.Random, path: Path) -> str:
    """Write one to `path`; a fourth of them began as files of Weft's, with checksums. Returns what was done."""
    arrays = tensors(rng)
    if rng.random() < 0.25:
        write_file(path, arrays)
        whole = path.read_bytes()
        size = int.from_bytes(whole[:8], "little")
        header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]
        header = {k: v for k, v in header.items() if k != "__metadata__"} if rng.random() < 0.5 else header
        damage = rng.choice([truncated, longer, flipped, replaced])
        content = damage(rng, header, data)
    else:
        damage = rng.choice(DAMAGES)
        content = damage(rng, *layout(arrays))
    path.write_bytes(content)
    return damage.__name__


def damaged_index(rng: random.Random, folder: Path) -> str:
    """Two shards and an index, one of the three damaged."""
    places = {}
    for shard in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        header, data = layout({f"{shard[6:11]}.{i}": np.ones((3, i), "f4") for i in range(3)})
        places |= dict.fromkeys(header, shard)
        (folder / shard).write_bytes(seal(header, data))
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": places}).encode()
    if rng.random() < 0.3:
        (folder / shard).write_bytes(rng.choice([flipped, truncated, wrapped])(rng, header, data))
    elif rng.random() < 0.5:
        names = ["../x.safetensors", "/etc/passwd", "x.bin", "model\0", "..", 1, None, "model-00003.safetensors", shard]
        places[rng.choice(list(places))] = rng.choice(names)
        text = json.dumps({"weight_map": places}).encode()
    else:
        spoiled = bytearray(text)
        for _ in range(rng.randint(1, 6)):
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
        text = bytes(spoiled[: rng.randint(0, len(spoiled))] if rng.random() < 0.3 else spoiled)
    (folder / INDEX).write_bytes(text)
    return "index"


def read_all(path: Path) -> int:
    """The bytes of all tensors, read whole and from the map, which have to agree."""
    if path.name == INDEX:
        return sum(array.nbytes for array in ShardedFiles(path).values())
    whole, _ = read_file(path)
    size = sum(array.nbytes for array in whole.values())
    del whole
    if sum(array.nbytes for array in MappedFile(path).values()) != size:
        raise AssertionError("the map and the file differ")
    return size


def headers(folder: Path) -> int:
    """The bytes that are parsed as JSON in a folder's files; none of a header that is longer than its file."""
    total = 0
    for file in folder.iterdir():
        size = file.stat().st_size
        with open(file, "rb") as opened:
            length = size if file.name == INDEX else int.from_bytes(opened.read(8), "little")
        total += length if length <= size else 0
    return total


def limit_memory(room: int = ROOM) -> None:
    """No more address space than the imports took, and `room` bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room,) * 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    limit_memory()
    counts: dict[str, int] = {}
    most = 0.0
    tracemalloc.start()
    with tempfile.TemporaryDirectory() as name:
        for i in range(options.files):
            folder = Path(name)
            path = folder / (INDEX if rng.random() < 0.1 else "weights.safetensors")
            what = damaged_index(rng, folder) if path.name == INDEX else damaged_file(rng, path)
            size = sum(file.stat().st_size for file in folder.iterdir())
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                read_all(path)
                outcome = "read"
            except CheckpointError as error:
                outcome = "refused"
                if name not in str(error) or len(str(error)) > 2000:
                    print(f"file {i} of seed {options.seed} ({what}): unclear words: {error}", file=sys.stderr)
                    return 1
            except BaseException as error:
                print(f"file {i} of seed {options.seed} ({what}): {error!r}", file=sys.stderr)
                return 1
            taken = tracemalloc.get_traced_memory()[1] - before
            if taken > 2 * size + PARSED * headers(folder) + FIXED:
                print(f"file {i} of seed {options.seed} ({what}): took {taken} bytes for {size}", file=sys.stderr)
                return 1
            if size > max(FIXED, 10 * headers(folder)):
                most = max(most, taken / size)
            counts[outcome] = counts.get(outcome, 0) + 1
            for file in folder.iterdir():
                file.unlink()
    print(json.dumps({"files": options.files, **counts, "most bytes taken per byte of a file": round(most, 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
