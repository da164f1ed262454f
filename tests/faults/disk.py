"""A disk that can lose power: it stands behind ``os``, and knows what a crash at this moment may leave of a folder.

Only what was synced is sure: the bytes of a file after ``fsync`` of the file, a name in a folder (made, renamed or
removed) after ``fsync`` of that folder. Of the rest a crash leaves anything: each change of a name on its own happens
or not, in whatever order; what was written to a file since is missing, zeros, cut in half or whole. Less is promised
here than any journaling file system keeps; a disk that says it has synced and has not is not here.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LINUX = Path("/proc/self/fd").exists()
"""Where the names of open files can be looked up."""

Image = dict[str, bytes | None]
"""A folder as it may lie on disk: path -> content, None for a folder."""


class Killed(BaseException):
    """Raised in the place of the operation at which a process is to die, and of each one after it."""


@dataclass(eq=False)
class File:
    data: bytes
    synced: bytes = b""


@dataclass(eq=False)
class Folder:
    entries: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)
    pending: list[dict[str, Node | None]] = field(default_factory=list)  # names that change together

    def change(self, names: dict[str, Node | None]) -> None:
        self.pending.append(names)
        apply(self.entries, names)

    def sync(self) -> None:
        self.durable, self.pending = dict(self.entries), []


Node = File | Folder


def apply(entries: dict[str, Node], names: dict[str, Node | None]) -> None:
    for name, node in names.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class Disk:
    """What lies below ``root``: the real folder, and beside it what of it is on disk.

    ``before`` is called before each operation; the process "dies" at operation ``dies_at``: this one and all later
    ones raise :class:`Killed` until :meth:`restart`.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, before: Callable[[], None] = lambda: None) -> None:
        self.root, self.before, self.top = root, before, Folder()
        self.count, self.dies_at, self.dead, self.watching = 0, 0, False, True
        for name in ("mkdir", "rmdir", "unlink", "remove", "replace", "rename", "fsync"):
            patch.setattr(os, name, self._watched(name, getattr(os, name)))

    def restart(self, dies_at: int = 0) -> None:
        """Begin a process that dies at operation ``dies_at``, or does not; what was not synced is still not."""
        self.count, self.dies_at, self.dead = 0, dies_at, False

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **options: Any) -> Any:
            path = self._path(words[0], options.get("dir_fd"))
            if not self.watching or path is None:
                return None if name == "fsync" else real(*words, **options)
            self.look()
            self.count += 1
            self.dead = self.dead or self.count == self.dies_at
            if self.dead:
                raise Killed
            self.before()
            done = None if name == "fsync" else real(*words, **options)  # the model is the disk
            if name == "fsync":
                self._sync(path)
            elif name == "mkdir":
                self._folder(path.parent).change({path.name: Folder()})
            elif name in ("replace", "rename"):
                other = Path(words[1])
                assert other.parent == path.parent, "between folders a rename is two changes; none is needed so far"
                folder = self._folder(path.parent)
                folder.change({path.name: None, other.name: folder.entries[path.name]})
            else:
                self._folder(path.parent).change({path.name: None})
            return done

        return call

    def _path(self, what: Any, dir_fd: int | None) -> Path | None:
        """What an operation is about, None where that is not below the root."""
        if isinstance(what, int):
            path = Path(f"/proc/self/fd/{what}").readlink()
        else:
            path = Path(f"/proc/self/fd/{dir_fd}").readlink() / what if dir_fd is not None else Path(what)
        return path if path.is_relative_to(self.root) else None

    def _folder(self, path: Path) -> Folder:
        found: Node = self.top
        for name in path.relative_to(self.root).parts:
            assert isinstance(found, Folder)
            found = found.entries[name]
        assert isinstance(found, Folder)
        return found

    def _sync(self, path: Path) -> None:
        if path.is_dir():
            self._folder(path).sync()
        else:
            node = self._folder(path.parent).entries[path.name]
            assert isinstance(node, File)
            node.synced = node.data

    def look(self) -> None:
        """Take in what was written since the last operation; a lock's file says nothing and is passed over."""
        self._look(self.root, self.top)

    def _look(self, path: Path, folder: Folder) -> None:
        for entry in os.scandir(path):
            node = folder.entries.get(entry.name)
            if entry.is_dir():
                assert isinstance(node, Folder), f"{entry.path} was made behind the disk's back"
                self._look(path / entry.name, node)
            elif entry.name != ".lock":
                data = (path / entry.name).read_bytes()
                if node is None:
                    folder.change({entry.name: File(data)})
                else:
                    assert isinstance(node, File)
                    node.data = data

    def spoil(self, path: Path, data: bytes | None) -> None:
        """Put other bytes on the disk, or none of a file, as a failing disk or a careless user would."""
        self.look()
        folder = self._folder(path.parent)
        if data is None:
            path.unlink()
            folder.sync()
        else:
            path.write_bytes(data)
            self.look()
            self._sync(path)

    def images(self, most: int, draw: random.Random) -> Iterator[Image]:
        """What a crash now may leave: all there is, or ``most`` drawn ones where there is more."""
        yield self.image(lambda n: n - 1)  # nothing lost: what a kill leaves
        path: list[int] = []
        for _ in range(most):
            taken: list[tuple[int, int]] = []

            def choose(n: int, taken: list[tuple[int, int]] = taken, path: list[int] = path) -> int:
                taken.append((path[len(taken)] if len(taken) < len(path) else 0, n))
                return taken[-1][0]

            yield self.image(choose)
            while taken and taken[-1][0] + 1 == taken[-1][1]:
                taken.pop()
            if not taken:
                return
            path = [k for k, _ in taken]
            path[-1] += 1
        for _ in range(most):
            yield self.image(draw.randrange)

    def image(self, choose: Callable[[int], int]) -> Image:
        """What a crash now leaves, where it is open as ``choose`` (of so many) says."""
        found: Image = {}
        self._image(self.top, "", choose, found)
        return found

    def _image(self, folder: Folder, at: str, choose: Callable[[int], int], found: Image) -> None:
        entries = dict(folder.durable)
        for names in folder.pending:
            if choose(2):
                apply(entries, names)
        for name, node in sorted(entries.items()):
            if isinstance(node, Folder):
                found[f"{at}{name}"] = None
                self._image(node, f"{at}{name}/", choose, found)
            elif node.data == node.synced:
                found[f"{at}{name}"] = node.data
            else:
                sure = common(node.data, node.synced)
                rest = len(node.data) - sure
                left = [node.synced, node.data[:sure] + bytes(rest), node.data[: sure + rest // 2], node.data]
                found[f"{at}{name}"] = left[choose(len(left))]

    def lose_power(self, image: Image) -> None:
        """Let an image be all there is."""
        self.watching = False
        shutil.rmtree(self.root)
        write_image(image, self.root)
        self.top, self.watching = read_folder(self.root), True


def common(one: bytes, other: bytes) -> int:
    """The number of bytes with which both begin."""
    differ = (k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def write_image(image: Image, root: Path) -> None:
    root.mkdir()
    for name, data in image.items():
        if data is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(data)


def read_folder(path: Path) -> Folder:
    folder = Folder()
    for entry in path.iterdir():
        if entry.is_dir():
            folder.entries[entry.name] = read_folder(entry)
        elif entry.name != ".lock":
            folder.entries[entry.name] = File(entry.read_bytes(), entry.read_bytes())
    folder.sync()
    return folder
