"""The disk cache of compiled kernels: named by content, written at once or not at all, bounded, and checked when read.

An entry is one file: the compiled code, then a record (JSON) of what the compiler said, then the SHA-256 of both and
their lengths. What follows an ELF file's own end disturbs neither the loader of shared libraries nor the driver. Its
modification time is when it was used last: the least recently used entries go first.

WEFT_CACHE names the folder (~/.cache/weft otherwise), WEFT_CACHE_LIMIT the most it may hold (1G otherwise).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

TRAILER = struct.Struct("<QQ32s8s")
MAGIC = b"weft\x00\x00\x00\x01"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
#: An eviction makes room for more than the newest entry, so that the next does not evict again.
KEPT = 0.9
#: Seconds after which an unfinished entry is that of a process that died.
ABANDONED = 3600


class Entry(NamedTuple):
    """A compiled kernel: where it lies, its code and what was recorded with it."""

    path: Path
    code: bytes
    record: dict[str, Any]


def key(*parts: str | bytes) -> str:
    """A name for content: equal only if all parts are, wherever one ends and the next begins."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:40]


def wanted_folder() -> Path:
    """Where the cache should lie, whether or not it can."""
    named = os.environ.get("WEFT_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "weft"


def folder() -> Path:
    """The cache's folder, made if need be; where it cannot be written, one of this process that ends with it."""
    return usable(wanted_folder())


@lru_cache(maxsize=8)
def usable(wanted: Path) -> Path:
    try:
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        made = tempfile.TemporaryDirectory(prefix="weft-cache-")
        TEMPORARY.append(made)
        return Path(made.name)


TEMPORARY: list[tempfile.TemporaryDirectory[str]] = []


def limit() -> int:
    """The most bytes that the cache may hold. ValueError if WEFT_CACHE_LIMIT is no size."""
    text = os.environ.get("WEFT_CACHE_LIMIT", "1G").strip().upper().removesuffix("B")
    unit = UNITS.get(text[-1:], 1)
    number = text[:-1] if text[-1:] in UNITS else text
    if not number.isdigit():
        raise ValueError(f"WEFT_CACHE_LIMIT: expected bytes, as 500M or 2G, got {os.environ['WEFT_CACHE_LIMIT']!r}")
    return int(number) * unit


def pack(code: bytes, record: dict[str, Any]) -> bytes:
    said = json.dumps(record).encode()
    return code + said + TRAILER.pack(len(code), len(said), hashlib.sha256(code + said).digest(), MAGIC)


def unpack(data: bytes) -> tuple[bytes, dict[str, Any]] | None:
    """(code, record) of an entry's bytes, or None if they are not what was written."""
    if len(data) < TRAILER.size:
        return None
    code, said, digest, magic = TRAILER.unpack(data[-TRAILER.size :])
    body = data[: -TRAILER.size]
    if magic != MAGIC or code + said != len(body) or hashlib.sha256(body).digest() != digest:
        return None
    return body[:code], json.loads(body[code:])


def load(path: Path) -> Entry | None:
    """The entry that lies at `path`; None if there is none. One that was damaged is removed."""
    try:
        found = unpack(path.read_bytes())
    except OSError:
        return None
    with contextlib.suppress(OSError):
        if found is None:
            path.unlink()
        else:
            os.utime(path)
    return Entry(path, *found) if found else None


def store(path: Path, code: bytes, record: dict[str, Any]) -> Entry:
    """Write an entry under its final name at once, so that no other process ever reads half of it."""
    data = pack(code, record)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o755 if path.suffix == ".so" else 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    trim(path)
    return Entry(path, code, record)


LOCKS: dict[str, threading.Lock] = {}
LOCKS_LOCK = threading.Lock()


def get(name: str, build: Callable[[], tuple[bytes, dict[str, Any]]]) -> Entry:
    """The entry `name` (a key and a suffix); `build` makes it where it is missing or damaged.

    Threads of a process wait for each other; processes that build the same entry at once each write it whole.
    """
    with LOCKS_LOCK:
        lock = LOCKS.setdefault(name, threading.Lock())
    with lock:
        path = folder() / name
        found = load(path)
        if found is not None:
            return found
        code, record = build()
        try:
            return store(path, code, record)
        except OSError:  # the disk is full, or the folder went away: this process keeps its own
            return store(private_folder() / name, code, record)


@lru_cache(maxsize=1)
def private_folder() -> Path:
    TEMPORARY.append(tempfile.TemporaryDirectory(prefix="weft-cache-"))
    return Path(TEMPORARY[-1].name)


def entries(of: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of every entry and of what writers that died left."""
    with os.scandir(of) as found:
        for item in found:
            if item.name.endswith((".so", ".cubin", ".ptx", ".tmp")):
                with contextlib.suppress(OSError):  # another process may remove it meanwhile
                    status = item.stat()
                    if item.name.endswith(".tmp") and time.time() - status.st_mtime < ABANDONED:
                        continue  # somebody is writing it
                    yield status.st_mtime, status.st_size, Path(item.path)


def trim(newest: Path) -> None:
    """Remove the least recently used entries beside `newest` until the folder keeps its limit."""
    most = limit()
    with contextlib.suppress(OSError):
        found = sorted(entries(newest.parent))
        held = sum(size for _, size, _ in found)
        if held <= most:
            return
        for _, size, path in found:
            if held <= KEPT * most:
                return
            if path != newest:
                with contextlib.suppress(OSError):
                    path.unlink()
                held -= size


def usage() -> tuple[int, int]:
    """(how many entries, how many bytes) the cache holds."""
    with contextlib.suppress(OSError):
        sizes = [size for _, size, _ in entries(wanted_folder())]
        return len(sizes), sum(sizes)
    return 0, 0


def clear() -> None:
    """Remove every entry."""
    with contextlib.suppress(OSError):
        for _, _, path in list(entries(wanted_folder())):
            path.unlink(missing_ok=True)


