"""An encoder-decoder transformer translates English number words into German, where the tens come after the ones.

    four hundred and twenty seven  ->  vierhundertsiebenundzwanzig

`nn.Transformer` (Vaswani et al., 2017) reads words and writes letters, each letter knowing the words and the letters
before it. None of the tested numbers was in training, and a translation counts only if every letter is right. What each
letter depends on is drawn from gradients: by how much its score moves with each word that was read.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import CharVocabulary, WordVocabulary
from weft.nn import functional as F
from weft.random import Generator
from weft.recipes.example import Example, main
from weft.recipes.numerals import english, german

LETTERS = CharVocabulary("^$" + "abcdefghijklmnopqrstuvwxyzäöüß")  # ^ begins a word, $ ends it and fills up
BEGIN, END, LONGEST = (*LETTERS.encode("^$"), 42)


class Translator(nn.Module):
    """Words (N, S), 0 for padding, and letters so far (N, T) -> scores of the letter after each (N, T, letters)."""

    def __init__(self, words: int, width: int = 64):
        self.word, self.letter = nn.Embedding(words, width, padding_idx=0), nn.Embedding(len(LETTERS), width)
        self.place = nn.SinusoidalPositionalEncoding(width)
        self.transformer = nn.Transformer(width, 4, 2, 2, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(width, len(LETTERS))

    def forward(self, words: weft.Tensor, letters: weft.Tensor, read: weft.Tensor | None = None) -> weft.Tensor:
        """read: the words' vectors (N, S, C), where they are known already."""
        read = self.word(words) if read is None else read
        ahead = weft.asarray(np.triu(np.ones((letters.shape[1],) * 2, bool), 1))  # True: may not be seen yet
        out = self.transformer(
            self.place(read), self.place(self.letter(letters)), tgt_mask=ahead, tgt_is_causal=True,
            src_key_padding_mask=words == 0, memory_key_padding_mask=words == 0,
        )  # fmt: skip
        return self.head(out)


def letters_of(numbers: np.ndarray) -> np.ndarray:
    """^, the German word and as many $ as fill the row, (N, LONGEST + 2)."""
    return np.stack([LETTERS.encode(f"^{german(n)}".ljust(LONGEST + 2, "$")) for n in numbers.tolist()])


def train(model: Translator, words: np.ndarray, letters: np.ndarray, epochs: int, rng: Generator) -> None:
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98))
    schedule = optim.OneCycleLR(optimizer, max_lr=2e-3, total_steps=epochs * (len(words) // 64), pct_start=0.1)
    for _ in range(epochs):
        for rows in rng.permutation_array(len(words))[: len(words) // 64 * 64].reshape(-1, 64):
            longest = (letters[rows] != END).sum(axis=1).max()
            written = weft.asarray(letters[rows, : longest + 1])
            scores = model(weft.asarray(words[rows]), written[:, :-1])
            loss = F.cross_entropy(scores.reshape(-1, len(LETTERS)), written[:, 1:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def translate(model: Translator, words: np.ndarray) -> list[str]:
    """The likeliest letters, one after the other, until every word has ended."""
    written = np.full((len(words), 1), BEGIN)
    with weft.no_grad():
        memory_of = weft.asarray(words)
        for _ in range(LONGEST + 1):
            scores = model(memory_of, weft.asarray(written)).numpy()[:, -1]
            written = np.concatenate([written, scores.argmax(axis=1)[:, None]], axis=1)
            if (written == END).any(axis=1).all():
                break
    return [LETTERS.decode(row[1:]).partition("$")[0] for row in written]


def letters_right(model: Translator, words: np.ndarray, letters: np.ndarray) -> float:
    """The share of letters that are right, each when those before it are known, in %."""
    with weft.no_grad():
        said = model(weft.asarray(words), weft.asarray(letters[:, :-1])).numpy().argmax(axis=-1)
    follows = letters[:, 1:]
    return 100 * (said == follows)[follows != END].mean()


def dependence(model: Translator, words: np.ndarray, letters: np.ndarray) -> np.ndarray:
    """How much the score of each letter moves with each word that was read, (letters, words); rows sum to 1."""
    moved = []
    for place, letter in enumerate(letters[0, 1:]):
        read = model.word(weft.asarray(words)).detach()
        read.requires_grad = True
        model(weft.asarray(words), weft.asarray(letters[:, :-1]), read)[0, place, letter].backward()
        moved.append(np.linalg.norm(read.grad.numpy()[0], axis=1))
    return np.array(moved) / np.sum(moved, axis=1, keepdims=True)


def run(example: Example) -> None:
    count, epochs = example.choose(short=(1500, 2), default=(3000, 12))
    tested, reached, in_letters = example.choose(short=16, default=1000), [], []
    for seed in example.seeds():
        weft.random.seed(seed)
        rng = Generator(seed)
        numbers = 1 + rng.permutation_array(9999)
        vocabulary = WordVocabulary([english(n) for n in numbers[:count].tolist()])
        words, letters = vocabulary.batch(english(n) for n in numbers.tolist()), letters_of(numbers)
        model = Translator(len(vocabulary))
        train(model, words[:count], letters[:count], epochs, rng)
        for name, part in (("validation", slice(-2 * tested, -tested)), ("test", slice(-tested, None))):
            said = translate(model, words[part])
            exact = 100 * np.mean([text == german(n) for text, n in zip(said, numbers[part].tolist())])
            print(f"{name}: {exact:.1f} % exact; {english(int(numbers[part][0]))} -> {said[0]}")
        reached.append(exact)
        in_letters.append(letters_right(model, words[-tested:], letters[-tested:]))
    bars = example.choose(short=(None, 45.0), default=(95.0, 99.0))
    example.figure("numbers right in every letter", np.mean(reached), "%", at_least=bars[0])
    example.figure("letters right, those before them known", np.mean(in_letters), "%", at_least=bars[1])
    draw(example, model, vocabulary)


def draw(example: Example, model: Translator, vocabulary: WordVocabulary) -> None:
    words = vocabulary.batch([english(427)])
    letters = LETTERS.encode(f"^{german(427)}")[None]
    figure, (axis,) = example.canvas(9, 3)
    shown = axis.imshow(100 * dependence(model, words, letters).T, cmap="Blues", vmin=0, aspect="auto")
    axis.set_xticks(range(letters.shape[1] - 1), german(427))
    axis.set_yticks(range(words.shape[1]), english(427).split())
    axis.set(xlabel="written", ylabel="read", title="what each letter depends on")
    figure.colorbar(shown, ax=axis, label="share of the gradient (%)")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
