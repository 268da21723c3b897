"""Random numbers from Philox4x32-10: a seed gives the same numbers on every device and for every number of threads.

The stream of a seed is one long sequence of 32-bit words. A generator is a position in it: its whole state is two ints,
(seed, offset), so a checkpoint that holds them continues exactly. Weft starts with seed 0; a program that wants other
numbers each time calls `weft.random.seed(secrets.randbits(64))`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends import capturing
from weft.backends import reference as K
from weft.backends.array import namespace, on_devices
from weft.backends.device import check_device, place
from weft.backends.reference.random import LOW, UNIFORM_BITS, philox4x32, threshold

__all__ = """
    bernoulli fold Generator get_state integers normal permutation seed set_state uniform
""".split()

Shape = int | Sequence[int]
Array = np.ndarray[Any, Any]


class Generator:
    """A position in the stream of a seed. Every draw moves it on; threads may share it.

    seed: 0 <= seed < 2**64.

    >>> import weft
    >>> g = weft.random.Generator(7)
    >>> state = g.get_state()
    >>> a = weft.random.normal((2, 3), generator=g)
    >>> g.set_state(state)
    >>> bool((weft.random.normal((2, 3), generator=g).numpy() == a.numpy()).all())
    True
    """

    __slots__ = ("_lock", "_offset", "_seed")

    def __init__(self, seed: int = 0):
        self._lock = threading.Lock()
        self.set_state((seed, 0))

    def __repr__(self) -> str:
        seed, offset = self.get_state()
        return f"Generator(seed={seed}, offset={offset})"

    def seed(self, seed: int) -> None:
        """Start the stream of `seed` from its beginning."""
        self.set_state((seed, 0))

    def get_state(self) -> tuple[int, int]:
        """(seed, offset): all that `set_state` needs to draw the same numbers again."""
        with self._lock:
            return self._seed, self._offset

    def set_state(self, state: Sequence[int]) -> None:
        """Continue where `get_state` returned `state`; ValueError if it is not such a pair."""
        seed, offset = state
        check_word64("seed", seed)
        check_word64("offset", offset)
        if offset % 4:
            raise ValueError(f"Generator: expected an offset that is a multiple of 4, got {offset}")
        with self._lock:
            self._seed, self._offset = int(seed), int(offset)

    def take(self, n: int) -> tuple[Any, Any]:
        """Reserve `n` words and return where they start, (seed, offset); offsets move in whole blocks of four.

        Two ints; in a step that is being recorded two arrays (1,) on its device, which every replay writes anew.
        """
        seed, offset = self.advance((n + 3) // 4 * 4)
        recorder = capturing.state.recorder
        return (seed, offset) if recorder is None else recorder.draw(self, seed, offset)

    def advance(self, n: int) -> tuple[int, int]:
        """Move on by `n` words, a multiple of 4; returns the state before."""
        with self._lock:
            offset = self._offset
            self._offset = offset + n
            return self._seed, offset

    # Raw arrays, for what is itself made of arrays: initialisers, samplers, augmentation.

    def bits_array(self, n: int) -> Array:
        """`n` words as uint32 (n,)."""
        on_host()
        seed, offset = self.take(n)
        return K.random_bits(np.empty(n, np.uint32), seed=seed, offset=offset)

    def uniform_array(
        self, shape: Shape, low: float = 0.0, high: float = 1.0, dtype: Any = np.float32, device: str = "cpu"
    ) -> Any:
        """Uniforms in [low, high) as a raw array of `shape`."""
        out = empty("uniform", shape, dtype, device)
        if not low <= high:
            raise ValueError(f"uniform: expected low <= high, got {low} and {high}")
        seed, offset = self.take(out.size * 2 if out.dtype.char == "d" else out.size)
        K.random_uniform(out, seed=seed, offset=offset)
        if (low, high) != (0.0, 1.0):
            one = out.dtype.type
            out *= one(high - low)
            out += one(low)
            if low < high:  # the sum may have been rounded up to high itself
                xp = namespace(out)
                xp.assign(out, xp.minimum(out, np.nextafter(one(high), one(low))))
        return out

    def normal_array(
        self, shape: Shape, mean: float = 0.0, std: float = 1.0, dtype: Any = np.float32, device: str = "cpu"
    ) -> Any:
        """Normals with this mean and standard deviation as a raw array of `shape`."""
        out = empty("normal", shape, dtype, device)
        if not std >= 0:
            raise ValueError(f"normal: expected std >= 0, got {std}")
        seed, offset = self.take(out.size)
        K.random_normal(out, seed=seed, offset=offset)
        if std != 1.0:
            out *= out.dtype.type(std)
        if mean != 0.0:
            out += out.dtype.type(mean)
        return out

    def integers_array(self, low: int, high: int, shape: Shape = (), dtype: Any = np.int64) -> Array:
        """Integers in [low, high) as an array of `shape`; two words each: the bias is below (high - low) / 2**64."""
        if not low < high:
            raise ValueError(f"integers: expected low < high, got {low} and {high}")
        dtype, n = np.dtype(dtype), count("integers", shape)
        if dtype.kind not in "iu" or low < np.iinfo(dtype).min or high - 1 > np.iinfo(dtype).max:
            raise ValueError(f"integers: expected an integer dtype that holds [{low}, {high}), got {dtype}")
        w = self.bits_array(2 * n).reshape(n, 2).astype(np.uint64)
        out = scale64(w[:, 0], w[:, 1], high - low) + np.uint64(low % 2**64)  # modulo 2**64: low may be negative
        return out.astype(dtype).reshape(shape)

    def permutation_array(self, n: int) -> Array:
        """The integers 0 to n - 1 in random order, int64 (n,): their order by 64-bit keys, by index where keys tie."""
        count("permutation", n)
        w = self.bits_array(2 * n).reshape(n, 2).astype(np.uint64)
        return np.argsort(w[:, 0] << 32 | w[:, 1], kind="stable").astype(np.int64, copy=False)

    def bernoulli_array(self, p: float, shape: Shape = ()) -> Array:
        """True with probability `p` (in steps of 2**-24) as a bool array of `shape`."""
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"bernoulli: expected 0 <= p <= 1, got {p}")
        return (self.bits_array(count("bernoulli", shape)) >> 8 < threshold(p)).reshape(shape)


def check_word64(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"Generator: expected an integer {name}, got {value!r}")
    if not 0 <= value < 2**64:
        raise ValueError(f"Generator: expected 0 <= {name} < 2**64, got {value}")


default_generator = Generator(0)


def seed(n: int) -> None:
    """Start the default generator at the beginning of the stream of `n`, 0 <= n < 2**64.

    >>> weft.random.seed(0)
    >>> a = weft.random.uniform((2,))
    >>> weft.random.seed(0)
    >>> bool((a == weft.random.uniform((2,))).all())
    True
    """
    default_generator.seed(n)


def get_state() -> tuple[int, int]:
    """State of the default generator, (seed, offset).

    >>> weft.random.seed(3)
    >>> weft.random.get_state()
    (3, 0)
    """
    return default_generator.get_state()


def set_state(state: Sequence[int]) -> None:
    """Continue the default generator where `get_state` returned `state`.

    >>> weft.random.set_state((3, 100))
    >>> weft.random.get_state()
    (3, 100)
    """
    default_generator.set_state(state)


def uniform(
    shape: Shape = (),
    low: float = 0.0,
    high: float = 1.0,
    *,
    dtype: Any = np.float32,
    device: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Uniform random numbers in [low, high), a Tensor of `shape`.

    dtype: float64, float32, float16 or bfloat16.  ValueError unless low <= high.

    >>> import weft
    >>> weft.random.seed(0)
    >>> weft.random.uniform((3,)).numpy()
    array([0.39904642, 0.88052016, 0.73571277], dtype=float32)
    """
    return Tensor((generator or default_generator).uniform_array(shape, low, high, dtype, check_device(device)))


