"""Datasets as values, and batches whose randomness is a pure function."""

from tutelage.data.augmentation import CropFlip, MarginCrop, Views
from tutelage.data.batches import Batch, BatchLoader
from tutelage.data.dataset import DataConfig, Dataset, DatasetInfo, Splits
from tutelage.data.image_store import ImageStore
from tutelage.data.normalization import Normalization
from tutelage.data.rotation import Rotated

__all__ = [
    "Batch",
    "BatchLoader",
    "CropFlip",
    "DataConfig",
    "Dataset",
    "DatasetInfo",
    "ImageStore",
    "MarginCrop",
    "Normalization",
    "Rotated",
    "Splits",
    "Views",
]
