"""Fetching data sets from their public mirrors: HTTPS only, a pinned SHA-256 per file, nothing half written."""

from __future__ import annotations

import hashlib
import os
import tarfile
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
FASHION = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
SHAKESPEARE = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
GPT2 = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
CIFAR = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
GITHUB = "https://raw.githubusercontent.com/"
SST2 = GITHUB + "clairett/pytorch-sentiment-classification/457ffd83de90a9d6d472d8ffc31bbffe40a8b236/data/SST2/"
SMS = GITHUB + "saurabh1105/Spam-classfication-/5cab5fa12d31d4766924638084ae0eed4353cb81/smsspamcollection/"
NAMES = GITHUB + "karpathy/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4/names.txt"
SERIES = GITHUB + "jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f/"
CHUNK = 1 << 18


class Source(NamedTuple):
    """One file: where it is from, where it goes below the data folder, its size in bytes and SHA-256."""

    url: str
    path: str
    size: int
    sha256: str


SOURCES = {
    "mnist": [
        Source(MNIST + "train-images-idx3-ubyte.gz", "mnist/train-images-idx3-ubyte.gz", 9_912_422,
               "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        Source(MNIST + "train-labels-idx1-ubyte.gz", "mnist/train-labels-idx1-ubyte.gz", 28_881,
               "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        Source(MNIST + "t10k-images-idx3-ubyte.gz", "mnist/t10k-images-idx3-ubyte.gz", 1_648_877,
               "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        Source(MNIST + "t10k-labels-idx1-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz", 4_542,
               "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ],
    "fashion": [
        Source(FASHION + "train-images-idx3-ubyte.gz", "fashion-mnist/train-images-idx3-ubyte.gz", 26_421_880,
               "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        Source(FASHION + "train-labels-idx1-ubyte.gz", "fashion-mnist/train-labels-idx1-ubyte.gz", 29_515,
               "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        Source(FASHION + "t10k-images-idx3-ubyte.gz", "fashion-mnist/t10k-images-idx3-ubyte.gz", 4_422_102,
               "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        Source(FASHION + "t10k-labels-idx1-ubyte.gz", "fashion-mnist/t10k-labels-idx1-ubyte.gz", 5_148,
               "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ],
    "shakespeare": [
        Source(SHAKESPEARE, "text/tinyshakespeare.txt", 1_115_394,
               "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),
    ],
    "gpt2-bpe": [
        Source(GPT2 + "encoder.json", "gpt2-bpe/encoder.json", 1_042_301,
               "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
        Source(GPT2 + "vocab.bpe", "gpt2-bpe/vocab.bpe", 456_318,
               "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
    ],
    "cifar10": [
        Source(CIFAR, "cifar10/cifar-10-binary.tar.gz", 170_052_171,
               "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    ],
    "sst2": [
        Source(SST2 + "train.tsv", "text/sst2-train.tsv", 720_259,
               "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
        Source(SST2 + "dev.tsv", "text/sst2-dev.tsv", 92_057,
               "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
        Source(SST2 + "test.tsv", "text/sst2-test.tsv", 188_749,
               "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
    ],
    "sms": [
        Source(SMS + "SMSSpamCollection", "text/SMSSpamCollection.tsv", 477_907,
               "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"),
    ],
    "names": [
        Source(NAMES, "text/names.txt", 228_145,
               "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"),
    ],
    "temperatures": [
        Source(SERIES + "daily-min-temperatures.csv", "timeseries/daily-min-temperatures.csv", 67_921,
               "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da"),
    ],
    "passengers": [
        Source(SERIES + "airline-passengers.csv", "timeseries/airline-passengers.csv", 2_180,
               "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621"),
    ],
    "sunspots": [
        Source(SERIES + "monthly-sunspots.csv", "timeseries/monthly-sunspots.csv", 45_039,
               "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3"),
    ],
}  # fmt: skip


class DownloadError(OSError):
    """A file that could not be fetched, or is not the one that was pinned; names the file and the mirror."""


def get(name: str, data: Path | str | None = None, *, progress: bool = True) -> Path:
    """Fetch a data set into `data` (default: the cache folder) and return that folder; files already there are kept.

    name: one of `SOURCES`. DownloadError if a mirror fails or a file differs from the pinned one.

    >>> weft.data.download.get("mnist")                                                     # doctest: +SKIP
    """
    from weft.data.catalog import cache_folder

    if name not in SOURCES:
        hint = "; digits comes with scikit-learn: pip install scikit-learn" if name == "digits" else ""
        raise ValueError(f"data get: expected one of {', '.join(SOURCES)}, got {name!r}{hint}")
    folder = Path(data) if data is not None else cache_folder()
    for source in SOURCES[name]:
        target = folder / source.path
        if not (target.is_file() and target.stat().st_size == source.size and digest(target) == source.sha256):
            fetch(source, target, progress)
        if target.name.endswith(".tar.gz"):
            extract(target, target.parent)
    return folder


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(source: Source, target: Path, progress: bool, opener: Callable[..., Any] | None = None) -> None:
    """One file into a temporary one beside `target`, renamed over it once its SHA-256 is the pinned one."""
    if not source.url.startswith("https://"):
        raise DownloadError(f"download: expected an https:// address, got {source.url}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    known = hashlib.sha256()
    try:
        bar = progress_bar(target.name, source.size, progress)
        with bar, (opener or open_https)(source.url) as reply, open(partial, "wb") as file:
            got = 0
            while chunk := reply.read(CHUNK):
                got += len(chunk)
                if got > source.size:
                    break
                known.update(chunk)
                file.write(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        if got != source.size or known.hexdigest() != source.sha256:
            what = "more" if got > source.size else f"{got} bytes with SHA-256 {known.hexdigest()}"
            raise DownloadError(f"download: expected {source.size} bytes with SHA-256 {source.sha256}, got {what}, "
                                f"from {source.url}; nothing was kept")  # fmt: skip
        os.replace(partial, target)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"download: could not fetch {source.url}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


class HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Redirects that stay on HTTPS."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise DownloadError(f"download: expected a redirect to https://, got {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_https(url: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "weft"})
    return urllib.request.build_opener(HttpsOnly).open(request, timeout=30)


def progress_bar(name: str, size: int, show: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=size, desc=name, unit="B", unit_scale=True, disable=None if show else True)


def extract(archive: Path, folder: Path, max_bytes: int = 1 << 30) -> list[Path]:
    """Unpack the regular files of a tar archive below `folder`; returns their paths.

    ValueError before anything is written if a member is a link or device, is absolute or leaves the folder, or if all
    together unpack to more than `max_bytes`.
    """
    made = []
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            parts = PurePosixPath(member.name).parts
            if not (member.isreg() or member.isdir()):
                raise ValueError(f"extract: expected files and folders in {archive}, got {member.name!r}")
            if member.name.startswith("/") or ".." in parts or "\\" in member.name or ":" in member.name:
                raise ValueError(f"extract: expected names below the folder in {archive}, got {member.name!r}")
        if sum(member.size for member in members) > max_bytes:
            raise ValueError(f"extract: expected at most {max_bytes} bytes in {archive}, got more")
        for member in members:
            if member.isreg():
                source = tar.extractfile(member)
                if source is not None:
                    made.append(copy_out(source, folder.joinpath(*PurePosixPath(member.name).parts), member.size))
    return made


def copy_out(source: IO[bytes], target: Path, size: int) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            while size > 0 and (chunk := source.read(min(CHUNK, size))):
                size -= len(chunk)
                file.write(chunk)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def describe(names: Sequence[str] = tuple(SOURCES)) -> str:
    """A line per data set: name, size in MB and mirror."""
    return "\n".join(
        f"{name:<12} {sum(s.size for s in SOURCES[name]) / 1e6:6.1f} MB  {SOURCES[name][0].url.rpartition('/')[0]}"
        for name in names
    )
