"""What is done to spectrograms, against what it does to sounds, and sequence by sequence."""

from __future__ import annotations

import numpy as np
import pytest

from weft.data import (
    SampleRandom,
    SpecAugment,
    mel_filterbank,
    normalise_frames,
    pad_frames,
    spectrogram,
    stretch_frames,
    trim_silence,
    warp_filters,
)

rng = np.random.default_rng()


def test_a_warped_voice_is_a_voice_of_that_pitch():
    rate, filters = 8000, mel_filterbank(129, 24, 8000)
    time = np.arange(4000) / rate
    for factor in (0.8, 1.25):
        low, high = (np.sin(2 * np.pi * f * time) for f in (900, 900 * factor))
        found = spectrogram(low, 256, 128) @ warp_filters(filters, factor)
        want = spectrogram(high, 256, 128) @ filters
        plain = spectrogram(low, 256, 128) @ filters
        assert found[10].argmax() == want[10].argmax() != plain[10].argmax()
    assert np.array_equal(warp_filters(filters, 1.0), filters)


def test_silence_is_cut_off():
    quiet, loud = rng.random((9, 5)) * 1e-4, rng.random((6, 5)) + 1
    power = np.concatenate([quiet[:4], loud[:3], quiet[:2], loud[3:], quiet[4:]])
    assert np.array_equal(trim_silence(power, 24, 1), power[3:13]) and len(trim_silence(power, 90)) == len(power)
    assert len(trim_silence(np.zeros((7, 5)))) == 7  # all equally loud


def test_padding_and_normalising_are_by_sequence():
    sequences = [rng.normal(5, 3, (t, 4)).astype(np.float32) for t in (3, 9, 6)]
    x, lengths = pad_frames(sequences, 7)
    assert x.shape == (3, 7, 4) and lengths.tolist() == [3, 7, 6] and x.dtype == np.float32
    found = normalise_frames(x, lengths)
    assert found.dtype == np.float32
    for row, sequence, length in zip(found, sequences, lengths):
        own = sequence[:length] - sequence[:length].mean(axis=0)
        assert np.allclose(row[:length], own / own.std(), atol=1e-5) and not row[length:].any()
    gain = normalise_frames(3 * x + np.float32(rng.normal()), lengths)
    assert np.allclose(gain, found, atol=1e-4)
    assert pad_frames(sequences)[0].shape == (3, 9, 4)
    assert pad_frames([*sequences, np.ones((2, 4))])[0].dtype == np.float64


def test_stretching_interpolates():
    x, lengths, factors = rng.random((3, 20, 2)), np.array([20, 9, 5]), np.array([0.5, 1.0, 1.6])
    found, longer = stretch_frames(x, lengths, factors)
    assert longer.tolist() == [10, 9, 8] and np.allclose(found[1], x[1])
    for n in range(3):
        for t in range(longer[n]):
            want = [np.interp(t / factors[n], np.arange(20), x[n, :, d]) for d in range(2)]
            assert np.allclose(found[n, t], want, atol=1e-5)
    assert stretch_frames(np.ones((1, 1, 2)), [1], [3.0])[0].shape == (1, 1, 2)


def test_masks_are_stretches_of_the_stated_length():
    x = np.ones((400, 30, 16), np.float32)
    augment = SpecAugment(frames=6, bands=3, count=1)
    found = augment(x, SampleRandom(1, 2, np.arange(400)))
    frames, bands = (found == 0).all(axis=2).sum(axis=1), (found == 0).all(axis=1).sum(axis=1)
    assert np.unique(frames).tolist() == list(range(7)) and np.unique(bands).tolist() == list(range(4))
    assert not found[:, 0].all() and not found[:, -1].all(), "the first and the last frame are reached"
    rows = np.array([7, 3])
    assert np.array_equal(augment(x[rows], SampleRandom(1, 2, rows)), found[rows]), "each by its own random numbers"
    assert np.array_equal(SpecAugment(0, 0)(x, SampleRandom(0, 0, np.arange(400))), x)


@pytest.mark.parametrize(
    "call, message",
    [(lambda: trim_silence(np.zeros((0, 3))), r"got \(0, 3\)"), (lambda: trim_silence(np.ones((2, 3)), 0), "got .* 0"),
     (lambda: pad_frames([]), "got none"), (lambda: pad_frames([np.ones((2, 3)), np.ones((2, 4))]), "of one D"),
     (lambda: warp_filters(np.ones((3, 2)), 0), "factor > 0"),
     (lambda: stretch_frames(np.ones((2, 3, 4)), [1, 1], [1.0]), r"factors \(2,\) > 0, got \(1,\)"),
     (lambda: stretch_frames(np.ones((1, 3, 4), int), [1], [1.0]), "floating x .* got int64"),
     (lambda: stretch_frames(np.ones((1, 3, 4)), [4], [1.0]), "lengths of 1 to 3, got 4 to 4"),
     (lambda: stretch_frames(np.ones((1, 3, 4)), [1], [0.0]), "factors .* > 0"),
     (lambda: normalise_frames(np.ones((1, 3, 4)), [0]), "lengths of 1 to 3, got 0 to 0"),
     (lambda: normalise_frames(np.ones((2, 3, 4)), [2, 4]), "got 2 to 4"),
     (lambda: SpecAugment(-1, 2), "got -1, 2 and 1"),
     (lambda: SpecAugment(1, 2)(np.ones((3, 4, 5)), SampleRandom(0, 0, np.arange(2))), r"expected x \(2, T, D\)")],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