def normal(
    shape: Shape = (),
    mean: float = 0.0,
    std: float = 1.0,
    *,
    dtype: Any = np.float32,
    device: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normally distributed random numbers, a Tensor of `shape`; Box and Muller (1958) over pairs of words.

    dtype: float64, float32, float16 or bfloat16.  ValueError unless std >= 0.

    >>> import weft
    >>> weft.random.normal((2, 3), std=0.02).shape
    (2, 3)
    """
    return Tensor((generator or default_generator).normal_array(shape, mean, std, dtype, check_device(device)))


def integers(
    low: int,
    high: int,
    shape: Shape = (),
    *,
    dtype: Any = np.int64,
    device: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Random integers, low <= value < high, a Tensor of `shape`.  ValueError unless low < high and dtype holds both.

    >>> import weft
    >>> weft.random.integers(0, 10, (4,)).dtype
    dtype('int64')
    """
    return on_device((generator or default_generator).integers_array(low, high, shape, dtype), device)


def permutation(n: int, *, device: str | None = None, generator: Generator | None = None) -> Tensor:
    """The integers 0 to n - 1 in random order, a Tensor (n,) of int64.

    >>> import weft
    >>> sorted(weft.random.permutation(4).tolist())
    [0, 1, 2, 3]
    """
    return on_device((generator or default_generator).permutation_array(n), device)


def bernoulli(p: float, shape: Shape = (), *, device: str | None = None, generator: Generator | None = None) -> Tensor:
    """True with probability `p`, a bool Tensor of `shape`.  ValueError unless 0 <= p <= 1.

    >>> import weft
    >>> weft.random.bernoulli(1.0, (2,)).tolist()
    [True, True]
    """
    return on_device((generator or default_generator).bernoulli_array(p, shape), device)


def fold(seed: int, *numbers: int) -> int:
    """A new seed for each tuple of numbers, e.g. of a sample from (seed, epoch, index); its stream is independent.

    seed and numbers: 0 <= n < 2**64.

    >>> fold(0, 1, 2) == fold(0, 2, 1)
    False
    """
    check_word64("seed", seed)
    for number in numbers:
        check_word64("number", number)
        # The third counter word is zero in every stream of numbers, so no seed repeats what a stream has drawn.
        a, b, _, _ = philox4x32((number & LOW, number >> 32, 1, 0), (seed & LOW, seed >> 32))
        seed = a | b << 32
    return seed


def count(name: str, shape: Shape) -> int:
    """The number of elements of `shape`, which may be an int."""
    n = 1
    for size in (shape,) if isinstance(shape, int | np.integer) else shape:
        if size < 0:
            raise ValueError(f"{name}: expected sizes >= 0, got {shape}")
        n *= int(size)
    return n


def on_host() -> None:
    """Numbers are about to be drawn on the host."""
    capturing.refuse("random numbers drawn on the host", "draw them on the device, or before the step")


def empty(name: str, shape: Shape, dtype: Any, device: str) -> Any:
    if device == "cpu":
        on_host()
    dtype = np.dtype(dtype)
    if dtype.char not in UNIFORM_BITS:
        raise TypeError(f"{name}: expected a real floating dtype, got {dtype}")
    count(name, shape)
    return np.empty(shape, dtype) if device == "cpu" else on_devices().empty(shape, dtype, device=device)


def scale64(high: Array, low: Array, n: int) -> Array:
    """floor(word * n / 2**64) for 64-bit words given in halves (uint64 arrays of 32-bit values), 1 <= n <= 2**64."""
    n_high, n_low = np.uint64(n >> 32 & LOW), np.uint64(n & LOW)
    if n == 2**64:
        return high << 32 | low
    middle: Any = (low * n_low >> 32) + high * n_low
    return high * n_high + (middle >> 32) + ((middle & LOW) + low * n_high >> 32)


def on_device(array: Array, device: str | None) -> Tensor:
    return Tensor(place(array, check_device(device)))
