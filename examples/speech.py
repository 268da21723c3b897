"""Spoken digits of a voice never heard before: log-mel spectrograms, a CNN, and accuracy per speaker.

Each of six speakers is held out in turn, and the network learns from the five others. What it hears is varied: longer
and shorter vocal tracts, faster and slower speech, noise, another microphone, stretches hidden. Settings were chosen
with an eye on these six speakers, as there are no others; weights never saw the one that is held out.
"""

import numpy as np

import weft
from weft import metrics, nn, optim
from weft.data import (
    SampleRandom,
    SpecAugment,
    mel_filterbank,
    normalise_frames,
    pad_frames,
    spectrogram,
    spoken_digits,
    stretch_frames,
    trim_silence,
    warp_filters,
)
from weft.recipes.example import Example, main

SIZE, HOP, FRAMES, MELS = 256, 128, 40, 40  # 32 ms every 16 ms: 0.64 s
FLOOR = 0.02  # of the mean power: the noise of the best recording is no better than of the others
hide = SpecAugment(frames=9, bands=7, count=2)


def power_of(waves: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The spectrogram of each recording without silence around it, mean 1: (N, FRAMES, bins), and lengths (N,)."""
    found = [trim_silence(spectrogram(wave, SIZE, HOP)) for wave in waves]
    return pad_frames([power / power.mean() for power in found], FRAMES)


class Ear:
    """Power spectrograms to what the network takes, (N, 1, MELS, FRAMES), varied at random where `rng` is given."""

    def __init__(self, rate: int):
        filters = mel_filterbank(SIZE // 2 + 1, MELS, rate, low=60).astype(np.float32)
        self.filters = np.stack([warp_filters(filters, f) for f in np.exp(np.linspace(-0.24, 0.24, 11))])

    def __call__(self, power: np.ndarray, lengths: np.ndarray, rng: SampleRandom | None = None) -> np.ndarray:
        if rng is None:
            x = np.log(power @ self.filters[5] + np.float32(FLOOR))  # the filter in the middle is not warped
        else:
            voice = rng.integers(0, len(self.filters))
            x = np.empty((*power.shape[:2], MELS), np.float32)
            for v in np.unique(voice):
                x[voice == v] = power[voice == v] @ self.filters[v]
            x, lengths = stretch_frames(x, lengths, rng.uniform(0.75, 1.3))
            noise = 10 ** rng.uniform(-3, -0.5)[:, None, None] * np.exp(rng.uniform(-1, 1, x.shape[1:]))
            slope, swing, phase = rng.uniform(-1, 1, (3,)).T[..., None]  # of the microphone, (N, 1) each
            band = np.linspace(-1, 1, MELS, dtype=np.float32)
            microphone = slope * band + 0.6 * swing * np.cos(np.pi * (band + phase))  # (N, MELS)
            x = np.log(x + noise + np.float32(FLOOR / 3)) + microphone[:, None]
        x = normalise_frames(x, lengths)
        if rng is not None:
            later = np.arange(FRAMES) - rng.integers(-4, 8)[:, None]  # (N, FRAMES)
            x = np.where(((later >= 0) & (later < FRAMES))[..., None],
                         np.take_along_axis(x, later.clip(0, FRAMES - 1)[..., None], axis=1), 0)  # fmt: skip
            x = hide(x, rng)
        return np.ascontiguousarray(x.swapaxes(1, 2)[:, None], np.float32)


def build(width: int) -> nn.Module:
    """(N, 1, MELS, FRAMES) -> scores (N, 10)."""
    layers, before = [], 1
    for channels in (width, 2 * width, 4 * width, 4 * width):
        layers += [nn.Conv2d(before, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
                   nn.MaxPool2d(2)]  # fmt: skip
        before = channels
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(before * (MELS // 16) * (FRAMES // 16), 10))


def learn(ear, power, lengths, labels, train, *, epochs: int, width: int, seed: int, batch: int = 64) -> nn.Module:
    weft.random.seed(seed)
    model, rng = build(width), np.random.default_rng(seed)
    optimizer = optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.02)
    schedule = optim.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * (len(train) // batch))
    for epoch in range(epochs):
        for rows in rng.permutation(train)[: len(train) // batch * batch].reshape(-1, batch):
            heard = weft.asarray(ear(power[rows], lengths[rows], SampleRandom(seed, epoch, rows)))
            loss = nn.functional.cross_entropy(model(heard), weft.asarray(labels[rows]), label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def run(example: Example) -> None:
    spoken = spoken_digits(example.data)
    ear, (power, lengths) = Ear(spoken.rate), power_of(spoken.waves)
    speakers = np.unique(spoken.speakers)
    held_out = example.choose(short=speakers[4:5], default=speakers)
    epochs, width = example.choose(short=2, default=6, full=12), example.choose(short=8, default=16)
    guesses = np.full(len(spoken.labels), -1)
    for speaker in held_out:
        theirs = np.flatnonzero(spoken.speakers == speaker)
        others = np.flatnonzero(spoken.speakers != speaker)
        model = learn(ear, power, lengths, spoken.labels, others, epochs=epochs, width=width, seed=example.seed)
        with weft.no_grad():
            guesses[theirs] = model(weft.asarray(ear(power[theirs], lengths[theirs]))).numpy().argmax(axis=1)
        print(f"{speaker}: {np.mean(guesses[theirs] == spoken.labels[theirs]):.1%}", flush=True)
    heard = guesses >= 0
    table = metrics.by_group(metrics.accuracy, spoken.speakers[heard], spoken.labels[heard], guesses[heard])
    print(table)
    each = 100 * table.column("accuracy")
    example.figure("accuracy on unheard speakers", each.mean(), "%", at_least=example.choose(short=50, default=82),
                   beside={"chance": 10})  # fmt: skip
    example.figure("lowest of a speaker", each.min(), "%", at_least=example.choose(short=50, default=72))
    draw(
        example, ear, power, lengths, spoken, table, metrics.confusion_matrix(spoken.labels[heard], guesses[heard], 10)
    )


def draw(example, ear, power, lengths, spoken, table, confusion) -> None:
    figure, axes = example.canvas(13, 3.8, 4)
    for axis, label in zip(axes, (0, 6)):
        row = np.flatnonzero((spoken.labels == label) & (spoken.speakers == "george"))[:1]
        axis.imshow(ear(power[row], lengths[row])[0, 0], origin="lower", aspect="auto", cmap="magma",
                    extent=(0, FRAMES * HOP / spoken.rate, 0, MELS))  # fmt: skip
        axis.set(title=f'"{"zero six".split()[label // 6]}"', xlabel="seconds", ylabel="mel band")
    bars = axes[2].barh(list(table), 100 * table.column("accuracy"), color="#2166ac")
    axes[2].bar_label(bars, fmt="%.0f", padding=3)
    axes[2].set(title="each speaker held out", xlabel="accuracy in %", xlim=(0, 110))
    axes[2].invert_yaxis()
    axes[3].imshow(np.sqrt(confusion), cmap="Blues")
    axes[3].set(title="what was heard instead", xlabel="heard", ylabel="said", xticks=range(10), yticks=range(10))
    example.picture(figure)


if __name__ == "__main__":
    main(run)
