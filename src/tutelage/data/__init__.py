"""Datasets as values, and batches whose randomness is a pure function."""

from tutelage.data.augmentation import CropFlip, ImageStore, TurnedCropFlip
from tutelage.data.batches import Batch, BatchLoader, Normalization
from tutelage.data.dataset import DataConfig, Dataset, DatasetInfo, Splits

__all__ = [
    "Batch",
    "BatchLoader",
    "CropFlip",
    "DataConfig",
    "Dataset",
    "DatasetInfo",
    "ImageStore",
    "Normalization",
    "Splits",
    "TurnedCropFlip",
]
