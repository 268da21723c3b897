"""Small sets of photos: what is in the archives, and what an archive may not hold."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest

from policy import DATA, needs
from weft.data import MissingDataError, cifar10_sample, read_cifar, sign_digits
from weft.data.photos import read_signs
from weft.data.speech import wav_files


@needs("data/sign-digits", "PIL")
def test_sign_digits(tmp_path):
    from PIL import Image

    photos, classes = sign_digits(DATA)
    images, labels = photos.arrays
    assert images.shape == (500, 3, 100, 100) and images.dtype == np.uint8 and classes == list("0123456789")
    assert np.bincount(labels).tolist() == [50] * 10 and (np.diff(labels) >= 0).all()
    with tarfile.open(DATA / "sign-digits" / "sign-digits-500jpg.tar") as tar:
        first = sorted(name for name in tar.getnames() if "/3/" in name)[0]
        want = np.asarray(Image.open(tar.extractfile(first)))
    assert np.array_equal(images[150].transpose(1, 2, 0), want)


@needs("data/cifar10")
def test_cifar10_sample():
    train, test, classes, name = cifar10_sample(DATA)
    assert (len(train), len(test), len(classes)) == (4000, 1000, 10) and "first 4,000" in name
    images, labels = read_cifar(DATA / "cifar10" / "cifar10-test-first1000.bin.gz")
    assert np.array_equal(test.arrays[0], images) and np.array_equal(test.arrays[1], labels)


def archive(path, files):
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def jpeg(side=100, kind="JPEG"):
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (side, side), (10, 200, 30)).save(file, kind)
    return file.getvalue()


def huge(content):
    """A JPEG whose header says 65,535 x 65,535 pixels."""
    sizes = content.index(b"\xff\xc0") + 5
    return content[:sizes] + b"\xff" * 4 + content[sizes + 4 :]


@needs("PIL")
@pytest.mark.parametrize("kind", ["", "gz", "xz", "bz2"])
def test_archives_that_are_damaged(kind, tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, f"w:{kind}") as tar:
        for i in range(20):
            member = tarfile.TarInfo(f"x/1/{i}.txt")
            member.size = 5000
            tar.addfile(member, io.BytesIO(np.random.default_rng(i).bytes(member.size)))
    content = path.read_bytes()
    middle = len(content) // 2
    for damaged in (b"text", content[:middle], content[:middle] + bytes(600) + content[middle + 600 :]):
        path.write_bytes(damaged)
        if len(damaged) == len(content) and kind in ("", "gz"):
            continue  # no sum to tell other content by, or one at the very end, which is not read
        with pytest.raises(ValueError, match=r"sign-digits: expected a whole tar archive, got .*a\.tar"):
            read_signs(path)
        with pytest.raises(ValueError, match="spoken_digits: expected a whole tar archive"):
            list(wav_files(path))
    with pytest.raises(FileNotFoundError):
        read_signs(tmp_path / "none.tar")


@needs("PIL")
def test_archives_of_signs(tmp_path):
    photos = read_signs(archive(tmp_path / "a.tar", {"x/7/b.JPG": jpeg(), "x/0/c.jpg": jpeg(), "x/README": b"text"}))
    assert photos.arrays[1].tolist() == [0, 7]
    for number, (files, message) in enumerate(
        [
            ({"README": b"text"}, "got none"),
            ({"x/10/a.JPG": jpeg()}, "expected <digit>/<name>.JPG"),
            ({"x/1/a.JPG": b""}, "of 0"),
            ({"x/1/a.JPG": bytes(1 << 18)}, "of 262144"),
            ({"x/1/a.JPG": jpeg(99)}, "got 99 x 99 pixels"),
            ({"x/1/a.JPG": jpeg(kind="PNG")}, "expected a JPEG of 100 x 100"),
            ({"x/1/a.JPG": jpeg()[:200]}, "expected a JPEG of 100 x 100"),
            ({"x/1/a.JPG": huge(jpeg())}, "expected a JPEG of 100 x 100"),
        ]
    ):
        with pytest.raises(ValueError, match=message):
            read_signs(archive(tmp_path / f"{number}.tar", files))


def test_photos_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("WEFT_DATA", raising=False)
    for load, file in ((sign_digits, "sign-digits-500jpg.tar"), (cifar10_sample, "cifar10-train-first4000.bin.gz")):
        with pytest.raises(MissingDataError, match=file):
            load(tmp_path)
