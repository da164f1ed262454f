"""Datasets as values, and batches whose randomness is a pure function."""

from tutelage.data.augmentation import CropFlip, RotatedCropFlip
from tutelage.data.batches import Batch, BatchLoader
from tutelage.data.dataset import DataConfig, Dataset, DatasetInfo, Splits
from tutelage.data.image_store import ImageStore
from tutelage.data.normalization import Normalization

__all__ = [
    "Batch",
    "BatchLoader",
    "CropFlip",
    "DataConfig",
    "Dataset",
    "DatasetInfo",
    "ImageStore",
    "Normalization",
    "RotatedCropFlip",
    "Splits",
]
