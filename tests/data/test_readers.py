"""Readers: the real files, and files that are cut, hostile or absent."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy import DATA, needs
from weft.data import (
    CharVocabulary,
    DataLoader,
    ImageFolder,
    MissingDataError,
    catalog,
    cifar10,
    digits,
    download,
    fashion_mnist,
    gpt2_tokenizer,
    mnist,
    read_cifar,
    read_idx,
    read_text,
    tiny_shakespeare,
)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without data sets."""
    monkeypatch.delenv("WEFT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


# ---- real data


@needs("data/mnist")
def test_mnist():
    train, test, classes, name = mnist(DATA)
    assert train.arrays[0].shape == (60000, 1, 28, 28) and test.arrays[0].shape == (10000, 1, 28, 28)
    assert train.arrays[0].dtype == np.uint8 and train.arrays[1].dtype == np.int64 and name == "MNIST"
    assert train.arrays[1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert abs(train.arrays[0].mean() / 255 - 0.1307) < 1e-4


@needs("data/fashion-mnist")
def test_fashion(monkeypatch):
    monkeypatch.setenv("WEFT_DATA", str(DATA))
    train, test, classes, _ = fashion_mnist()
    assert np.bincount(train.arrays[1]).tolist() == [6000] * 10 and len(test) == 10000 and classes[9] == "Ankle boot"
    assert abs(train.arrays[0].mean() / 255 - 0.2860) < 1e-4


@needs("data/cifar10", "PIL")
@pytest.mark.slow
def test_cifar_copy_is_the_same_pictures():
    train, test, classes, name = cifar10(DATA)
    assert train.arrays[0].shape == (50000, 3, 32, 32) and len(test) == 10000 and name == "CIFAR-10 (JPEG copy)"
    images, labels = read_cifar(DATA / "cifar10" / "cifar10-train-first4000.bin.gz")
    assert np.array_equal(labels, train.arrays[1][:4000]) and classes[labels[0]] == "frog"
    error = np.abs(images.astype(int) - train.arrays[0][:4000]).mean()
    assert error < 7, "the copy is lossy, but each image is in its place"


@needs("data/cifar10")
def test_cifar_binary():
    images, labels = read_cifar(DATA / "cifar10" / "cifar10-test-first1000.bin.gz")
    assert images.shape == (1000, 3, 32, 32) and images.dtype == np.uint8 and labels[:4].tolist() == [3, 8, 8, 0]


@needs("data/text")
def test_shakespeare():
    text = tiny_shakespeare(DATA)
    assert len(text.vocabulary) == 65 and len(text.train) + len(text.validation) == 1_115_394
    assert len(text.validation) == 111_540 and text.vocabulary.decode(text.train[:13]) == "First Citizen"


@needs("sklearn")
def test_digits_are_those_of_scikit_learn_which_need_not_be_imported(monkeypatch):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for present in (True, False):  # the file where it lies today, and where another version has moved it
        if not present:
            monkeypatch.setattr(catalog.Path, "is_file", lambda path: path.name != "digits.csv.gz")
        images, labels = digits()[0].arrays
        assert np.array_equal(images[:, 0], (bunch.images / 16).astype("f")) and np.array_equal(labels, bunch.target)
        assert images.dtype == np.float32 and labels.dtype == np.int64
    monkeypatch.setattr(catalog.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match="pip install scikit-learn"):
        digits()


@needs("sklearn")
def test_digits():
    dataset, classes = digits()
    assert dataset.arrays[0].shape == (1797, 1, 8, 8) and dataset.arrays[0].max() == 1.0 and len(classes) == 10


# ---- files that are absent


@pytest.mark.parametrize("load, key, file", [(mnist, "mnist", "train-images-idx3-ubyte.gz"),
                                             (fashion_mnist, "fashion", "t10k-labels-idx1-ubyte.gz"),
                                             (cifar10, "cifar10", "data_batch_1.bin"),
                                             (gpt2_tokenizer, "gpt2-bpe", "encoder.json"),
                                             (tiny_shakespeare, "shakespeare", "tinyshakespeare.txt")])  # fmt: skip
def test_what_is_missing(load, key, file, nowhere, monkeypatch):
    (nowhere / "mine").mkdir()
    monkeypatch.setenv("WEFT_DATA", str(nowhere / "env"))
    with pytest.raises(MissingDataError) as caught:
        load(nowhere / "mine")
    for part in (file, nowhere / "mine", nowhere / "env", nowhere / "cache" / "weft", f"weft data get {key}"):
        assert str(part) in str(caught.value)
    with pytest.raises(MissingDataError, match="expected a folder"):
        load(nowhere / "absent")


# ---- files that are cut or hostile


def idx(shape, data, code=8):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


def test_idx_forms(tmp_path):
    path = tmp_path / "x-idx"
    for code, dtype in ((8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")):
        array = np.arange(-3, 3).astype(dtype).reshape(2, 3)
        for pack in (bytes, gzip.compress):
            path.write_bytes(pack(idx((2, 3), array.astype(array.dtype.newbyteorder(">")).tobytes(), code)))
            assert np.array_equal(read_idx(path), array) and read_idx(path).dtype == array.dtype
    path.write_bytes(idx((0, 5), b""))
    assert read_idx(path).shape == (0, 5)


GOOD = idx((2, 3), bytes(6))
HOSTILE = {
    "empty": b"", "not idx": b"\x7fELF1234", "no such type": idx((2,), b"ab", 7), "no axes": b"\0\0\x08\0",
    "many axes": b"\0\0\x08\xff" + bytes(9), "cut header": GOOD[:7], "cut data": GOOD[:-1], "more": GOOD + b"x",
    "huge": idx((2**32 - 1,) * 3, b"x"), "huge gz": gzip.compress(idx((2**31,), b"x")),
    "cut gz": gzip.compress(GOOD)[:-9], "damaged gz": gzip.compress(GOOD)[:14] + b"\xff" * 9,
    "gz of nothing": b"\x1f\x8b", "wrong sum": gzip.compress(GOOD)[:-8] + bytes(8),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_idx(name, tmp_path):
    path = tmp_path / "hostile"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ValueError, match=str(path)):
        read_idx(path)


@given(st.sampled_from([GOOD, gzip.compress(GOOD, mtime=0)]), st.data())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_damage_to_idx_is_a_value_error(tmp_path, good, data):
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert read_idx(path).nbytes <= 1032 * len(content)
    except ValueError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    "content", [b"", b"\1" * 3072, b"\1" * 3074, b"\x0a" + bytes(3072), gzip.compress(b"x", mtime=0)]
)
def test_hostile_cifar(content, tmp_path):
    path = tmp_path / "hostile"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        read_cifar(path)


def test_sizes_that_do_not_match(nowhere):
    folder = nowhere / "mnist"
    folder.mkdir()
    for part, n in (("train", 3), ("t10k", 2)):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx((n, 28, 28), bytes(784 * n)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx((n,), bytes(n)))
    assert len(mnist(nowhere).train) == 3
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx((3,), bytes(3)))
    with pytest.raises(ValueError, match=r"\(2, 28, 28\) and \(3,\)"):
        mnist(nowhere)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx((2,), b"\0\x0b"))
    with pytest.raises(ValueError, match="labels 0 to 9"):
        mnist(nowhere)


def test_text(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("añb" * 10, encoding="utf-8")
    text = read_text(path, validation=0.2)
    assert text.vocabulary.characters == "abñ" and len(text.train) == 24 and len(text.validation) == 6
    assert text.vocabulary.decode(text.vocabulary.encode("ñab")) == "ñab"
    with pytest.raises(ValueError, match="got 'z' at 1"):
        text.vocabulary.encode("azb")
    with pytest.raises(ValueError, match="tokens in"):
        text.vocabulary.decode([3])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="UTF-8"):
        read_text(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        read_text(path)
    with pytest.raises(ValueError, match="empty"):
        CharVocabulary("")


# ---- own photos


@needs("PIL")
def test_image_folder(tmp_path):
    from PIL import Image

    for name, colour in (("cat", (255, 0, 0)), ("dog", (0, 0, 255))):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (20 + i, 10), colour).save(tmp_path / name / f"{i}.png")
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    photos = ImageFolder(tmp_path, size=8)
    assert photos.classes == ["cat", "dog"] and len(photos) == 4
    image, label = photos[3]
    assert image.shape == (3, 8, 8) and image.dtype == np.uint8 and label == 1
    assert image[:, 4, 4].tolist() == [0, 0, 255]
    assert ImageFolder(tmp_path, (4, 6), channels=1)[0][0].shape == (1, 4, 6)
    flipped = ImageFolder(tmp_path, 8, transform=lambda x, rng: x[::-1] if rng.uniform_array(()) < 2 else x)
    assert flipped[0][0][:, 4, 4].tolist() == [0, 0, 255]
    (tmp_path / "cat" / "2.jpg").write_bytes(b"not a jpeg")
    with pytest.raises(ValueError, match=r"cat.2\.jpg"):
        ImageFolder(tmp_path, 8)[2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty"):
        ImageFolder(tmp_path, 8)
    with pytest.raises(FileNotFoundError, match="one folder per class"):
        ImageFolder(tmp_path / "empty", 8)


@needs("data/sign-digits", "PIL")
def test_real_photos(tmp_path):
    download.extract(DATA / "sign-digits" / "sign-digits-500jpg.tar", tmp_path)
    (folder,) = tmp_path.rglob("Dataset")
    photos = ImageFolder(folder, size=48)
    assert photos.classes == [str(digit) for digit in range(10)] and np.bincount(photos.labels).tolist() == [50] * 10
    batches = [list(DataLoader(photos, 32, shuffle=True, workers=workers)) for workers in (0, 3)]
    for (x, y), (a, b) in zip(*batches, strict=True):
        assert x.shape[1:] == (3, 48, 48) and np.array_equal(x.data, a.data) and np.array_equal(y.data, b.data)


# ---- fetching


def source(content):
    return download.Source("https://example.org/f.bin", "set/f.bin", len(content), hashlib.sha256(content).hexdigest())


def test_fetch(tmp_path):
    content, target = b"weft" * 1000, tmp_path / "set" / "f.bin"
    download.fetch(source(content), target, False, lambda url: io.BytesIO(content))
    assert target.read_bytes() == content
    for wrong in (b"left" * 1000, content[:-1], content + b"x"):
        with pytest.raises(download.DownloadError, match="SHA-256.*nothing was kept"):
            download.fetch(source(content), target, False, lambda url, wrong=wrong: io.BytesIO(wrong))

    def fails(url):
        raise ConnectionResetError("reset")

    with pytest.raises(download.DownloadError, match="could not fetch https://example.org/f.bin: reset"):
        download.fetch(source(content), target, False, fails)
    with pytest.raises(download.DownloadError, match="expected an https:// address"):
        download.fetch(source(content)._replace(url="http://example.org"), target, False, fails)
    with pytest.raises(download.DownloadError, match="redirect"):
        download.HttpsOnly().redirect_request(None, None, 302, "", {}, "http://example.org")
    assert target.read_bytes() == content and [path.name for path in target.parent.iterdir()] == ["f.bin"]


def test_get_keeps_what_is_there(tmp_path, monkeypatch):
    content = b"text"
    monkeypatch.setitem(download.SOURCES, "shakespeare", [source(content)])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "f.bin").write_bytes(content)
    monkeypatch.setattr(download, "fetch", None)
    assert download.get("shakespeare", tmp_path) == tmp_path
    with pytest.raises(ValueError, match="expected one of mnist, fashion"):
        download.get("imagenet", tmp_path)


@needs("data/mnist", "data/fashion-mnist", "data/text", "data/gpt2-bpe")
def test_pins_are_those_of_the_real_files():
    for name in ("mnist", "fashion", "shakespeare", "gpt2-bpe"):
        for pinned in download.SOURCES[name]:
            path = DATA / pinned.path
            assert path.stat().st_size == pinned.size and download.digest(path) == pinned.sha256
            assert pinned.url.startswith("https://")


def member(name, kind=tarfile.REGTYPE, link="", content=b"x"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content) if kind == tarfile.REGTYPE else 0
    return info, content


ESCAPES = [
    member("../out"), member("/tmp/out"), member("a/../../out"), member("link", tarfile.SYMTYPE, "/etc/passwd"),
    member("hard", tarfile.LNKTYPE, "../out"), member("pipe", tarfile.FIFOTYPE), member("null", tarfile.CHRTYPE),
]  # fmt: skip


@pytest.mark.parametrize("bad", ESCAPES, ids=lambda item: item[0].name)
def test_archives_that_escape(bad, tmp_path):
    archive, folder = tmp_path / "a.tar", tmp_path / "in" / "folder"
    with tarfile.open(archive, "w") as tar:
        for info, content in (member("good/file", content=b"good"), bad):
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ValueError, match="extract: expected"):
        download.extract(archive, folder)
    assert not folder.exists() and not (tmp_path / "in" / "out").exists()


def test_archives(tmp_path):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for info, content in (member("set/one", content=b"1" * 1000), member("set/two", content=b"")):
            tar.addfile(info, io.BytesIO(content))
    download.extract(archive, tmp_path / "out")
    assert (tmp_path / "out" / "set" / "one").read_bytes() == b"1" * 1000
    assert (tmp_path / "out" / "set" / "two").read_bytes() == b""
    with pytest.raises(ValueError, match="at most 100 bytes"):
        download.extract(archive, tmp_path / "out", max_bytes=100)
