"""Sequences of spoken digits read without knowing where each begins: a recurrent network and CTC.

Recordings of a speaker are joined, up to four at a time, and the loss sums over all ways in which the digits may lie
along the frames (Graves et al., 2006). Takes 0 to 4 of each digit and speaker are kept for the test.
"""

import numpy as np

import weft
from weft import metrics, nn, optim
from weft.data import mel_filterbank, normalise_frames, pad_frames, spectrogram, spoken_digits, trim_silence
from weft.recipes.example import Example, main

SIZE, HOP, MELS, BLANK = 256, 128, 32, 10
F = nn.functional


class Listener(nn.Module):
    """Frames (N, T, MELS) -> log-probabilities (T / 2, N, 11) of ten digits and of nothing."""

    def __init__(self, width: int):
        self.near = nn.Sequential(
            nn.Conv1d(MELS, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2),
        )  # fmt: skip
        self.far = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, 11)

    def forward(self, x):
        near = self.near(x.swapaxes(1, 2)).swapaxes(1, 2)  # (N, T / 2, width)
        return F.log_softmax(self.head(self.far(near)[0]), dim=2).swapaxes(0, 1)


class Sentences:
    """Joined recordings, made anew at each call."""

    def __init__(self, spoken):
        filters = mel_filterbank(SIZE // 2 + 1, MELS, spoken.rate, low=60).astype(np.float32)
        self.spoken, self.frames = spoken, []
        for wave in spoken.waves:
            power = trim_silence(spectrogram(wave, SIZE, HOP))
            self.frames.append(np.log(power @ filters / power.mean() + 0.02))  # (t, MELS)

    def draw(self, rows: np.ndarray, count: int, least: int, most: int, rng: np.random.Generator):
        """`count` sequences of `least` to `most` recordings: frames (count, T, MELS), lengths, lists of digits."""
        joined, digits = [], []
        for _ in range(count):
            speaker = rng.choice(self.spoken.speakers[rows])
            chosen = rng.choice(rows[self.spoken.speakers[rows] == speaker], rng.integers(least, most + 1))
            joined.append(np.concatenate([self.frames[row] for row in chosen]))
            digits.append(self.spoken.labels[chosen].tolist())
        x, lengths = pad_frames(joined)
        return normalise_frames(x, lengths), lengths, digits


def heard(model: Listener, x: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    """The likeliest label of each frame, repeats joined and blanks left out."""
    with weft.no_grad():
        best = model(weft.asarray(x)).numpy().argmax(axis=2).T  # (N, T / 2)
    found = []
    for labels, length in zip(best, (lengths + 1) // 2):
        labels = labels[:length]
        starts = np.r_[True, labels[1:] != labels[:-1]]
        found.append(labels[starts & (labels != BLANK)].tolist())
    return found


def run(example: Example) -> None:
    spoken = spoken_digits(example.data)
    sentences = Sentences(spoken)
    test, train = np.flatnonzero(spoken.takes < 5), np.flatnonzero(spoken.takes >= 5)
    steps, width, batch = example.choose(short=140, default=500), example.choose(short=48, default=64), 32
    most = example.choose(short=2, default=4)  # digits of a sequence
    errors, exact = [], []
    for seed in example.seeds():
        weft.random.seed(seed)
        rng, model = np.random.default_rng(seed), Listener(width)
        optimizer = optim.AdamW(model.parameters(), lr=8e-3, weight_decay=0.01)
        schedule = optim.OneCycleLR(optimizer, max_lr=8e-3, total_steps=steps)
        for step in range(steps):
            x, lengths, digits = sentences.draw(
                train, batch, 1, min(most, 1 + 6 * step // steps), rng
            )  # first digits alone
            log_probs = model(weft.asarray(x))
            loss = F.ctc_loss(log_probs, weft.asarray(np.concatenate(digits)), (lengths + 1) // 2,
                              np.array([len(d) for d in digits]), blank=BLANK)  # fmt: skip
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            if step % 60 == 59:
                print(f"step {step + 1}: loss {loss.item():.3f} per digit", flush=True)
        model.eval()
        x, lengths, digits = sentences.draw(test, 300, 2, most, np.random.default_rng(1000))
        guesses = heard(model, x, lengths)
        errors.append(100 * metrics.error_rate(digits, guesses))
        exact.append(100 * np.mean([a == b for a, b in zip(digits, guesses)]))
    example.figure("digit error rate", np.mean(errors), "%", at_most=example.choose(short=70, default=8),
                   beside={"nothing heard": 100})  # fmt: skip
    example.figure("sequences all right", np.mean(exact), "%", at_least=example.choose(short=5, default=80))
    row = next(i for i, said in enumerate(digits) if len(set(said)) == most)
    draw(example, model, x[row : row + 1], lengths[row], digits[row], guesses[row], spoken.rate)


def draw(example, model, x, length, said, guess, rate) -> None:
    figure, (sound, chances) = example.canvas(13, 3.6, 2)
    seconds = length * HOP / rate
    sound.imshow(x[0, :length].T, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, MELS))
    sound.set(title=f"said: {' '.join(map(str, said))}", xlabel="seconds", ylabel="mel band")
    with weft.no_grad():
        p = np.exp(model(weft.asarray(x)).numpy()[: (length + 1) // 2, 0])  # (T / 2, 11)
    time = np.arange(len(p)) * 2 * HOP / rate
    chances.plot(time, p[:, BLANK], ":", color="#8a8a8a", label="nothing")
    for digit in sorted(set(guess)):
        chances.plot(time, p[:, digit], label=str(digit))
    chances.set(title=f"heard: {' '.join(map(str, guess))}", xlabel="seconds", ylabel="probability", xlim=(0, seconds))
    chances.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    example.picture(figure)


if __name__ == "__main__":
    main(run)
