"""Files of other formats: named, refused, and told how to become safetensors.

Pickled files run whatever they say when they are opened, so Weft never opens one. Converting is a step of its own, for
files whose writer is trusted.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from weft.io.header import MAX_HEADER, HeaderError

# Programs of two arguments, the old name and the new: what a file is called is never a part of the program.
PYTORCH = (
    "import sys, torch, safetensors.torch as s; old, new = sys.argv[1:]; "
    "t = torch.load(old, map_location='cpu', weights_only=True); "
    "s.save_file({k: v.contiguous().clone() for k, v in t.items()}, new)"
)
PICKLE = "import pickle, sys, weft; old, new = sys.argv[1:]; weft.save(new, pickle.load(open(old, 'rb')))"
HDF5 = (
    "import h5py, sys, weft; old, new = sys.argv[1:]; t = {}; h5py.File(old).visititems("
    "lambda k, v: t.update({k: v[()]}) if isinstance(v, h5py.Dataset) else None); weft.save(new, t)"
)
KINDS = {
    ".pt": ("a pickled PyTorch file", PYTORCH),
    ".pth": ("a pickled PyTorch file", PYTORCH),
    ".bin": ("a pickled PyTorch file", PYTORCH),
    ".ckpt": ("a pickled PyTorch file", PYTORCH),
    ".pkl": ("a pickle", PICKLE),
    ".h5": ("an HDF5 file", HDF5),
}
FIRST_BYTES = {b"PK\3\4": ".pt", b"\x89HDF": ".h5"} | {bytes([0x80, n]): ".pkl" for n in range(2, 6)}


def refuse_foreign(path: Path, first: bytes) -> None:
    """HeaderError, with a line that converts it, if the name or the first bytes are those of another format.

    first: the first 8 bytes, which in a safetensors file are a length that no header may exceed.
    """
    suffix = path.suffix.lower()
    if suffix not in KINDS:
        if int.from_bytes(first, "little") <= MAX_HEADER:
            return
        suffix = next((kind for start, kind in FIRST_BYTES.items() if first.startswith(start)), "")
    if suffix:
        kind, program = KINDS[suffix]
        names = shlex.join([path.name, f"{path.stem}.safetensors"])
        trust = "" if suffix == ".h5" else ", which can run code when it is opened"
        raise HeaderError(
            f'expected a safetensors file, got {kind}{trust}; convert it once: python -c "{program}" {names}'
        )
