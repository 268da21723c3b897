"""Libraries come from npm once, as they were pinned, and nothing else is kept."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from weft.browser import runtime
from weft.data import download


def packed(tmp_path, monkeypatch, content=b"library", member="package/dist/tf.js", kind=None):
    """A package of one file in place of TensorFlow.js; returns the addresses that were asked."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        if kind is not None:
            info.type, info.linkname, info.size = kind, "/etc/hostname", 0
        tar.addfile(info, io.BytesIO(content))
    data, asked = buffer.getvalue(), []
    source = download.Source("https://npm.invalid/tf.tgz", "npm/tf.tgz", len(data), hashlib.sha256(data).hexdigest())
    file = runtime.File("package/dist/tf.js", 7, hashlib.sha256(b"library").hexdigest())
    monkeypatch.setitem(runtime.PACKAGES, "tfjs", (runtime.Package(source, "MIT", (file,)),))
    monkeypatch.setattr(download, "open_https", lambda url: asked.append(url) or io.BytesIO(data))
    return asked


def test_a_library_is_fetched_once(tmp_path, monkeypatch):
    asked = packed(tmp_path, monkeypatch)
    folder = runtime.get("tfjs", tmp_path, progress=False)
    assert (folder / "tf.js").read_bytes() == b"library"
    assert runtime.get("tfjs", tmp_path) == folder and len(asked) == 1
    (folder / "tf.js").write_bytes(b"another")
    assert not runtime.is_here("tfjs", tmp_path)
    runtime.get("tfjs", tmp_path, progress=False)
    assert (folder / "tf.js").read_bytes() == b"library" and len(asked) == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["npm", "tf", "tf.js"]


@pytest.mark.parametrize("damage", [
    {"content": b"another"}, {"member": "package/other.js"}, {"kind": tarfile.SYMTYPE}, {"content": b"library, longer"},
], ids=["another file", "a missing file", "a link", "a longer file"])  # fmt: skip
def test_another_library_is_refused(tmp_path, monkeypatch, damage):
    packed(tmp_path, monkeypatch, **damage)
    with pytest.raises(ValueError, match=r"expected package/dist/tf\.js"):
        runtime.get("tfjs", tmp_path, progress=False)
    assert not runtime.is_here("tfjs", tmp_path)


def test_another_tarball_is_refused(tmp_path, monkeypatch):
    packed(tmp_path, monkeypatch)
    monkeypatch.setattr(download, "open_https", lambda url: io.BytesIO(b"another"))
    with pytest.raises(download.DownloadError, match="SHA-256"):
        runtime.get("tfjs", tmp_path, progress=False)


def test_without_a_network_the_file_can_be_brought(tmp_path, monkeypatch):
    packed(tmp_path, monkeypatch)
    whole = download.open_https("https://npm.invalid/tf.tgz").read()

    def unreachable(url):
        raise OSError("no route")

    monkeypatch.setattr(download, "open_https", unreachable)
    with pytest.raises(download.DownloadError, match=r"no route.* bring it to .*tf\.tgz"):
        runtime.get("tfjs", tmp_path, progress=False)
    (tmp_path / "npm").mkdir(exist_ok=True)
    (tmp_path / "npm" / "tf.tgz").write_bytes(whole)
    assert (runtime.get("tfjs", tmp_path, progress=False) / "tf.js").read_bytes() == b"library"
