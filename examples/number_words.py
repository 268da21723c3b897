"""Number words become digits: one GRU reads, one writes, and attention shows which word each digit came from.

    four hundred and seven  ->  407

Additive attention (Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and translate",
2014): before each digit the writer scores every word that was read, and looks at their mean by these scores. Numbers
below a million are drawn so that short ones are not rare; none of the tested ones was ever seen in training.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import WordVocabulary
from weft.nn import functional as F
from weft.random import Generator
from weft.recipes.example import Example, main
from weft.recipes.numerals import english

END, BEGIN, DIGITS, LONGEST = 10, 11, 12, 7  # tokens beside the digits; most digits of a number and its end


def draw_numbers(rng: Generator, count: int) -> np.ndarray:
    """Distinct numbers below a million, as many of each length as there can be."""
    top = 10 ** rng.integers_array(1, 7, 3 * count)
    found = np.unique((rng.uniform_array(3 * count, dtype=np.float64) * top).astype(np.int64))
    return found[rng.permutation_array(len(found))[:count]]


def digits(numbers: np.ndarray) -> np.ndarray:
    """The digits of numbers, filled up with END, (N, LONGEST)."""
    rows = np.full((len(numbers), LONGEST), END)
    for row, number in zip(rows, numbers):
        row[: len(str(number))] = [int(digit) for digit in str(number)]
    return rows


def last_to_first(present: weft.Tensor) -> weft.Tensor:
    """Which place to take for each, (N, T, 1), so that the words of each row are read backwards and padding stays."""
    length, place = present.sum(axis=1)[:, None], weft.arange(present.shape[1])[None]
    return weft.where(present, length - 1 - place, place)[:, :, None]


class Translator(nn.Module):
    """Words (N, T), 0 for padding -> scores of each digit (N, LONGEST, DIGITS) and where it looked (N, LONGEST, T)."""

    def __init__(self, words: int, width: int = 64):
        self.word, self.digit = nn.Embedding(words, width), nn.Embedding(DIGITS, width)
        self.onwards, self.backwards = (nn.GRU(width, width, batch_first=True) for _ in range(2))
        self.writer = nn.GRUCell(3 * width, width)
        self.from_words, self.from_state = nn.Linear(2 * width, width), nn.Linear(width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)
        self.head = nn.Linear(3 * width, DIGITS)

    def forward(self, words: weft.Tensor, digits: weft.Tensor | None = None):
        """digits (N, LONGEST): those to be written; without them each likeliest digit is read on."""
        empty = words == 0  # (N, T)
        turned, read = last_to_first(~empty), self.word(words)
        ahead, _ = self.backwards(weft.take_along_axis(read, turned, axis=1))
        read = weft.concat([self.onwards(read)[0], weft.take_along_axis(ahead, turned, axis=1)], axis=2)  # (N, T, 2 C)
        keys = self.from_words(read)  # (N, T, C)
        state = weft.zeros((len(words), keys.shape[2]))
        before = weft.full((len(words),), BEGIN, dtype="int64")
        written, looked = [], []
        for place in range(LONGEST):
            match = self.score(weft.tanh(keys + self.from_state(state)[:, None]))[:, :, 0]  # (N, T)
            look = F.softmax(weft.where(empty, -1e9, match), dim=1)
            seen = (look[:, :, None] * read).sum(axis=1)  # (N, 2 C)
            state = self.writer(weft.concat([self.digit(before), seen], axis=1), state)
            written.append(self.head(weft.concat([state, seen], axis=1)))
            looked.append(look)
            before = digits[:, place] if digits is not None else weft.argmax(written[-1], axis=1)
        return weft.stack(written, axis=1), weft.stack(looked, axis=1)


def train(model: Translator, words: np.ndarray, targets: np.ndarray, epochs: int, rng: Generator) -> None:
    optimizer = optim.AdamW(model.parameters(), lr=5e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=5e-3, total_steps=epochs * (len(words) // 64), pct_start=0.1)
    for _ in range(epochs):
        for rows in rng.permutation_array(len(words))[: len(words) // 64 * 64].reshape(-1, 64):
            target = weft.asarray(targets[rows])
            scores, _ = model(weft.asarray(words[rows]), target)
            loss = F.cross_entropy(scores.reshape(-1, DIGITS), target.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def exact(model: Translator, words: np.ndarray, targets: np.ndarray) -> float:
    """The share of numbers all of whose digits are right, in %."""
    with weft.no_grad():
        return 100 * (model(weft.asarray(words))[0].numpy().argmax(-1) == targets).all(axis=1).mean()


def run(example: Example) -> None:
    count, epochs = example.choose(short=(2000, 3), default=(6000, 8))
    reached = []
    for seed in example.seeds():
        weft.random.seed(seed)
        rng = Generator(seed)
        numbers = draw_numbers(rng, count + 2000)
        vocabulary = WordVocabulary(map(english, numbers[:count]))
        words, targets = vocabulary.batch(map(english, numbers)), digits(numbers)
        model = Translator(len(vocabulary))
        train(model, words[:count], targets[:count], epochs, rng)
        print(f"validation: {exact(model, words[count:-1000], targets[count:-1000]):.1f} % exact")
        reached.append(exact(model, words[-1000:], targets[-1000:]))
    example.figure("numbers right in every digit", np.mean(reached), "%", at_least=example.choose(short=50, default=98))
    draw(example, model, vocabulary)


def draw(example: Example, model: Translator, vocabulary: WordVocabulary) -> None:
    figure, axes = example.canvas(10, 4.6, 3)
    for axis, number in zip(axes, (407, 16_080, 305_921)):
        text = english(number)
        with weft.no_grad():
            scores, looked = (x.numpy()[0] for x in model(weft.asarray(vocabulary.batch([text]))))
        written = scores.argmax(axis=1).tolist()
        length = written.index(END) + 1 if END in written else LONGEST
        axis.imshow(100 * looked[:length].T, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        axis.set_xticks(range(length), [str(digit) if digit < END else "end" for digit in written[:length]])
        axis.set_yticks(range(len(text.split())), text.split())
        axis.set(title=f"{number:,}", xlabel="written")
    axes[0].set_ylabel("read (the darker, the more looked at)")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
