"""Writing a file so that at every moment either the old or the new content is on the disk, whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TEMPORARY = ".partial"  # <name>.<process id>.partial, beside the file it will become


def write_durably(path: str | os.PathLike[str], chunks: Iterable[Any]) -> int:
    """Write `chunks` (bytes-like) to `path` and return their size in bytes once they are on the disk.

    A temporary file beside `path` is written, fsynced and renamed over it, then the directory is fsynced: a process
    killed at any moment leaves the old file or the new one. An OSError (a full disk, say) leaves the old one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_durably(folder + "/file", [b"ab", b"c"])
    3
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    size = 0
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            for chunk in chunks:
                size += write_all(handle, memoryview(chunk))
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return size


def write_all(handle: int, left: memoryview) -> int:
    """Write every byte: `os.write` may stop early, at 2 GiB or when a signal arrives."""
    left = left.cast("B") if left.nbytes else memoryview(b"")
    size = left.nbytes
    while left.nbytes:
        left = left[os.write(handle, left) :]
    return size


def sync_directory(directory: Path) -> None:
    """Make a rename inside `directory` durable; only POSIX lets a directory be opened for that."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(directory: Path) -> None:
    """Delete the temporary files that killed processes left in `directory`; those of living ones stay."""
    for path in directory.glob(f"*{TEMPORARY}"):
        process = path.name.removesuffix(TEMPORARY).rpartition(".")[2]
        if not (process.isdigit() and int(process) != os.getpid() and alive(int(process))):
            path.unlink(missing_ok=True)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
