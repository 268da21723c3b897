"""Transforms of shape: mirrored, cut out, turned, shifted, scaled, sheared, seen from aside.

Where a result's pixels fall between those of the image, values are interpolated linearly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weft.data.augment.base import (
    Array,
    Span,
    as_pixels,
    check_chance,
    check_images,
    check_pixels,
    check_size,
    check_span,
)
from weft.data.samplerandom import SampleRandom

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")
PIXELS_AT_ONCE = 1 << 15  # so that what is computed from them stays in cache
MAX_LEAN = 89.0  # degrees; at 90 an image has no height


class RandomHorizontalFlip:
    """Left and right exchanged, with probability `p`.

    >>> images = np.arange(3, dtype=np.float32).reshape(1, 1, 1, 3)
    >>> RandomHorizontalFlip(p=1.0)(images, SampleRandom(0, 0, np.arange(1))).ravel()
    array([2., 1., 0.], dtype=float32)
    """

    def __init__(self, p: float = 0.5):
        self.p = check_chance("RandomHorizontalFlip", p)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_images("RandomHorizontalFlip", x)
        flip = rng.uniform() < self.p  # (N,)
        return np.where(flip[:, None, None, None], x[..., ::-1], x)


class RandomVerticalFlip:
    """Top and bottom exchanged, with probability `p`.

    >>> images = np.arange(3, dtype=np.float32).reshape(1, 1, 3, 1)
    >>> RandomVerticalFlip(p=1.0)(images, SampleRandom(0, 0, np.arange(1))).ravel()
    array([2., 1., 0.], dtype=float32)
    """

    def __init__(self, p: float = 0.5):
        self.p = check_chance("RandomVerticalFlip", p)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_images("RandomVerticalFlip", x)
        flip = rng.uniform() < self.p  # (N,)
        return np.where(flip[:, None, None, None], x[:, :, ::-1], x)


class RandomCrop:
    """Each image framed by `padding` pixels, then cut out of it at random: a random shift.

    size: height and width that are cut out, or one int for both; the image's own if left out. padding_mode: what the
    frame shows: "constant" (`fill`), "edge", "reflect" or "symmetric", as in `numpy.pad`.
    ValueError where a framed image is smaller than `size`.

    >>> RandomCrop(2)(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(
        self, padding: int = 0, size: int | Sequence[int] | None = None, *, padding_mode: str = "constant",
        fill: float = 0.0,
    ):  # fmt: skip
        if padding < 0 or (padding == 0 and size is None):
            raise ValueError(f"RandomCrop: expected padding >= 1, or >= 0 with a size, got {padding}")
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"RandomCrop: expected padding_mode in {', '.join(PADDING_MODES)}, got {padding_mode!r}")
        if fill != 0 and padding_mode != "constant":
            raise ValueError(f"RandomCrop: expected a fill with padding_mode 'constant' alone, got {padding_mode!r}")
        self.padding, self.padding_mode, self.fill = padding, padding_mode, fill
        self.size = None if size is None else check_size("RandomCrop", size)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_images("RandomCrop", x)
        height, width = self.size or x.shape[2:]
        p = self.padding
        rooms = x.shape[2] + 2 * p - height, x.shape[3] + 2 * p - width
        if min(rooms) < 0:
            raise ValueError(f"RandomCrop: expected images that are {height} x {width} with {p} pixels around them, "
                             f"got {x.shape}")  # fmt: skip
        if p:
            options = {"constant_values": check_fill("RandomCrop", x, self.fill)}
            x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), mode=self.padding_mode,  # type: ignore[call-overload]
                       **(options if self.padding_mode == "constant" else {}))  # fmt: skip
        windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(2, 3))  # (N, C, P, P, H, W)
        if rooms[0] == rooms[1]:
            top, left = rng.integers(0, rooms[0] + 1, (2,)).T
        else:
            top, left = rng.integers(0, rooms[0] + 1), rng.integers(0, rooms[1] + 1)
        return windows[np.arange(len(x)), :, top, left]


