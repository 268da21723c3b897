"""Windows sliding over images, shared by convolution and pooling: the array code of reading and of adding back.

A tap is one position (a, b) inside the window, counted in C order. `gather` gives for each tap the (OH, OW) pixels that
it meets over all windows; `scatter` is its transpose.
"""

from __future__ import annotations


def output_size(image, kernel, stride, padding, dilation):
    """Image (H, W) -> (OH, OW), the number of windows along each axis."""
    return tuple(
        (n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(image, kernel, stride, padding, dilation)
    )


def gather(xp, x, kernel, size, stride, padding, dilation, value=0):
    """x (N, C, H, W) -> list over taps of (N, C, OH, OW), with `value` around the image."""
    (sh, sw), (dh, dw), (rows, columns) = stride, dilation, size
    if any(map(any, padding)):
        x = xp.pad(x, ((0, 0), (0, 0), *padding), value=value)
    return [
        x[:, :, a * dh : a * dh + rows * sh : sh, b * dw : b * dw + columns * sw : sw]
        for a in range(kernel[0])
        for b in range(kernel[1])
    ]


def scatter(xp, taps, image, kernel, stride, padding, dilation):
    """List over taps of (N, C, OH, OW) -> (N, C, H, W): each pixel is the sum of the taps that meet it."""
    (N, C, rows, columns), (sh, sw), (dh, dw) = taps[0].shape, stride, dilation
    (top, bottom), (left, right) = padding
    height, width = image[0] + top + bottom, image[1] + left + right
    total = None
    for t, tap in enumerate(taps):
        if stride != (1, 1):  # sh - 1 rows and sw - 1 columns of zeros behind each pixel
            tap = xp.reshape(tap, (N, C, rows, 1, columns, 1))
            tap = xp.pad(tap, ((0, 0), (0, 0), (0, 0), (0, sh - 1), (0, 0), (0, sw - 1)))
            tap = xp.reshape(tap, (N, C, rows * sh, columns * sw))
        y, x = t // kernel[1] * dh, t % kernel[1] * dw
        tap = tap[:, :, : height - y, : width - x]  # zeros behind the last window may reach over the edge
        tap = xp.pad(tap, ((0, 0), (0, 0), (y, height - y - tap.shape[2]), (x, width - x - tap.shape[3])))
        total = tap if total is None else total + tap
    return total[:, :, top : top + image[0], left : left + image[1]]
