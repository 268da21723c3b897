"""Wav files and log-mel spectrograms, against SciPy, the sums written out, and transformers' filters."""

from __future__ import annotations

import io
import struct
import tarfile
import wave

import numpy as np
import pytest

from policy import DATA, needs
from weft.data import MissingDataError, log_mel, mel_filterbank, read_wav, spectrogram, spoken_digits
from weft.data.audio import hertz_to_mel, mel_to_hertz

rng = np.random.default_rng()


def wav(samples, width=2, rate=8000, channels=1):
    """The bytes of a wav file of whole numbers."""
    packed = [int(s + 128).to_bytes(1, "little") if width == 1 else int(s).to_bytes(width, "little", signed=True)
              for s in samples]  # fmt: skip
    with wave.open(file := io.BytesIO(), "wb") as out:
        out.setparams((channels, width, rate, 0, "NONE", ""))
        out.writeframes(b"".join(packed))
    return file.getvalue()


# ---- wav


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_wav_of_every_width(width, channels, tmp_path):
    top = 1 << (8 * width - 1)
    whole = np.r_[-top, top - 1, 0, rng.integers(-top, top, 12 * channels - 3)]
    (tmp_path / "x.wav").write_bytes(wav(whole, width, 11025, channels))
    for given in (tmp_path / "x.wav", str(tmp_path / "x.wav"), wav(whole, width, 11025, channels)):
        samples, rate = read_wav(given)
        assert samples.dtype == np.float32 and rate == 11025
        want = (whole / top).reshape((-1, channels) if channels > 1 else -1)
        assert np.array_equal(samples, want.astype(np.float32))


@needs("scipy")
def test_wav_as_scipy_reads_it():
    from scipy.io import wavfile

    content = wav(rng.integers(-32768, 32768, 500))
    rate, whole = wavfile.read(io.BytesIO(content))
    assert np.array_equal(read_wav(content).samples * 32768, whole) and read_wav(content).rate == rate


def test_wav_that_is_damaged(tmp_path):
    content = wav(rng.integers(-9, 9, 100))
    for end in (0, 3, 12, 30, 43, len(content) - 1, len(content) - 60):
        with pytest.raises(ValueError, match="read_wav: expected"):
            read_wav(content[:end])
    for at in range(0, 44):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[at] ^= 1 << bit
            try:
                read_wav(bytes(damaged))
            except ValueError as error:
                assert str(error).startswith("read_wav: expected")
    floats = content[:20] + struct.pack("<H", 3) + content[22:]
    with pytest.raises(ValueError, match="unknown format"):
        read_wav(floats)
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "absent.wav")


# ---- spectrograms


