"""Random numbers and dropout on devices: philox.cu, the same bits as on the CPU."""

from __future__ import annotations

from typing import Any

from weft.backends import reference as K
from weft.backends.gpu import entry
from weft.backends.gpu.array import contiguous, empty_like
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import apply
from weft.backends.launch import kernel, launch
from weft.backends.reference.dropout import keep_scale
from weft.backends.reference.random import threshold

THREADS = 256
BLOCKS = 4096


def blocks_for(words: int) -> int:
    return max(1, min(-(-words // (4 * THREADS)), BLOCKS))


def stream(seed: Any, offset: Any) -> tuple[Any, Any, Any, Any]:
    """The last arguments of a kernel that draws: seed and offset, and where they lie if they are on the device.

    seed, offset: ints, or arrays of one uint64, which `Generator.take` gives in a step that is being recorded.
    """
    if isinstance(seed, int):
        return seed, offset, None, None
    return 0, 0, seed, offset


def filling(name: str) -> Any:
    """An entry that fills its argument with numbers of a stream, in C order whatever its memory."""

    def fill(out: Any, *, seed: int, offset: int) -> Any:
        target = out if out.flags.c_contiguous else empty_like(out)
        if out.size:
            dtype = "float" if name == "random_bits" else STORAGE[out.dtype.char]
            words = out.size * (2 if name == "random_uniform" and dtype == "double" else 1)
            launch(
                kernel("philox.cu", name, OUT=dtype), (blocks_for(words),), (THREADS,),
                (target, out.size, int(target.pointer % 16 == 0), *stream(seed, offset)),
            )  # fmt: skip
        if target is not out:
            apply("copy", target, out=out)
        return out

    return fill


entry(K.random_bits, "I")(filling("random_bits"))
entry(K.random_uniform, "[fdeE]")(filling("random_uniform"))
entry(K.random_normal, "[fdeE]")(filling("random_normal"))


@entry(K.dropout, "[fdeE]")
def dropout(x: Any, *, p: float, seed: int, offset: int) -> Any:
    source = contiguous(x)
    out = empty_like(source)
    if x.size:
        aligned = source.pointer % 16 == 0 and out.pointer % 16 == 0
        launch(
            kernel("philox.cu", "dropout", OUT=STORAGE[x.dtype.char]), (blocks_for(x.size),), (THREADS,),
            (out, source, x.size, int(aligned), threshold(p), keep_scale(p), *stream(seed, offset)),
        )  # fmt: skip
    return out
