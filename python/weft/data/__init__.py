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
from weft.data.dataset import ArrayDataset, Dataset, Subset, Windows, random_split
from weft.data.folder import ImageFolder, read_image
from weft.data.loader import DataLoader
from weft.data.readers import read_cifar, read_idx
from weft.data.samplerandom import SampleRandom
from weft.data.text import CharVocabulary, Text, read_text

__all__ = [
    "ArrayDataset", "BPETokenizer", "CharVocabulary", "Compose", "Cutout", "DataLoader", "Dataset", "ImageFolder",
    "Loaded", "MissingDataError", "Normalize", "RandomAffine", "RandomCrop", "RandomHorizontalFlip", "SampleRandom",
    "Subset", "Text", "Windows", "cifar10", "digits", "fashion_mnist", "gpt2_tokenizer", "mnist", "random_split",
    "read_cifar", "read_idx", "read_image", "read_text", "tiny_shakespeare",
]  # fmt: skip
