"""A GRU writes first names, letter by letter; its bits per letter against those of counted pairs.

Four fifths of 29,494 names are learnt from, a tenth is to choose by, a tenth to test with; none is there twice. A model
that gives the right letter the probability p needs -log2 p bits to say it; the mean over all letters, and the end of
each name, tells how much of a name it did not expect. Batches are packed: names have different lengths and no padding
is computed.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import batches_by_length, first_names
from weft.nn import functional as F
from weft.nn.utils.rnn import PackedSequence, pack_padded_sequence
from weft.random import Generator
from weft.recipes.example import Example, main

END, SYMBOLS = 0, 27  # of a name and before its first letter; a to z are 1 to 26


def encode(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Names between two ENDs as rows (N, T), filled up with END, and how many symbols of each to guess (N,)."""
    lengths = np.array([len(name) + 1 for name in names])
    rows = np.full((len(names), lengths.max() + 1), END)
    for row, name in zip(rows, names):
        row[1 : len(name) + 1] = [ord(letter) - 96 for letter in name]
    return rows, lengths


class Writer(nn.Module):
    """Letters, packed or (T, N) -> scores of the next one (steps of all, SYMBOLS) or (T, N, SYMBOLS), and the state."""

    def __init__(self, width: int):
        self.letter = nn.Embedding(SYMBOLS, 32)
        self.layer = nn.GRU(32, width)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width, SYMBOLS)

    def forward(self, letters, state=None):
        if isinstance(letters, PackedSequence):
            outputs, state = self.layer(letters._replace(data=self.letter(letters.data)), state)
            outputs = outputs.data
        else:
            outputs, state = self.layer(self.letter(letters), state)
        return self.head(self.dropout(outputs)), state


def packed(rows: np.ndarray, lengths: np.ndarray):
    """What is read, packed, and what follows each letter of it."""
    read, follows = (
        pack_padded_sequence(weft.asarray(part), lengths, batch_first=True, enforce_sorted=False)
        for part in (rows[:, :-1], rows[:, 1:])
    )
    return read, follows.data


def train(model: Writer, rows: np.ndarray, lengths: np.ndarray, epochs: int, rng: Generator) -> None:
    optimizer = optim.AdamW(model.parameters(), lr=5e-3)
    steps = epochs * len(batches_by_length(lengths, 128, rng))
    schedule = optim.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        for batch in batches_by_length(lengths, 128, rng):
            read, follows = packed(rows[batch], lengths[batch])
            loss = F.cross_entropy(model(read)[0], follows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def bits(model: Writer, rows: np.ndarray, lengths: np.ndarray) -> float:
    """Bits per letter, the end of each name among them."""
    with weft.no_grad():
        read, follows = packed(rows, lengths)
        return F.cross_entropy(model(read)[0], follows).item() / np.log(2)


def pairs(rows: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each letter and the one before it, without what only fills up."""
    inside = np.arange(rows.shape[1] - 1) < lengths[:, None]
    return rows[:, :-1][inside], rows[:, 1:][inside]


def counted_pairs(fitted: tuple, judged: tuple) -> float:
    """Bits per letter when each is guessed from how often it followed the one before, every pair counted once more."""
    counts = np.ones((SYMBOLS, SYMBOLS))
    np.add.at(counts, pairs(*fitted), 1)
    return -np.log2(counts / counts.sum(axis=1, keepdims=True))[pairs(*judged)].mean()


def write(model: Writer, count: int, rng: Generator, temperature: float = 1.0) -> tuple[list[str], list[np.ndarray]]:
    """Names, and the probabilities (letters, SYMBOLS) from which the letters of the first one were drawn."""
    letters, state, names, first = np.zeros(count, np.int64), None, [""] * count, []
    ended = np.zeros(count, bool)
    with weft.no_grad():
        while not ended.all() and len(first) < 20:
            scores, state = model(weft.asarray(letters[None]), state)
            shares = F.softmax(scores[0] / temperature, dim=-1).numpy().astype(np.float64)  # (count, SYMBOLS)
            point = rng.uniform_array(count)[:, None] * shares.sum(axis=1, keepdims=True)
            letters = (shares.cumsum(axis=1) <= point).sum(axis=1)
            ended |= letters == END
            first.append(shares[0])
            names = [name if over else name + chr(96 + letter) for name, over, letter in zip(names, ended, letters)]
    return names, first[: len(names[0]) + 1]


def run(example: Example) -> None:
    names = first_names(example.data)
    width, epochs = example.choose(short=(64, 1), default=(192, 6))
    reached, counted = [], []
    for seed in example.seeds():
        weft.random.seed(seed)
        rng = Generator(seed)
        names = [names[i] for i in rng.permutation_array(len(names))]
        fifth = len(names) // 10
        parts = names[2 * fifth :], names[fifth : 2 * fifth], names[:fifth]
        fitted, validation, test = (encode(part) for part in parts)
        model = Writer(width)
        train(model, *fitted, epochs, rng)
        print(f"validation: {bits(model, *validation):.3f} bits per letter")
        reached.append(bits(model, *test))
        counted.append(counted_pairs(fitted, test))
    example.figure(
        "of a letter of names never seen", np.mean(reached), "bits", at_most=example.choose(short=3.4, default=2.95),
        beside={"counted pairs": np.mean(counted), "every letter alike": np.log2(SYMBOLS)},
    )  # fmt: skip
    for temperature in (0.5, 1.0):
        written, shares = write(model, 12, Generator(seed), temperature)
        print(f"temperature {temperature}: {', '.join(written)}")
    known = set(parts[0])
    many, _ = write(model, 1000, Generator(seed))
    example.figure("written names that were not learnt from", 100 * np.mean([name not in known for name in many]), "%")
    draw(example, written[0], np.array(shares))


def draw(example: Example, name: str, shares: np.ndarray) -> None:
    figure, (axis,) = example.canvas(9, 0.36 * len(shares) + 1.4)
    shown = axis.imshow(100 * shares, cmap="Blues", vmin=0, vmax=60, aspect="auto")
    for row, letter in enumerate(name):
        axis.text(ord(letter) - 96, row, letter, ha="center", va="center", color="#d95f0e", weight="bold")
    axis.text(END, len(name), "end", ha="center", va="center", color="#d95f0e", weight="bold", fontsize=8)
    axis.set_xticks(range(SYMBOLS), ["end", *map(chr, range(97, 123))])
    axis.set_yticks(range(len(shares)), [name[:i] or "-" for i in range(len(shares))])
    axis.set(xlabel="next letter; drawn: orange", ylabel="written so far")
    figure.colorbar(shown, ax=axis, label="probability (%)")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
