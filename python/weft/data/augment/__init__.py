"""Augmentation of whole batches of images (N, C, H, W), each image by its own random numbers.

A transform is called with the batch and a SampleRandom, `transform(x, rng)`, and returns a new batch; `DataLoader`'s
`transform` does so for every batch, and its `mix` for `MixUp` and `CutMix`, which change the labels too. What happens
to a sample depends on seed, epoch and its index alone, so it is the same whatever the batch or the number of workers.

All keep the dtype, uint8 from 0 to 255 or float32 from 0 to 1, but `Normalize`, which makes float32 and so comes last.
Names and arguments are torchvision's where it has them.

    shape     RandomHorizontalFlip RandomVerticalFlip RandomCrop CenterCrop RandomAffine RandomPerspective
    size      Resize RandomResizedCrop
    colour    ColorJitter RandomGrayscale GaussianNoise Normalize
    areas     GaussianBlur Cutout RandomErasing
    labels    MixUp CutMix
    made of   Compose RandomApply RandomChoice
"""

from weft.data.augment.area import Cutout, GaussianBlur, RandomErasing
from weft.data.augment.base import Compose, RandomApply, RandomChoice
from weft.data.augment.colour import ColorJitter, GaussianNoise, Normalize, RandomGrayscale
from weft.data.augment.geometry import (
    CenterCrop,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomPerspective,
    RandomVerticalFlip,
)
from weft.data.augment.mix import CutMix, MixUp
from weft.data.augment.resize import RandomResizedCrop, Resize

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "CutMix", "Cutout", "GaussianBlur", "GaussianNoise", "MixUp", "Normalize",
    "RandomAffine", "RandomApply", "RandomChoice", "RandomCrop", "RandomErasing", "RandomGrayscale",
    "RandomHorizontalFlip", "RandomPerspective", "RandomResizedCrop", "RandomVerticalFlip", "Resize",
]  # fmt: skip
