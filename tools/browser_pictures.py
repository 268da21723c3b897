"""Takes the pictures of docs/browser.md: the page of `weft serve mnist-cnn` in Chromium, bright and dark, drawn upon.

WEFT_DATA=... python tools/browser_pictures.py      # docs/images/browser.png and browser-dark.png
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from weft.browser.chromium import Chromium
from weft.cli import serve

ROOT = Path(__file__).resolve().parent.parent

# Corners of a two and a five as a hand draws them, in shares of the paper's side.
TWO = [(0.31, 0.36), (0.34, 0.26), (0.44, 0.19), (0.56, 0.2), (0.65, 0.29), (0.63, 0.42), (0.53, 0.56), (0.4, 0.69),
       (0.3, 0.8), (0.4, 0.79), (0.55, 0.79), (0.71, 0.8)]  # fmt: skip
FIVE = [[(0.42, 0.2), (0.39, 0.33), (0.36, 0.46), (0.46, 0.43), (0.57, 0.45), (0.65, 0.55), (0.64, 0.68), (0.55, 0.78),
         (0.43, 0.8), (0.33, 0.76)], [(0.42, 0.2), (0.55, 0.2), (0.67, 0.19)]]  # fmt: skip


def smooth(corners: list[tuple[float, float]], steps: int = 12) -> list[tuple[float, float]]:
    """A curve through all corners.  Source: Catmull and Rom, 1974."""
    p = np.array([corners[0], *corners, corners[-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:])
    ]
    return [*map(tuple, np.concatenate(parts)), corners[-1]]


def take(url: str, path: Path, strokes: list[list[tuple[float, float]]], dark: bool) -> None:
    with Chromium(dark=dark, webgl=True) as chrome:
        chrome.open(url)
        chrome.wait("document.body && document.body.dataset.ready")
        x, y, side = chrome.value("weft.paper()")
        for stroke in strokes:
            chrome.mouse([(x + side * a, y + side * b) for a, b in smooth(stroke)])
        chrome.value("new Promise((done) => setTimeout(done, 1500))")
        texts = "['best', 'speed', 'check'].map((id) => document.getElementById(id).textContent)"
        print(*chrome.value(texts), sep="; ")
        chrome.screenshot(path)


if __name__ == "__main__":
    server = serve.start("mnist-cnn", None, None, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    images = ROOT / "docs" / "images"
    take(server.url, images / "browser.png", [TWO], dark=False)
    take(server.url, images / "browser-dark.png", FIVE, dark=True)
    server.shutdown()
