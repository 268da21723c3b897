"""A transformer encoder finds the spam among text messages, beside a linear SVM.

The SMS Spam Collection has messages that were sent to many: a copy in the test would be no test, so each is kept once
before anything is split. One message in eight is spam, so the figure is F1; from which probability on a message counts
as spam is chosen on validation messages. The picture shows that choice: precision against recall.
"""

import re

import numpy as np

import weft
from weft import nn, optim
from weft.data import LabelledTexts, WordVocabulary, batches_by_length, random_split, sms_spam
from weft.metrics import best_threshold, f1, precision_recall_curve
from weft.nn import functional as F
from weft.random import Generator
from weft.recipes.example import Example, main

LONGEST = 64  # words of a message that are read; 1 in 100 has more


def words(text: str) -> list[str]:
    """Words in lower case, numbers as so many digits, marks, and <caps> before a word that was written in capitals."""
    found = []
    for word in re.findall(r"\d+|[^\W\d_]+|[^\w\s]", text):
        if word.isupper() and len(word) > 1:
            found.append("<caps>")
        found.append("#" * min(len(word), 6) if word.isdigit() else word.lower())
    return found


class Encoder(nn.Module):
    """Tokens (N, T), 0 for padding -> score of spam (N,): what the words say on average, and the most telling one."""

    def __init__(self, vocabulary: int, width: int = 64):
        self.token = nn.Embedding(vocabulary, width, padding_idx=0)
        nn.init.normal_(self.token.weight, std=0.1)
        self.place = nn.Embedding(LONGEST, width)
        nn.init.normal_(self.place.weight, std=0.1)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.5, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(2 * width, 1)

    def forward(self, tokens: weft.Tensor) -> weft.Tensor:
        present = weft.astype(tokens != 0, "float32")[:, :, None]  # (N, T, 1)
        x = self.dropout(self.token(tokens) + self.place.weight[: tokens.shape[1]])
        x = self.encoder(x, src_key_padding_mask=tokens == 0)  # (N, T, C)
        mean = (x * present).sum(axis=1) / present.sum(axis=1)
        most = weft.max(weft.where(present > 0, x, -1e9), axis=1)
        return self.head(self.dropout(weft.concat([mean, most], axis=1)))[:, 0]


def train(model: Encoder, tokens: np.ndarray, labels: np.ndarray, epochs: int, rng: Generator) -> None:
    lengths = (tokens != 0).sum(axis=1)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    steps = epochs * len(batches_by_length(lengths, 64, rng))
    schedule = optim.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(epochs):
        for batch in batches_by_length(lengths, 64, rng):
            rows = tokens[batch, : lengths[batch].max()]
            lost = (rng.uniform_array(rows.shape) < 0.2) & (rows != 0)  # so that no single word decides
            rows = np.where(lost, WordVocabulary.UNKNOWN, rows)
            target = weft.asarray(labels[batch], dtype="float32")
            loss = F.binary_cross_entropy_with_logits(model(weft.asarray(rows)), target)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def spam(models: list[Encoder], tokens: np.ndarray) -> np.ndarray:
    """The probability of spam, (N,): that of the mean score of several models, whose chance mistakes differ."""
    with weft.no_grad():
        parts = [sum(model(weft.asarray(tokens[i : i + 256])) for model in models) for i in range(0, len(tokens), 256)]
        return F.sigmoid(weft.concat(parts) / len(models)).numpy()


def linear_svm(fitted: LabelledTexts, judged: LabelledTexts) -> float:
    """What a linear SVM over tf-idf of words and pairs reaches."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LinearSVC()).fit(fitted.texts, fitted.labels)
    return f1(judged.labels, model.predict(judged.texts), average=None)[1]


def run(example: Example) -> None:
    messages = sms_spam(example.data)
    epochs = example.choose(short=2, default=6)
    reached, svm = [], []
    # Tenths with as much spam in each: two for the test, another two in each split, one for validation.
    tenths = random_split(messages.labels, [0.1] * 10, seed=example.seed, stratify=messages.labels)
    tenths = [tenth.indices for tenth in tenths]
    for split in range(example.choose(short=1, default=1, full=5)):
        rng = Generator(example.seed + split)
        weft.random.seed(example.seed + split)
        *rest, validation, first, second = np.roll(np.arange(10), -2 * split)
        test, validation = np.concatenate([tenths[first], tenths[second]]), tenths[validation]
        fitted = np.concatenate([tenths[i] for i in rest])
        vocabulary = WordVocabulary(messages.select(fitted).texts, split=words, min_count=2)
        tokens, labels = vocabulary.batch(messages.texts, LONGEST), messages.labels
        models = [Encoder(len(vocabulary)) for _ in range(example.choose(short=1, default=3))]
        for model in models:
            train(model, tokens[fitted], labels[fitted], epochs, rng)
        threshold = best_threshold(labels[validation], spam(models, tokens[validation]))
        found = spam(models, tokens[test])
        reached.append(f1(labels[test], found >= threshold, average=None)[1])
        if example.form != "short":
            svm.append(linear_svm(messages.select(np.concatenate([fitted, validation])), messages.select(test)))
    example.figure(
        "F1 of spam, no message twice", np.mean(reached), at_least=example.choose(short=0.85, default=0.92, full=0.945),
        beside={"linear SVM": np.mean(svm)} if svm else None,
    )  # fmt: skip
    draw(example, precision_recall_curve(labels[test], found), found, labels[test], threshold)


def draw(example: Example, curve, found: np.ndarray, labels: np.ndarray, threshold: float) -> None:
    figure, (left, right) = example.canvas(9.5, 3.8, 2)
    left.plot(100 * curve.recall, 100 * curve.precision, color="#2166ac")
    chosen = found >= threshold
    left.plot(100 * chosen[labels == 1].mean(), 100 * labels[chosen].mean(), "o", color="#d95f0e", label="as chosen")
    left.set(title="test messages of one split", xlabel="recall: spam that is found (%)", xlim=(50, 101))
    left.set(ylabel="precision: found that is spam (%)", ylim=(50, 101))
    left.legend(frameon=False, loc="lower left")
    for label, name, colour in ((0, "ham", "#8a8a8a"), (1, "spam", "#d95f0e")):
        right.hist(100 * found[labels == label], np.linspace(0, 100, 41), color=colour, alpha=0.7, label=name)
    right.axvline(100 * threshold, color="#222222", linewidth=1)
    right.set(title="what the model says", xlabel="probability of spam (%)", ylabel="messages", yscale="log")
    right.legend(frameon=False)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