class CenterCrop:
    """The middle of each image: `size` its height and width, or one int for both.

    ValueError for smaller images. Where the rest is odd, the larger part of it is cut off below and to the right.

    >>> CenterCrop(4)(np.ones((2, 3, 8, 8), np.float32)).shape
    (2, 3, 4, 4)
    """

    def __init__(self, size: int | Sequence[int]):
        self.size = check_size("CenterCrop", size)

    def __call__(self, x: Array, rng: SampleRandom | None = None) -> Array:
        check_images("CenterCrop", x)
        height, width = self.size
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        if top < 0 or left < 0:
            raise ValueError(f"CenterCrop: expected images of at least {height} x {width}, got {x.shape}")
        return x[:, :, top : top + height, left : left + width].copy()


class RandomAffine:
    """Turned, shifted, scaled and sheared about the centre.

    degrees: turned by up to so many either way, clockwise where positive, or from the pair (smallest, largest).
    translate: shifted by up to these parts (of the width, of the height), each 0 to 1. scale: (smallest, largest)
    factor. shear: columns leaned over by up to so many degrees either way, or from the pair; of four numbers the last
    two lean the rows; all within -89 to 89. fill: what shows outside the image, in the images' own range.
    uint8 or float32.

    >>> RandomAffine(degrees=10)(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(
        self,
        degrees: Span,
        translate: tuple[float, float] = (0.0, 0.0),
        scale: tuple[float, float] = (1.0, 1.0),
        shear: Span = 0.0,
        fill: float = 0.0,
    ):
        if not all(0 <= t <= 1 for t in translate) or not 0 < scale[0] <= scale[1]:
            raise ValueError("RandomAffine: expected translate within 0 to 1 and 0 < scale[0] <= scale[1], "
                             f"got {translate} and {scale}")  # fmt: skip
        self.degrees = check_span("RandomAffine", "degrees", degrees, centre=0)
        self.translate, self.scale, self.fill = translate, scale, fill
        four = not isinstance(shear, (int, float)) and len(shear) == 4
        spans: list[Span] = [shear[:2], shear[2:]] if four else [shear, 0.0]  # type: ignore[index]
        lean = {"centre": 0.0, "low": -MAX_LEAN, "high": MAX_LEAN}
        self.shear = [check_span("RandomAffine", "shear", span, **lean) for span in spans]

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_pixels("RandomAffine", x)
        height, width = x.shape[2:]
        angle = np.deg2rad(rng.uniform(*self.degrees))
        shrink = 1 / rng.uniform(*self.scale)
        reach = np.array(self.translate, np.float32) * np.array([width, height], np.float32)
        shift = rng.uniform(-1, 1, (2,)) * reach  # (N, 2)
        cos, sin = np.cos(angle) * shrink, np.sin(angle) * shrink  # (N,)
        # Where each pixel of the result comes from: the inverse turn of its place about the centre.
        inverse = np.array([[cos, sin], [-sin, cos]])  # of (x, y): (2, 2, N)
        if any(span != (0, 0) for span in self.shear):
            lean_x, lean_y = np.tan(np.deg2rad([rng.uniform(*span) for span in self.shear]))  # (N,) each
            inverse = np.stack([inverse[0], inverse[1] + lean_y * inverse[0]])
            inverse = np.stack([inverse[0] + lean_x * inverse[1], inverse[1]])
        (xx, xy), (yx, yy) = inverse.astype(np.float32)[..., None, None]  # (N, 1, 1) each
        middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
        to_y = (np.arange(height, dtype=np.float32) - middle_y)[None, :, None] - shift[:, 1, None, None]
        to_x = (np.arange(width, dtype=np.float32) - middle_x)[None, None, :] - shift[:, 0, None, None]
        from_x = xx * to_x + xy * to_y + np.float32(middle_x)  # (N, H, W)
        from_y = yy * to_y + yx * to_x + np.float32(middle_y)
        return sample_bilinear(x, from_y, from_x, check_fill("RandomAffine", x, self.fill))


class RandomPerspective:
    """Each image with probability `p` as it would look from aside: its corners moved inwards.

    distortion_scale: how far a corner moves at the most, as a part of half the width and half the height, 0 to 1.
    fill: what shows outside the image, in the images' own range. uint8 or float32.

    >>> RandomPerspective()(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(self, distortion_scale: float = 0.5, p: float = 0.5, fill: float = 0.0):
        if not 0 <= distortion_scale <= 1:
            raise ValueError(f"RandomPerspective: expected 0 <= distortion_scale <= 1, got {distortion_scale}")
        self.distortion_scale, self.fill = distortion_scale, fill
        self.p = check_chance("RandomPerspective", p)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_pixels("RandomPerspective", x)
        fill = check_fill("RandomPerspective", x, self.fill)
        height, width = x.shape[2:]
        half = np.array([width / 2, height / 2], np.float32)
        inwards = rng.uniform(0, self.distortion_scale, (4, 2)) * half  # (N, 4, 2)
        chosen = np.flatnonzero((rng.uniform() < self.p) & (inwards != 0).any(axis=(1, 2)))
        out = x.copy()
        if len(chosen):
            corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float64)
            moved = corners + inwards[chosen] * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
            matrix = homography(moved, corners)  # (n, 3, 3)
            y, z = np.mgrid[:height, :width].reshape(2, -1)
            source = matrix @ np.stack([z, y, np.ones_like(y)])  # (n, 3, H * W)
            from_x, from_y = (source[:, :2] / source[:, 2:]).reshape(-1, 2, height, width).swapaxes(0, 1)
            out[chosen] = sample_bilinear(x[chosen], from_y.astype(np.float32), from_x.astype(np.float32), fill)
        return out


