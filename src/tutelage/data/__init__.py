"""Datasets as values, and batches whose randomness is a pure function."""

from tutelage.data.batches import Batch, Epochs, Normalization
from tutelage.data.dataset import Data, Dataset, Facts, Splits
from tutelage.data.views import CropFlip, Resident, TurnedCropFlip

__all__ = [
    "Batch",
    "CropFlip",
    "Data",
    "Dataset",
    "Epochs",
    "Facts",
    "Normalization",
    "Resident",
    "Splits",
    "TurnedCropFlip",
]
