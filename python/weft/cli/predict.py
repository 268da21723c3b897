"""`weft predict RUN IMAGE...`: the classes of images, by a trained run."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder, such as runs/digits-1")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files that Pillow reads")
    parser.add_argument("--top", type=int, default=3, help="how many classes to name per image (default 3)")


def run(options: argparse.Namespace) -> int:
    import numpy as np

    import weft
    from weft.cli.runs import open_run
    from weft.nn import functional as F

    if options.top < 1:
        raise ValueError(f"expected --top >= 1, got {options.top}")
    recipe, settings, model = open_run(options.run, "prepare")
    with weft.no_grad():
        for path in options.images:
            image = recipe.prepare(path)  # (C, H, W) float32
            shares = F.softmax(model(weft.asarray(image[None])), dim=1).numpy()[0]
            best = np.argsort(-shares)[: options.top]
            print(f"{path}: " + ", ".join(f"{settings['classes'][i]} {100 * shares[i]:.1f} %" for i in best))
    return 0
