"""The free spoken digit data set: 3,000 recordings of ten digits by six speakers."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from weft.data.audio import read_wav
from weft.data.catalog import find_all, missing, search_roots
from weft.data.readers import open_archive

Array = np.ndarray[Any, Any]
NAME = re.compile(r"([0-9])_([a-z]+)_([0-9]{1,4})\.wav")
MAX_FILES, MAX_WAV = 20_000, 1 << 20  # files, bytes of one
FOLDERS = ["audio", "free-spoken-digit-dataset"]
ORIGIN = "https://github.com/Jakobovski/free-spoken-digit-dataset"


class SpokenDigits(NamedTuple):
    """Recordings of digits: sounds of different lengths, what is said, and by whom.

    >>> waves, labels, speakers, takes, rate = weft.data.spoken_digits()  # doctest: +SKIP
    """

    waves: list[Array]  # float32 (n,), -1 to 1, not to be written into
    labels: Array  # int64 (N,), the digit
    speakers: Array  # str (N,)
    takes: Array  # int64 (N,), the speaker's how-manieth recording of that digit
    rate: int


def spoken_digits(data: Path | str | None = None) -> SpokenDigits:
    """Spoken digits: 3,000 recordings, 8 kHz, 50 by each of 6 speakers of each digit, by speaker, digit and take.

    data: the folder to look in first; then `WEFT_DATA` and the cache folder are searched for fsdd-3000wav.tar.xz, or a
    clone of the set's repository. The recordings stay in memory for the next call. MissingDataError if there are none,
    ValueError for an archive that holds others. Source: Jackson et al., Free Spoken Digit Dataset (CC BY-SA 4.0).

    >>> spoken = weft.data.spoken_digits()  # doctest: +SKIP
    >>> spoken.speakers[0], spoken.labels[0], len(spoken.waves[0]) / spoken.rate  # doctest: +SKIP
    """
    archive = [["fsdd-3000wav.tar.xz"]]
    for root in search_roots(data):
        found = find_all(root, FOLDERS, archive)
        if found is None:
            folders = [root / name / "recordings" for name in [*FOLDERS, ""]]
            found = [folder for folder in folders if folder.is_dir()]
        if found:
            return read_recordings(found[0], found[0].stat().st_mtime_ns)
    raise missing("spoken digits", FOLDERS, archive, data, ORIGIN)


@functools.lru_cache(maxsize=1)
def read_recordings(path: Path, changed: int) -> SpokenDigits:
    """All recordings in a folder or archive; `changed` is its time, so that another file is read anew."""
    found: list[tuple[str, int, int, Array]] = []
    rates = set()
    for name, content in wav_files(path):
        parts = NAME.fullmatch(name)
        if parts is None or len(found) >= MAX_FILES:
            raise ValueError(f"spoken_digits: expected at most {MAX_FILES} files digit_speaker_take.wav in {path}, "
                             f"got {name!r}")  # fmt: skip
        sound = read_wav(content)
        if sound.samples.ndim != 1:
            raise ValueError(f"spoken_digits: expected one channel in {name} of {path}, got {sound.samples.shape[1]}")
        sound.samples.flags.writeable = False
        rates.add(sound.rate)
        found.append((parts[2], int(parts[1]), int(parts[3]), sound.samples))
    if len(rates) != 1:
        raise ValueError(f"spoken_digits: expected recordings of one rate in {path}, got {sorted(rates) or 'none'}")
    found.sort(key=lambda recording: recording[:3])
    speakers, labels, takes, waves = zip(*found, strict=True)
    return SpokenDigits(list(waves), np.array(labels), np.array(speakers), np.array(takes), rates.pop())


def wav_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each wav file; nothing of an archive is written anywhere, and links in it are not followed."""
    if path.is_dir():
        for file in sorted(path.glob("*.wav")):
            yield file.name, file.read_bytes()
        return
    with open_archive("spoken_digits", path) as tar:
        for member in tar:
            name = PurePosixPath(member.name).name
            if not member.isreg() or not name.endswith(".wav"):
                continue
            if member.size > MAX_WAV:
                raise ValueError(f"spoken_digits: expected files of at most {MAX_WAV} bytes in {path}, "
                                 f"got {member.size} in {name}")  # fmt: skip
            source = tar.extractfile(member)
            yield name, source.read() if source else b""
