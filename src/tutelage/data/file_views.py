"""Views cut out of image files, in this process or ahead of it by workers."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from multiprocessing.util import Finalize
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapStyle

from tutelage.data.augmentation import Views
from tutelage.data.pixels import FileImages
from tutelage.interrupts import leave_to_parent, signals_blocked


class FileViews:
    """The images of a training set that are not tensors on its device; cuts views as :class:`ImageStore` does.

    With ``workers`` processes, the batches of an epoch that :meth:`begin` announces are cut ahead, in their order.
    What is cut is a function of (row, view), so that their number changes nothing.
    """

    def __init__(self, images: FileImages, views: Views, device: torch.device, workers: int = 0) -> None:
        self.images, self.views, self.device = images, views, device
        self._ahead = _Ahead(images, views, workers) if workers else None
        if self._ahead is not None:
            # Also where this is collected as a part of a cycle, or as the program ends. Queues close at priority 10,
            # and then tell the workers nothing any more, which ignore SIGTERM.
            Finalize(self, self._ahead.close, exitpriority=20)

    def __len__(self) -> int:
        return len(self.images)

    def begin(self, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Announce the rows and views of the batches that :meth:`cut` will be called with, in their order."""
        if self._ahead is not None:
            self._ahead.begin([(rows.cpu(), views.cpu()) for rows, views in batches])

    def cut(self, rows: Tensor, views: Tensor) -> Tensor:
        """Cut the given views of the given rows: uint8 ``[B, C, size, size]``, channels-last in memory.

        Errors: ``ValueError`` that names a file which cannot be decoded any more.
        """
        batch = self._next(rows.cpu(), views.cpu())
        pixels = batch.to(self.device, non_blocking=True)
        return self.views.transform(pixels, views.to(self.device)).permute(0, 3, 1, 2)

    def _next(self, rows: Tensor, views: Tensor) -> Tensor:
        if self._ahead is not None and self._ahead.is_next(rows, views):
            return _checked(self._ahead.next())
        cuts = _Cuts(self.images, self.views)
        return _checked(_stacked([cuts[key] for key in zip(rows.tolist(), views.tolist(), strict=True)]))


class _Ahead:
    """Processes that cut the announced batches ahead of their use."""

    def __init__(self, images: FileImages, views: Views, workers: int) -> None:
        self._announced: list[tuple[Tensor, Tensor]] = []
        self._batches: Iterator[Tensor | ValueError] | None = None
        self._loader: _Loader | None = _Loader(
            _Cuts(images, views),
            batch_sampler=_Keys(self._announced),
            num_workers=workers,
            collate_fn=_stacked,
            persistent_workers=True,
            worker_init_fn=_start,
            generator=torch.Generator(),  # or it would draw from the global one
        )

    def begin(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        assert self._loader is not None
        self._announced[:] = batches
        with signals_blocked(signal.SIGINT, signal.SIGTERM):  # the first call starts the workers
            self._batches = cast(Iterator[Tensor | ValueError], iter(self._loader))
        self._announced.reverse()  # the loader has read it; the next batch is the last

    def is_next(self, rows: Tensor, views: Tensor) -> bool:
        if not self._announced:
            return False
        next_rows, next_views = self._announced[-1]
        return torch.equal(rows, next_rows) and torch.equal(views, next_views)

    def next(self) -> Tensor | ValueError:
        assert self._batches is not None
        self._announced.pop()
        return next(self._batches)

    def close(self) -> None:
        """End the workers, by dropping the last references to what holds them."""
        self._announced.clear()
        self._batches = self._loader = None


class _Loader(DataLoader[np.ndarray | ValueError]):
    """A loader with as many workers as the user named."""

    def check_worker_number_rationality(self) -> None:
        """Warn of nothing: torch would, and in the middle of training, of more workers than cores."""


class _Cuts(MapStyle[np.ndarray | ValueError]):
    """Views by (row, view), or why there is none: a worker's error would have its traceback in the message."""

    def __init__(self, images: FileImages, views: Views) -> None:
        self.images, self.views = images, views

    def __getitem__(self, key: tuple[int, int]) -> np.ndarray | ValueError:
        row, view = key
        pixels, size = self.images.pixels, self.images.pixels.preparation.size
        try:
            return self.views.cut(pixels[int(self.images.rows[row])], view, size)
        except ValueError as error:
            return error


def _start(_: int) -> None:
    leave_to_parent()


class _Keys:
    """The keys of each announced batch."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for rows, views in list(self.batches):
            yield list(zip(rows.tolist(), views.tolist(), strict=True))


def _stacked(cuts: list[np.ndarray | ValueError]) -> Tensor | ValueError:
    arrays = [cut for cut in cuts if isinstance(cut, np.ndarray)]
    return (
        torch.from_numpy(np.stack(arrays))
        if len(arrays) == len(cuts)
        else next(cut for cut in cuts if isinstance(cut, ValueError))
    )


def _checked(batch: Tensor | ValueError) -> Tensor:
    if isinstance(batch, ValueError):
        raise batch
    return batch
