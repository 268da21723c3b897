"""A transformer encoder tells praise from blame in film reviews (SST-2), beside a bag of word pairs.

Nothing is known but the 6,920 sentences to train on: no vectors or weights from elsewhere. So little text asks for much
noise (words left out, dropout) and a small model. The bag counts words and pairs, weighted by how much oftener praise
than blame has them (Wang and Manning, "Baselines and bigrams", 2012); the mean of both is better than either. Settings
were chosen by the validation sentences; the test sentences are read once, at the end.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import LabelledTexts, WordVocabulary, batches_by_length, sst2
from weft.nn import functional as F
from weft.random import Generator
from weft.recipes.example import Example, main

SHOWN = ["a moving , funny and beautiful film", "too long , too loud and never funny",
         "not a bad film , but not a good one", "the plot is a mess , the actors are wonderful"]  # fmt: skip


def log_ratio(tokens: np.ndarray, labels: np.ndarray, vocabulary: int) -> np.ndarray:
    """How much oftener praise has each token than blame, as a logarithm (vocabulary,)."""
    counts = [1.0 + np.bincount(tokens[labels == label].ravel(), minlength=vocabulary) for label in (0, 1)]
    ratio = np.log(counts[1] / counts[1].sum()) - np.log(counts[0] / counts[0].sum())
    ratio[[WordVocabulary.PAD, WordVocabulary.UNKNOWN]] = 0
    return ratio.astype(np.float32)


class Encoder(nn.Module):
    """Tokens (N, T), 0 for padding -> score of praise (N,). Each word starts with its ratio as its first number."""

    def __init__(self, ratio: np.ndarray, width: int = 64):
        self.token = nn.Embedding(len(ratio), width, padding_idx=0)
        self.place = nn.Embedding(64, width)
        for table in (self.token, self.place):
            nn.init.normal_(table.weight, std=0.1)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.5, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(width, 1)
        with weft.no_grad():
            self.token.weight[:, 0] = weft.asarray(0.3 * ratio)
            self.head.weight[0, 0] = 3.0

    def forward(self, tokens: weft.Tensor) -> weft.Tensor:
        words = weft.astype(tokens != 0, "float32")[:, :, None]  # (N, T, 1)
        x = self.dropout(self.token(tokens) + self.place.weight[: tokens.shape[1]])
        x = self.encoder(x, src_key_padding_mask=tokens == 0)  # (N, T, C)
        mean = (x * words).sum(axis=1) / words.sum(axis=1)
        return self.head(self.dropout(mean))[:, 0]


class Bag(nn.Module):
    """Tokens of words and pairs (N, T) -> score of praise (N,): each adds its ratio times a learned weight."""

    def __init__(self, ratio: np.ndarray):
        self.ratio = nn.Buffer(weft.asarray(ratio))
        self.weight = nn.Parameter(weft.full(ratio.shape, 0.3))
        self.bias = nn.Parameter(weft.zeros((1,)))

    def forward(self, tokens: weft.Tensor) -> weft.Tensor:
        return (self.ratio[tokens] * self.weight[tokens]).sum(axis=1) + self.bias


def pairs(text: str) -> list[str]:
    """The words and pairs of neighbours of a text, each once."""
    words = text.split()
    return list(dict.fromkeys(words + [f"{a} {b}" for a, b in zip(words, words[1:])]))


def train(model: nn.Module, tokens: np.ndarray, labels: np.ndarray, seed: int, epochs: int, left_out: float) -> None:
    """left_out: the share of the words of each sentence that is replaced by the unknown word."""
    rng, lengths = Generator(seed), (tokens != 0).sum(axis=1)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    steps = epochs * len(batches_by_length(lengths, 64, rng))
    schedule = optim.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(epochs):
        for batch in batches_by_length(lengths, 64, rng):
            rows = tokens[batch, : lengths[batch].max()]
            lost = (rng.uniform_array(rows.shape) < left_out) & (rows != 0)
            rows = weft.asarray(np.where(lost, WordVocabulary.UNKNOWN, rows))
            target = weft.asarray(labels[batch], dtype="float32")
            loss = F.binary_cross_entropy_with_logits(model(rows), target)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def scores(model: nn.Module, tokens: np.ndarray) -> np.ndarray:
    """The score of praise, (N,): above 0 it is more likely than blame."""
    with weft.no_grad():
        return weft.concat([model(weft.asarray(tokens[i : i + 256])) for i in range(0, len(tokens), 256)]).numpy()


def right(score: np.ndarray, part: LabelledTexts) -> float:
    return 100 * ((score > 0) == part.labels).mean()


def tf_idf(fitted: LabelledTexts, judged: list[LabelledTexts]) -> list[float]:
    """What logistic regression over tf-idf of words and pairs reaches, in %."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+")
    model = make_pipeline(words, LogisticRegression(C=3, max_iter=1000)).fit(fitted.texts, fitted.labels)
    return [100 * model.score(part.texts, part.labels) for part in judged]


