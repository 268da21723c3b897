"""TensorFlow.js and onnxruntime-web: fetched once from npm into the cache folder, and never from there by the page.

A package is a tarball of a pinned size and SHA-256 (npm's own pin of it, a SHA-512, was compared); out of it come the
few files that a page needs, each with a pinned SHA-256 of its own, which is checked again whenever they are asked for.
"""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import NamedTuple

from weft.data.catalog import cache_folder
from weft.data.download import Source, digest, fetch
from weft.io.durable import write_durably

NPM = "https://registry.npmjs.org/"


class File(NamedTuple):
    """One file of a package."""

    member: str  # in the tarball
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.member.rpartition("/")[2]


class Package(NamedTuple):
    """A version of a package on npm, and what a page needs of it."""

    source: Source
    license: str
    files: tuple[File, ...]


PACKAGES = {
    "tfjs": Package(
        Source(NPM + "@tensorflow/tfjs/-/tfjs-4.22.0.tgz", "npm/tfjs-4.22.0.tgz", 30_566_337,
               "56505c191e24116787477b3bb5bb1cc0cf1c2bdce8112b9c402a8a2d31cf2f00"),
        "Apache-2.0",
        (File("package/dist/tf.es2017.min.js", 1_105_894,
              "a1f9e32fd9b373cf394905050cf0c8c66238b34925846c065db00d2a34d1c040"),),
    ),
    "onnx": Package(
        Source(NPM + "onnxruntime-web/-/onnxruntime-web-1.30.0.tgz", "npm/onnxruntime-web-1.30.0.tgz", 33_106_585,
               "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"),
        "MIT",
        (File("package/dist/ort.wasm.min.mjs", 50_126,
              "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
         File("package/dist/ort-wasm-simd-threaded.mjs", 24_381,
              "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
         File("package/dist/ort-wasm-simd-threaded.wasm", 14_239_897,
              "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2")),
    ),
}  # fmt: skip


def folder_of(engine: str, cache: Path | None = None) -> Path:
    """Where the files of an engine, tfjs or onnx, are once they are here."""
    source = PACKAGES[engine].source
    return (cache or cache_folder()) / source.path.removesuffix(".tgz")


def is_here(engine: str, cache: Path | None = None) -> bool:
    """Whether every file of the engine is in the cache folder, and is the pinned one."""
    folder = folder_of(engine, cache)
    return all(right(folder / file.name, file) for file in PACKAGES[engine].files)


def right(path: Path, file: File) -> bool:
    return path.is_file() and path.stat().st_size == file.size and digest(path) == file.sha256


def get(engine: str, cache: Path | None = None, *, progress: bool = True) -> Path:
    """The folder with the files of an engine, tfjs or onnx, which are fetched from npm unless they are here.

    DownloadError if npm does not answer or sends another file than the pinned one; nothing is kept then.

    >>> sorted(file.name for file in weft.browser.runtime.get("tfjs").iterdir())            # doctest: +SKIP
    ['tf.es2017.min.js']
    """
    folder, package = folder_of(engine, cache), PACKAGES[engine]
    if not is_here(engine, cache):
        tarball = folder.with_name(Path(package.source.path).name)
        if not (tarball.is_file() and digest(tarball) == package.source.sha256):
            fetch(package.source, tarball, progress)
        unpack(tarball, package.files, folder)
        tarball.unlink()
    return folder


def unpack(tarball: Path, files: tuple[File, ...], folder: Path) -> None:
    """Take the pinned files out of a tarball; ValueError if one is missing or differs."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tarball) as tar:
        for file in files:
            try:
                member = tar.getmember(file.member)
            except KeyError:
                raise ValueError(f"{tarball}: expected {file.member}, got no such file") from None
            reader = tar.extractfile(member) if member.isreg() and member.size == file.size else None
            content = reader.read() if reader else b""
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise ValueError(f"{tarball}: expected {file.member} with SHA-256 {file.sha256}, got another file")
            write_durably(folder / file.name, [content])
