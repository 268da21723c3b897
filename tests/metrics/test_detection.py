"""Overlaps and mean average precision: cases by hand, and a slow and plain reading of their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from weft import metrics


def boxes_of(rng, n):
    corner = rng.integers(0, 12, (n, 2))
    return np.concatenate([corner, corner + rng.integers(1, 9, (n, 2))], axis=1)  # (n, 4)


def test_box_iou_counts_pixels():
    rng = np.random.default_rng(0)
    first, second = boxes_of(rng, 7), boxes_of(rng, 5)
    masks = [np.zeros((len(boxes), 24, 24), bool) for boxes in (first, second)]
    for boxes, mask in zip((first, second), masks):
        for (x1, y1, x2, y2), one in zip(boxes, mask):
            one[y1:y2, x1:x2] = True
    shared = (masks[0][:, None] & masks[1][None]).sum(axis=(2, 3))
    whole = (masks[0][:, None] | masks[1][None]).sum(axis=(2, 3))
    assert metrics.box_iou(first, second) == pytest.approx(shared / whole)
    assert metrics.box_iou([], second).shape == (0, 5)
    assert metrics.box_iou([[1, 1, 1, 1]], [[1, 1, 1, 1]]).tolist() == [[0.0]]  # no area


def test_average_precision_by_hand():
    # Two truths; found from the highest score on: right, wrong, right: precision 1 up to recall 1/2, then 2/3.
    truth = [([[0, 0, 4, 4]], [0]), ([[0, 0, 4, 4]], [0])]
    found = [([[0, 0, 4, 4], [8, 8, 9, 9]], [0.9, 0.8], [0, 0]), ([[0, 0, 4, 3]], [0.7], [0])]
    assert metrics.mean_average_precision(truth, found) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert metrics.mean_average_precision(truth, found, iou=0.8) == pytest.approx(0.5)
    # A truth is taken once: the second box on it is wrong, whatever it overlaps.
    twice = [([[0, 0, 4, 4]] * 2, [0.9, 0.8], [0, 0]), ([[0, 0, 4, 4]], [0.7], [0])]
    assert metrics.mean_average_precision(truth, twice) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # The right place with the wrong class counts for neither; class 1 has no truth, and no part in the mean.
    wrong = [([[0, 0, 4, 4]], [0.9], [1]), ([[0, 0, 4, 4]], [0.7], [0])]
    each = metrics.mean_average_precision(truth, wrong, average=None)
    assert each[0] == 0.5 and np.isnan(each[1]) and metrics.mean_average_precision(truth, wrong) == 0.5
    # A box that overlaps two truths takes the one it overlaps more, though the other comes first.
    pair = [([[0, 0, 4, 4], [0, 0, 4, 5]], [0, 0])]
    both = [([[0, 0, 4, 5], [0, 0, 4, 3]], [0.9, 0.8], [0, 0])]
    assert metrics.mean_average_precision(pair, both, iou=0.7) == 1.0


def plainly(truths, found, iou):
    """Average precision per class by its definition: the best precision at each recall that is reached."""
    out = {}
    for c in {int(label) for _, labels in truths for label in labels}:
        total = sum(int(np.sum(np.asarray(labels) == c)) for _, labels in truths)
        guesses = [(score, i, box) for i, (boxes, scores, labels) in enumerate(found)
                   for box, score, label in zip(boxes, scores, labels) if label == c]  # fmt: skip
        taken, curve, right = set(), [], 0
        for rank, (_, i, box) in enumerate(sorted(guesses, key=lambda guess: -guess[0]), 1):
            overlaps = [(metrics.box_iou([box], [true])[0, 0], k) for k, (true, label) in
                        enumerate(zip(*truths[i])) if label == c and (i, k) not in taken]  # fmt: skip
            best, k = max(overlaps, default=(0.0, -1))
            if best >= iou:
                taken.add((i, k))
                right += 1
            curve.append((right / total, right / rank))
        levels = sorted({recall for recall, _ in curve} - {0.0})
        steps = np.diff([0.0, *levels])
        out[c] = sum(s * max(p for r, p in curve if r >= level) for s, level in zip(steps, levels))
    return out


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(6):
        boxes, labels = boxes_of(rng, 4), rng.integers(0, 3, 4)
        truths.append((boxes, labels))
        near = np.concatenate([boxes + rng.integers(0, 2, (4, 4)), boxes_of(rng, 3)])
        found.append((near, rng.random(7), np.concatenate([labels, rng.integers(0, 3, 3)])))
    want = plainly(truths, found, 0.5)
    each = metrics.mean_average_precision(truths, found, average=None)
    assert {c: value for c, value in enumerate(each) if not np.isnan(value)} == pytest.approx(want)
    assert metrics.mean_average_precision(truths, found) == pytest.approx(np.mean(list(want.values())))
    assert 0.1 < np.nanmean(each) < 0.95


def test_mean_iou():
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 4, (2, 9, 11)), rng.integers(0, 4, (2, 9, 11))
    predictions[predictions == 3] = 0
    want = [((labels == c) & (predictions == c)).sum() / ((labels == c) | (predictions == c)).sum() for c in range(4)]
    assert metrics.mean_iou(labels, predictions, average=None) == pytest.approx(want)
    assert metrics.mean_iou(labels, predictions) == pytest.approx(np.mean(want))
    assert metrics.mean_iou(labels, predictions, classes=7) == pytest.approx(np.mean(want))  # 4 to 6 are nowhere
    assert np.isnan(metrics.mean_iou([], []))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.box_iou([[3, 0, 1, 1]], []), r"x1 <= x2 and y1 <= y2, got \[3.0, 0.0, 1.0, 1.0\] at 0"),
        (lambda: metrics.box_iou([[0, 0, np.nan, 1]], []), "finite"),
        (lambda: metrics.box_iou([0, 0, 1, 1], []), r"\(N, 4\), got \(4,\)"),
        (lambda: metrics.mean_average_precision([([], [])], []), "as many images, got 1 and 0"),
        (lambda: metrics.mean_average_precision([([[0, 0, 1, 1]], [])], [([], [], [])]), r"truths\[0\].*label per box"),
        (lambda: metrics.mean_average_precision([([], [])], [([[0, 0, 1, 1]], [np.nan], [0])]), "got NaN"),
        (lambda: metrics.mean_average_precision([([[0, 0, 1, 1]], [-1])], [([], [], [])]), "at least 0"),
        (lambda: metrics.mean_average_precision([], [], iou=0), "0 < iou <= 1"),
        (lambda: metrics.mean_average_precision([], [], average="micro"), "macro"),
        (lambda: metrics.mean_iou([0], [0], average="micro"), "macro"),
        (lambda: metrics.mean_iou([0, 1], [0]), "one shape"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