def run(example: Example) -> None:
    fitted, validation, test = sst2(example.data)
    words, grams = WordVocabulary(fitted.texts, split=str.split), WordVocabulary(fitted.texts, split=pairs)
    alone, together, in_bag = [], [], []
    for seed in example.seeds():
        weft.random.seed(seed)
        rows, in_rows = words.batch(fitted.texts, 60), grams.batch(fitted.texts, 120)
        bag = Bag(log_ratio(in_rows, fitted.labels, len(grams)))
        train(bag, in_rows, fitted.labels, seed, example.choose(short=1, default=10), left_out=0.0)
        model = Encoder(log_ratio(rows, fitted.labels, len(words)))
        train(model, rows, fitted.labels, seed, example.choose(short=1, default=6), left_out=0.6)

        for part, kept in ((validation, ([], [], [])), (test, (alone, in_bag, together))):
            one, other = scores(model, words.batch(part.texts, 60)), scores(bag, grams.batch(part.texts, 120))
            for figures, score in zip(kept, (one, other, one / 4 + other / 2)):  # over their spreads on validation
                figures.append(right(score, part))
            if part is validation:
                print("validation: transformer, bag, both", *(f"{reached:.1f}" for (reached,) in kept), "%")
    bars = example.choose(short=(72.0, 77.0), default=(77.5, 79.5), full=(78.5, 80.5))
    beside = {}
    if example.form != "short":
        beside = dict(zip(("tf-idf on validation", "tf-idf on test"), tf_idf(fitted, [validation, test])))
    example.figure("transformer, test", np.mean(alone), "%", at_least=bars[0], beside=beside)
    beside = {"bag alone": np.mean(in_bag), **beside}
    example.figure("transformer and bag, test", np.mean(together), "%", at_least=bars[1], beside=beside)
    draw(example, lambda texts: scores(model, words.batch(texts, 60)))


def draw(example: Example, score) -> None:
    """Words in the colour of what the score loses without them."""
    figure, (axis,) = example.canvas(6.5, 0.5 * len(SHOWN) + 1.1)
    for row, text in enumerate(SHOWN):
        spoken = text.split()
        without = [" ".join(spoken[:i] + spoken[i + 1 :]) for i in range(len(spoken))]
        whole, *rest = score([text, *without])
        at = 0.0
        for word, lost in zip(spoken, whole - np.array(rest)):
            colour = "#2166ac" if lost > 0 else "#d95f0e"
            box = {"facecolor": colour, "alpha": min(abs(lost) / 3, 1) * 0.8, "edgecolor": "none", "pad": 2}
            axis.text(at, row, word, family="monospace", fontsize=10, va="center", bbox=box)
            at += len(word) + 1.5
        axis.text(70, row, f"{100 / (1 + np.exp(-whole)):.0f} %", fontsize=10, va="center", ha="right")
    axis.text(70, -0.8, "praise", fontsize=9, va="center", ha="right")
    axis.set(xlim=(-1, 71), ylim=(len(SHOWN) - 0.4, -1.2), xticks=[], yticks=[])
    axis.set_title("what each word does to the score: blue for praise, orange against", fontsize=10, loc="left")
    axis.spines[:].set_visible(False)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