@pytest.mark.parametrize("shape, size, hop", [((1000,), 64, 16), ((2, 3, 700), 100, 37), ((51,), 51, 51)])
@pytest.mark.parametrize("center", [True, False])
def test_spectrogram_is_the_sum_it_says(shape, size, hop, center):
    x = rng.standard_normal(shape)
    found = spectrogram(x, size, hop, center=center)
    framed = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(size // 2,) * 2], mode="reflect") if center else x
    starts = range(0, framed.shape[-1] - size + 1, hop)
    assert found.shape == (*shape[:-1], len(starts), size // 2 + 1)
    k = np.arange(size)
    waves = np.exp(-2j * np.pi * np.outer(k, np.arange(size // 2 + 1)) / size) * np.sin(np.pi * k / size)[:, None] ** 2
    want = np.stack([abs(framed[..., s : s + size] @ waves) ** 2 for s in starts], axis=-2)
    assert np.allclose(found, want, rtol=1e-9, atol=1e-9)
    assert spectrogram(x.astype(np.float32), size, hop, center=center).dtype == np.float32


@needs("scipy")
def test_spectrogram_as_scipy_computes_it():
    from scipy.signal import ShortTimeFFT, get_window

    x = rng.standard_normal(2000)
    own = spectrogram(x, 128, 32, center=False)
    # SciPy's frame p has sample 32 p in its middle, so that which begins at 0 is the third.
    other = ShortTimeFFT(get_window("hann", 128), hop=32, fs=1).stft(x, p0=2, p1=2 + len(own))  # (bins, frames)
    assert np.allclose(own, abs(other.T) ** 2)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_scales(scale):
    hertz = np.r_[0, 999.9, 1000, 1000.1, rng.uniform(0, 20000, 100)]
    assert np.allclose(mel_to_hertz(hertz_to_mel(hertz, scale), scale), hertz, atol=1e-6)
    assert (np.diff(hertz_to_mel(np.sort(hertz), scale)) >= 0).all()
    for convert in (hertz_to_mel, mel_to_hertz):
        with pytest.raises(ValueError, match="scale htk or slaney, got 'bark'"):
            convert(1.0, "bark")


@needs("transformers")
@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
def test_filters_and_spectrograms_as_transformers_computes_them(scale, norm):
    from transformers import audio_utils as theirs

    for bins, mels, rate, low, high in ((129, 20, 8000, 0, 4000), (201, 40, 16000, 50, 7000)):
        want = theirs.mel_filter_bank(bins, mels, low, high, rate, norm=norm, mel_scale=scale)
        own = mel_filterbank(bins, mels, rate, low=low, high=high, scale=scale, norm=norm)
        assert np.allclose(own, want, atol=1e-12)
        x, size = rng.standard_normal(3000), 2 * (bins - 1)
        other = theirs.spectrogram(x, theirs.window_function(size, "hann"), size, 80, power=2.0, mel_filters=want,
                                   mel_floor=1e-10, log_mel="log", dtype=np.float64)  # fmt: skip
        found = log_mel(x, rate, size=size, hop=80, mels=mels, low=low, high=high, scale=scale, norm=norm)
        assert np.allclose(found, other.T, rtol=1e-6, atol=1e-6)


def test_filters_touch_their_neighbours():
    filters = mel_filterbank(513, 12, 8000)
    inside = slice(filters[:, 0].argmax() + 1, filters[:, -1].argmax())
    assert np.allclose(filters.sum(axis=1)[inside], 1)
    silence = log_mel(np.zeros(4000, np.float32), 8000, floor=1e-4)
    assert silence.dtype == np.float32 and np.allclose(silence, np.log(1e-4))


@pytest.mark.parametrize(
    "call, message",
    [(lambda: spectrogram(np.zeros(9, int), 4, 2), r"floats, got int64 \(9,\)"),
     (lambda: spectrogram(np.zeros(4), 8, 2), "at least 5 samples for frames of 8, got 4"),
     (lambda: spectrogram(np.zeros(7), 8, 2, center=False), "at least 8 samples"),
     (lambda: spectrogram(np.zeros(9), 4, 0), "hop >= 1, got 4 and 0"),
     (lambda: mel_filterbank(129, 20, 8000, high=5000), "low < high <= rate / 2"),
     (lambda: mel_filterbank(129, 20, 8000, norm="area"), "norm None or slaney"),
     (lambda: mel_filterbank(33, 40, 8000), "a frequency in every triangle, got none in [0-9]+ of 40")],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- the spoken digits


def archive(path, files):
    with tarfile.open(path, "w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def test_spoken_digits_from_an_archive_and_a_clone(tmp_path):
    takes = {
        f"{d}_{who}_{i}.wav": rng.integers(-99, 99, 30 + d) for d in (7, 2) for who in ("bo", "al") for i in (1, 0)
    }
    files = {f"recordings/{name}": wav(samples) for name, samples in takes.items()}
    archive(tmp_path / "fsdd-3000wav.tar.xz", {"README.md": b"text", "recordings/link.wav": None, **files})
    spoken = spoken_digits(tmp_path)
    assert spoken.rate == 8000 and spoken.labels.tolist() == [2, 2, 7, 7] * 2 and spoken.takes.tolist() == [0, 1] * 4
    assert spoken.speakers.tolist() == ["al"] * 4 + ["bo"] * 4
    for sound, label, who, take in zip(*spoken[:4]):
        assert np.array_equal(sound * 32768, takes[f"{label}_{who}_{take}.wav"]) and not sound.flags.writeable
    assert spoken_digits(tmp_path) is spoken  # from memory
    clone = tmp_path / "clone" / "free-spoken-digit-dataset" / "recordings"
    clone.mkdir(parents=True)
    for name, content in files.items():
        (clone.parent / name).write_bytes(content)
    again = spoken_digits(tmp_path / "clone")
    assert again is not spoken and all(map(np.array_equal, again.waves, spoken.waves))


def test_archives_that_hold_something_else(tmp_path):
    path = tmp_path / "fsdd-3000wav.tar.xz"
    good = wav(range(40))
    for files, message in (
        ({"a/readme.txt": b"x"}, "one rate .* got none"),
        ({"a/x_bo_1.wav": good}, "digit_speaker_take.wav"),
        ({"a/1_bo_1.wav": good[:50]}, "read_wav: expected"),
        ({"a/1_bo_1.wav": bytes(1 << 21)}, "at most 1048576 bytes"),
        ({"a/1_bo_1.wav": wav(range(40), channels=2)}, "one channel in 1_bo_1.wav"),
        ({"a/1_bo_1.wav": good, "a/1_bo_2.wav": wav(range(40), rate=16000)}, r"got \[8000, 16000\]"),
    ):
        archive(path, files)
        with pytest.raises(ValueError, match=message):
            spoken_digits(tmp_path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="expected a whole tar archive"):
        spoken_digits(tmp_path)


def test_spoken_digits_that_are_nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("WEFT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(MissingDataError, match="fsdd-3000wav.tar.xz .* from https://github.com/Jakobovski"):
        spoken_digits(tmp_path)


@needs("data/audio")
def test_the_real_spoken_digits():
    spoken = spoken_digits(DATA)
    assert len(spoken.waves) == 3000 and np.unique(spoken.speakers).tolist() == [
        "george", "jackson", "lucas", "nicolas", "theo", "yweweler"]  # fmt: skip
    assert np.bincount(spoken.labels).tolist() == [300] * 10
    assert round(sum(map(len, spoken.waves)) / spoken.rate) == 1312
