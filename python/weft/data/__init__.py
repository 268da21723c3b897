"""Data: datasets, the loader, readers of real data sets, augmentation."""

from weft.data.audio import Sound, log_mel, mel_filterbank, read_wav, spectrogram
from weft.data.audio_augment import (
    SpecAugment,
    normalise_frames,
    pad_frames,
    stretch_frames,
    trim_silence,
    warp_filters,
)
from weft.data.augment import (
    CenterCrop,
    ColorJitter,
    Compose,
    CutMix,
    Cutout,
    GaussianBlur,
    GaussianNoise,
    MixUp,
    Normalize,
    RandomAffine,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomPerspective,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
)
from weft.data.bpe import BPETokenizer
from weft.data.canvas import Canvases, digit_canvases
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
from weft.data.photos import cifar10_sample, sign_digits
from weft.data.readers import read_cifar, read_idx
from weft.data.report import DataReport, Finding, data_report
from weft.data.samplerandom import SampleRandom
from weft.data.series import Series, airline_passengers, daily_temperatures, read_series, sunspots
from weft.data.speech import SpokenDigits, spoken_digits
from weft.data.tables import Preprocessor, Table, read_csv
from weft.data.tabular import MovieLens, california_housing, iris, movielens, wine_quality
from weft.data.text import CharVocabulary, Text, WordVocabulary, batches_by_length, read_text, split_words

__all__ = [
    "ArrayDataset", "BPETokenizer", "Canvases", "CenterCrop", "CharVocabulary", "ColorJitter", "Compose", "CutMix",
    "Cutout", "DataLoader", "DataReport", "Dataset", "Finding", "GaussianBlur", "GaussianNoise", "ImageFolder",
    "LabelledTexts", "Loaded", "MissingDataError", "MixUp", "MovieLens", "Normalize", "Preprocessor",
    "RandomAffine", "RandomApply", "RandomChoice", "RandomCrop", "RandomErasing", "RandomGrayscale",
    "RandomHorizontalFlip", "RandomPerspective", "RandomResizedCrop", "RandomVerticalFlip", "Resize",
    "SampleRandom", "Series", "Sound", "SpecAugment", "Splits", "SpokenDigits", "Subset", "Table", "Text",
    "Windows", "WordVocabulary", "airline_passengers", "batches_by_length", "california_housing", "cifar10",
    "cifar10_sample", "daily_temperatures", "data_report", "digit_canvases", "digits", "fashion_mnist",
    "first_names", "gpt2_tokenizer", "iris", "log_mel", "mel_filterbank", "mnist", "movielens", "normalise_frames",
    "pad_frames", "random_split", "read_cifar", "read_csv", "read_idx", "read_image", "read_labelled",
    "read_series", "read_text", "read_wav", "sign_digits", "sms_spam", "spectrogram", "split_words",
    "spoken_digits", "sst2", "stretch_frames", "sunspots", "tiny_shakespeare", "trim_silence", "warp_filters",
    "wine_quality",
]  # fmt: skip
