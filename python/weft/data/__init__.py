"""Data: datasets, the loader, readers of real data sets, augmentation."""

from weft.data.augment import Compose, Cutout, Normalize, RandomAffine, RandomCrop, RandomHorizontalFlip
from weft.data.bpe import BPETokenizer
from weft.data.catalog import (
    Loaded,
    MissingDataError,
    cifar10,
    digits,
    fashion_mnist,
    gpt2_tokenizer,
    mnist,
    tiny_shakespeare,
)
from weft.data.corpora import LabelledTexts, Splits, first_names, read_labelled, sms_spam, sst2
from weft.data.dataset import ArrayDataset, Dataset, Subset, Windows, random_split
from weft.data.folder import ImageFolder, read_image
from weft.data.loader import DataLoader
from weft.data.readers import read_cifar, read_idx
from weft.data.samplerandom import SampleRandom
from weft.data.series import Series, airline_passengers, daily_temperatures, read_series, sunspots
from weft.data.text import CharVocabulary, Text, WordVocabulary, read_text, split_words

__all__ = [
    "ArrayDataset", "BPETokenizer", "CharVocabulary", "Compose", "Cutout", "DataLoader", "Dataset", "ImageFolder",
    "LabelledTexts", "Loaded", "MissingDataError", "Normalize", "RandomAffine", "RandomCrop", "RandomHorizontalFlip",
    "SampleRandom", "Series", "Splits", "Subset", "Text", "Windows", "WordVocabulary", "airline_passengers",
    "cifar10", "daily_temperatures", "digits", "fashion_mnist", "first_names", "gpt2_tokenizer", "mnist",
    "random_split", "read_cifar", "read_idx", "read_image", "read_labelled", "read_series", "read_text", "sms_spam",
    "split_words", "sst2", "sunspots", "tiny_shakespeare",
]  # fmt: skip