def homography(start: Array, end: Array) -> Array:
    """The maps (N, 3, 3) of the plane that take four points (x, y), start (N, 4, 2), to end (4, 2).

    Their last entry is 1; the other eight solve the equations (a x + b y + c) = X (g x + h y + 1) and the like for Y.
    """
    n, (x, y) = len(start), np.moveaxis(start, 2, 0)  # (N, 4)
    goal_x, goal_y = end.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    for_x = np.stack([x, y, one, zero, zero, zero, -goal_x * x, -goal_x * y], axis=-1)  # (N, 4, 8)
    for_y = np.stack([zero, zero, zero, x, y, one, -goal_y * x, -goal_y * y], axis=-1)
    goals = np.broadcast_to(np.concatenate([goal_x, goal_y])[:, None], (n, 8, 1))
    solved = np.linalg.solve(np.concatenate([for_x, for_y], axis=1), goals)[..., 0]
    return np.concatenate([solved, np.ones((n, 1))], axis=1).reshape(n, 3, 3)


def check_fill(name: str, x: Array, fill: float) -> float:
    if x.dtype == np.uint8 and not (0 <= fill <= 255 and fill == int(fill)):
        raise ValueError(f"{name}: expected a fill that is an integer within 0 to 255 for uint8, got {fill}")
    return fill


def sample_bilinear(x: Array, y: Array, z: Array, fill: float = 0.0) -> Array:
    """Values of images (N, C, H, W) at rows `y` and columns `z`, float32 (N, H', W'); `fill` outside."""
    n, channels, height, width = x.shape
    step = max(1, PIXELS_AT_ONCE // (y.shape[1] * y.shape[2]))
    if n > step:
        parts = [slice(i, i + step) for i in range(0, n, step)]
        return np.concatenate([sample_bilinear(x[part], y[part], z[part], fill) for part in parts])
    framed = np.full((n, height + 2, width + 2, channels), fill, np.float32)  # neighbours outside that exist
    framed[:, 1:-1, 1:-1] = x.transpose(0, 2, 3, 1)
    y, z = np.clip(y, -1, height) + 1, np.clip(z, -1, width) + 1
    top = np.minimum(y.astype(np.int64), height)
    left = np.minimum(z.astype(np.int64), width)
    down, right = (y - top)[..., None], (z - left)[..., None]  # (N, H', W', 1)
    place = top * (width + 2) + left + (np.arange(n) * (height + 2) * (width + 2))[:, None, None]
    pixels = framed.reshape(n * (height + 2) * (width + 2), channels)

    def between(first: int, second: int, part: Array) -> Array:
        out, other = pixels.take(place + first, axis=0), pixels.take(place + second, axis=0)
        other -= out
        other *= part
        out += other
        return out

    out = between(0, 1, right)
    below = between(width + 2, width + 3, right)
    below -= out
    below *= down
    out += below
    return np.ascontiguousarray(as_pixels(out, x).transpose(0, 3, 1, 2))
