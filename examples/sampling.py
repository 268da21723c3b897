"""A GPT writes Shakespeare, and how its letters are drawn decides what: temperature, top-k, top-p or beams.

The decoder is GPT-2's, small, trained on characters; `weft.generate` continues texts and keeps the keys and values of
what was read. From its shares of the next character one can draw as they are, flattened or sharpened (temperature),
out of the k likeliest, out of the fewest that reach a share p, or search for the likeliest whole text. The more is cut
away, the more words are words, and the more the text repeats itself; the picture shows both.
"""

import numpy as np

import weft
from weft import models, nn, optim
from weft.data import CharVocabulary, tiny_shakespeare
from weft.models.sampling import token_shares
from weft.nn import functional as F
from weft.random import Generator
from weft.recipes.example import Example, main

BLOCK, LENGTH = 128, 110
RULES = {
    "greedy": {}, "beams: 4": {"num_beams": 4}, "temperature 0.5": {"temperature": 0.5},
    "temperature 1": {"temperature": 1.0}, "temperature 1.5": {"temperature": 1.5},
    "top-k 5": {"temperature": 1.0, "top_k": 5}, "top-p 0.8": {"temperature": 1.0, "top_p": 0.8},
}  # fmt: skip


def train(model: nn.Module, tokens: np.ndarray, steps: int, rng: Generator) -> None:
    optimizer = optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.99), weight_decay=0.1)
    schedule = optim.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        starts = rng.integers_array(0, len(tokens) - BLOCK, 12)
        windows = tokens[starts[:, None] + np.arange(BLOCK + 1)]
        scores = model(weft.asarray(windows[:, :-1]))
        loss = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), weft.asarray(windows[:, 1:].reshape(-1)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def bits(model: nn.Module, tokens: np.ndarray) -> float:
    """Bits per character, of stretches of BLOCK characters each of which is read from its beginning."""
    whole = (len(tokens) - 1) // BLOCK * BLOCK
    read, follows = tokens[:whole].reshape(-1, BLOCK), tokens[1 : whole + 1].reshape(-1, BLOCK)
    total = 0.0
    with weft.no_grad():
        for i in range(0, len(read), 64):
            scores = model(weft.asarray(read[i : i + 64]))
            target = weft.asarray(follows[i : i + 64].reshape(-1))
            total += F.cross_entropy(scores.reshape(-1, scores.shape[-1]), target, reduction="sum").item()
    return total / whole / np.log(2)


def counted_pairs(fitted: np.ndarray, judged: np.ndarray, size: int) -> float:
    """Bits per character when each is guessed from how often it followed the one before."""
    counts = np.ones((size, size))
    np.add.at(counts, (fitted[:-1], fitted[1:]), 1)
    return -np.log2(counts / counts.sum(axis=1, keepdims=True))[judged[:-1], judged[1:]].mean()


def known_and_new(texts: list[str], words: set[str]) -> tuple[float, float]:
    """The share of whole words that the play has, and of runs of four words that differ from all others, in %."""
    written = [text.lower().split()[1:-1] for text in texts]
    flat = [word.strip(".,:;!?-'") for line in written for word in line]
    runs = [tuple(line[i : i + 4]) for line in written for i in range(len(line) - 3)]
    return 100 * np.mean([word in words for word in flat]), 100 * len(set(runs)) / max(len(runs), 1)


def run(example: Example) -> None:
    text = tiny_shakespeare(example.data)
    vocabulary = text.vocabulary
    width, layers, steps = example.choose(short=(32, 1, 100), default=(96, 3, 700))
    held_out = text.validation[: example.choose(short=6400, default=len(text.validation))]
    words = {word.strip(".,:;!?-'") for word in vocabulary.decode(text.train).lower().split()}
    reached = []
    for seed in example.seeds():
        weft.random.seed(seed)
        config = models.GPT2Config(
            vocab_size=len(vocabulary), n_positions=BLOCK, n_embd=width, n_layer=layers, n_head=4,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, eos_token_id=None,
        )  # fmt: skip
        model = models.GPT2LMHeadModel(config)
        train(model, text.train, steps, Generator(seed))
        reached.append(bits(model, held_out))
    example.figure(
        "of a character never seen", np.mean(reached), "bits", at_most=example.choose(short=4.5, default=3.1),
        beside={"counted pairs": counted_pairs(text.train, text.validation, len(vocabulary))},
    )  # fmt: skip
    compare(example, model, vocabulary, words, example.choose(short=2, default=16))


def compare(example: Example, model: nn.Module, vocabulary: CharVocabulary, words: set[str], count: int) -> None:
    """Write by each rule after the same prompts, and measure what came of it."""
    prompts = np.tile(vocabulary.encode("ROMEO:\nI "), (count, 1))
    found = {}
    for name, rule in RULES.items():
        rows = 1 if "temperature" not in rule else count  # what is not drawn is the same each time
        tokens = weft.generate(model, prompts[:rows], max_new_tokens=LENGTH, generator=Generator(example.seed), **rule)
        texts = [vocabulary.decode(row[prompts.shape[1] :]) for row in tokens]
        found[name] = known_and_new(texts, words)
        print(f"{name}: {' / '.join(texts[0].split(chr(10)))}")
    example.figure(
        "words that are words, top-p 0.8", found["top-p 0.8"][0], "%", at_least=found["temperature 1.5"][0],
        beside={name: known for name, (known, _) in found.items() if name != "top-p 0.8"},
    )  # fmt: skip
    draw(example, model, vocabulary, found)


def draw(example: Example, model: nn.Module, vocabulary: CharVocabulary, found: dict) -> None:
    figure, (left, right) = example.canvas(11, 4, 2)
    with weft.no_grad():
        scores = model(weft.asarray(vocabulary.encode("ROMEO:\nI wi")[None])).numpy()[:, -1].astype(np.float64)
    likely = np.argsort(-scores[0])[:12]
    rules = [name for name, rule in RULES.items() if "temperature" in rule]
    shares = np.stack([token_shares(scores, **RULES[name])[0, likely] for name in rules])
    left.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            colour = "white" if share > 0.5 else "#222222"
            left.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    left.set_xticks(range(len(likely)), [repr(vocabulary.decode([token]))[1:-1] for token in likely])
    left.set_yticks(range(len(rules)), rules)
    left.set(title='next character after "I wi": probability (%)', xlabel="character")
    for name, (known, new) in found.items():
        right.plot(new, known, "o", color="#2166ac")
        drawn = "temperature" in RULES[name]
        place = (-6, -5 if name.startswith("top-p") else 0) if drawn else (0, 7 if name == "greedy" else -14)
        side = "right" if drawn else "left"
        right.annotate(name, (new, known), place, textcoords="offset points", fontsize=8, ha=side)
    right.set(xlabel="runs of four words that differ (%)", ylabel="words that the play has (%)")
    right.margins(0.2)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
