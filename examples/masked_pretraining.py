"""BERT-style pretraining: words learnt from gaps in text messages, then spam from few labels, with and without.

A share of the words is covered (Devlin et al., 2018: four fifths of them by a mask, a tenth by another word, a tenth
left as they are), and an encoder that sees both sides says what stood there. No label is needed for that, so all
messages help where only a few are labelled. The labels, and the seeds, are the same for both ways to begin; the tested
messages are in neither part, and none is there twice.
"""

import re

import numpy as np

import weft
from weft import nn, optim
from weft.data import WordVocabulary, batches_by_length, sms_spam
from weft.metrics import average_precision
from weft.nn import functional as F
from weft.random import Generator
from weft.recipes.example import Example, main

LONGEST, WIDTH = 40, 64
SHOWN = ["you have won a guaranteed _", "call _ now to claim your prize", "are you coming _ tonight",
         "ok i will _ you later"]  # fmt: skip


def words(text: str) -> list[str]:
    """Words in lower case, numbers as so many digits, and marks."""
    found = re.findall(r"\d+|[^\W\d_]+|[^\w\s]", text.lower())
    return ["#" * min(len(word), 6) if word.isdigit() else word for word in found]


def covered(rows: np.ndarray, size: int, rng: Generator, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (N, T) with gaps, and which of them are to be said (N, T). The last token is the mask."""
    asked = (rng.uniform_array(rows.shape) < share) & (rows > WordVocabulary.UNKNOWN)
    kind = rng.uniform_array(rows.shape)
    other = rng.integers_array(2, size - 1, rows.shape)
    put = np.where(kind < 0.8, size - 1, np.where(kind < 0.9, other, rows))
    return np.where(asked, put, rows), asked


class Encoder(nn.Module):
    """Tokens (N, T), 0 for padding -> what each means in its place (N, T, WIDTH)."""

    def __init__(self, size: int):
        self.word, self.place = nn.Embedding(size, WIDTH, padding_idx=0), nn.Embedding(LONGEST, WIDTH)
        for table in (self.word, self.place):
            nn.init.normal_(table.weight, std=0.1)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, nn.LayerNorm(WIDTH))

    def forward(self, tokens: np.ndarray) -> weft.Tensor:
        x = self.word(weft.asarray(tokens)) + self.place.weight[: tokens.shape[1]]
        return self.layers(x, src_key_padding_mask=weft.asarray(tokens == 0))


class GapFiller(nn.Module):
    """Tokens (N, T) and places in their rows one after another (asked,) -> scores of the words there (asked, size)."""

    def __init__(self, encoder: Encoder, size: int):
        self.encoder, self.shape, self.bias = encoder, nn.Linear(WIDTH, WIDTH), nn.Parameter(weft.zeros((size,)))

    def forward(self, tokens: np.ndarray, asked: np.ndarray) -> weft.Tensor:
        means = self.encoder(tokens).reshape(-1, WIDTH)[asked]  # the other places cost nothing more
        return F.linear(self.shape(means), self.encoder.word.weight, self.bias)


class Judge(nn.Module):
    """Tokens (N, T) -> score of spam (N,)."""

    def __init__(self, encoder: Encoder):
        self.encoder, self.dropout, self.head = encoder, nn.Dropout(0.3), nn.Linear(WIDTH, 1)

    def forward(self, tokens: np.ndarray) -> weft.Tensor:
        present = weft.asarray(tokens != 0, dtype="float32")[:, :, None]
        mean = (self.encoder(tokens) * present).sum(axis=1) / present.sum(axis=1)
        return self.head(self.dropout(mean))[:, 0]


def fit(model: nn.Module, tokens: np.ndarray, epochs: int, lr: float, size: int, rng: Generator, loss_of) -> None:
    """Train on batches of about one length; loss_of(rows (n, T), indices (n,)) -> loss."""
    lengths = (tokens != 0).sum(axis=1)
    optimizer = optim.AdamW(model.parameters(), lr=lr)
    steps = epochs * len(batches_by_length(lengths, size, rng))
    schedule = optim.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(epochs):
        for batch in batches_by_length(lengths, size, rng):
            loss = loss_of(tokens[batch, : lengths[batch].max()], batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def pretrain(tokens: np.ndarray, size: int, epochs: int, rng: Generator) -> GapFiller:
    model = GapFiller(Encoder(size), size)

    def loss_of(rows: np.ndarray, _: np.ndarray) -> weft.Tensor:
        gaps, asked = covered(rows, size, rng, 0.25)
        return F.cross_entropy(model(gaps, np.flatnonzero(asked)), weft.asarray(rows[asked]))

    fit(model, tokens, epochs, 3e-3, 64, rng, loss_of)
    return model


def judged(encoder: Encoder, fitted: tuple, tested: tuple, rng: Generator) -> float:
    """The average precision with which spam is found after training on a few (tokens, labels), in %."""
    model, labels = Judge(encoder), fitted[1].astype(np.float32)

    def loss_of(rows: np.ndarray, batch: np.ndarray) -> weft.Tensor:
        return F.binary_cross_entropy_with_logits(model(rows), weft.asarray(labels[batch]))

    fit(model, fitted[0], 20, 1e-3, 16, rng, loss_of)
    with weft.no_grad():
        return 100 * average_precision(tested[1], model(tested[0]).numpy())


def right_in_gaps(model: GapFiller, rows: np.ndarray, size: int) -> tuple[float, float]:
    """The share of covered words that are said right, and of those that are the commonest word, in %."""
    asked = covered(rows, size, Generator(7), 0.15)[1]
    with weft.no_grad():
        said = model(np.where(asked, size - 1, rows), np.flatnonzero(asked)).numpy().argmax(axis=1)
    return 100 * (said == rows[asked]).mean(), 100 * (rows[asked] == 2).mean()


def run(example: Example) -> None:
    messages = sms_spam(example.data)
    epochs, few = example.choose(short=(1, 60), default=(15, 60))
    filled, from_gaps, from_nothing = [], [], []
    for seed in example.seeds():
        weft.random.seed(seed)
        rng = Generator(seed)
        order = rng.permutation_array(len(messages.texts))
        test, fitted = np.split(order, [1000])
        vocabulary = WordVocabulary(messages.select(fitted).texts, min_count=3, split=words)
        size, rows = len(vocabulary) + 1, vocabulary.batch(messages.texts, LONGEST)
        filler = pretrain(rows[fitted], size, epochs, rng)
        filled.append(right_in_gaps(filler, rows[test], size))
        labelled = (rows[fitted[:few]], messages.labels[fitted[:few]])
        tested = (rows[test], messages.labels[test])
        from_nothing.append(judged(Encoder(size), labelled, tested, Generator(seed)))
        learnt = Encoder(size)
        learnt.load_state_dict(filler.encoder.state_dict())
        from_gaps.append(judged(learnt, labelled, tested, Generator(seed)))
    right, commonest = np.mean(filled, axis=0)
    example.figure(
        "covered words said right", right, "%", at_least=example.choose(short=0.9, default=1.3) * commonest,
        beside={f"always {vocabulary.words[2]!r}": commonest},
    )  # fmt: skip
    scratch = np.mean(from_nothing)
    example.figure(
        f"spam after {few} labels, pretrained on gaps: average precision", np.mean(from_gaps), "%",
        at_least=example.choose(short=40.0, default=scratch), beside={"from scratch": scratch},
    )  # fmt: skip
    draw(example, filler, vocabulary)


def draw(example: Example, filler: GapFiller, vocabulary: WordVocabulary) -> None:
    """The likeliest words of the gap in each of a few messages."""
    figure, axes = example.canvas(11, 3, len(SHOWN))
    for axis, text in zip(axes, SHOWN):
        asked = np.flatnonzero([word == "_" for word in text.split()])
        tokens = vocabulary.batch([text.replace("_", "gap")])
        with weft.no_grad():
            scores = filler(np.where(asked, len(vocabulary), tokens), asked)
        shares = F.softmax(scores, dim=-1).numpy()[0]
        likely = np.argsort(-shares[:-1])[:7]
        axis.barh(range(7), 100 * shares[likely], color="#2166ac")
        axis.set_yticks(range(7), [vocabulary.words[token] for token in likely])
        axis.invert_yaxis()
        axis.set_title(text.replace("_", "___"), fontsize=8, loc="right")
        axis.set_xlabel("probability (%)")
    axes[0].set_ylabel("word in the gap")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
