"""A simulated disk that can lose power: it wraps functions of ``os`` and models what a crash may leave of a folder.

Only synced changes are durable: the bytes of a file after ``fsync`` of the file, a name in a folder (created,
renamed or removed) after ``fsync`` of that folder. Any other change may be lost in a crash: changes of names
independently and in any order; later writes to a file leave it without them, with zeros, cut in half or complete.
Every journaling file system guarantees more than this. A disk that reports a sync it has not done is not modelled.
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
"""Whether the names of open files can be looked up."""

Image = dict[str, bytes | None]
"""The content of a disk: path -> content of the file, None for a folder."""


class Killed(BaseException):
    """Raised instead of the operation at which a process is to die, and of every later one."""


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
    """The folder ``root`` as processes see it, and a model of which parts of it are durable.

    ``before`` is called before each operation; the process "dies" at operation ``dies_at``: this one and all later
    ones raise :class:`Killed` until :meth:`restart`.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, before: Callable[[], None] = lambda: None) -> None:
        self.root, self.before, self.top = root, before, Folder()
        self.count, self.dies_at, self.dead, self.watching = 0, 0, False, True
        for name in ("mkdir", "rmdir", "unlink", "remove", "replace", "rename", "fsync"):
            patch.setattr(os, name, self._watched(name, getattr(os, name)))

    def restart(self, dies_at: int = 0) -> None:
        """Start a process that dies at operation ``dies_at`` (0: it does not); unsynced changes stay unsynced."""
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
            result = None if name == "fsync" else real(*words, **options)  # the model is the disk
            if name == "fsync":
                self._sync(path)
            elif name == "mkdir":
                self._folder(path.parent).change({path.name: Folder()})
            elif name in ("replace", "rename"):
                target = Path(words[1])
                assert target.parent == path.parent, "renames between folders are not modelled"
                folder = self._folder(path.parent)
                folder.change({path.name: None, target.name: folder.entries[path.name]})
            else:
                self._folder(path.parent).change({path.name: None})
            return result

        return call

    def _path(self, target: Any, dir_fd: int | None) -> Path | None:
        """The path that an operation acts on, None if it is not below the root."""
        if isinstance(target, int):
            path = Path(f"/proc/self/fd/{target}").readlink()
        else:
            path = Path(f"/proc/self/fd/{dir_fd}").readlink() / target if dir_fd is not None else Path(target)
        return path if path.is_relative_to(self.root) else None

    def _folder(self, path: Path) -> Folder:
        node: Node = self.top
        for name in path.relative_to(self.root).parts:
            assert isinstance(node, Folder)
            node = node.entries[name]
        assert isinstance(node, Folder)
        return node

    def _sync(self, path: Path) -> None:
        if path.is_dir():
            self._folder(path).sync()
        else:
            node = self._folder(path.parent).entries[path.name]
            assert isinstance(node, File)
            node.synced = node.data

    def look(self) -> None:
        """Record what was written since the last operation; lock files are ignored."""
        self._look(self.root, self.top)

    def _look(self, path: Path, folder: Folder) -> None:
        for entry in os.scandir(path):
            node = folder.entries.get(entry.name)
            if entry.is_dir():
                assert isinstance(node, Folder), f"{entry.path} was created without the disk's knowledge"
                self._look(path / entry.name, node)
            elif entry.name != ".lock":
                data = (path / entry.name).read_bytes()
                if node is None:
                    folder.change({entry.name: File(data)})
                else:
                    assert isinstance(node, File)
                    node.data = data

    def spoil(self, path: Path, data: bytes | None) -> None:
        """Replace or delete (``None``) a file on disk, as a failing disk or a careless user would."""
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
        """What a crash now may leave: all possibilities, or ``most`` random ones if there are more."""
        yield self.image(lambda n: n - 1)  # nothing is lost, as after a kill
        path: list[int] = []
        for _ in range(most):
            choices: list[tuple[int, int]] = []

            def choose(n: int, choices: list[tuple[int, int]] = choices, path: list[int] = path) -> int:
                choices.append((path[len(choices)] if len(choices) < len(path) else 0, n))
                return choices[-1][0]

            yield self.image(choose)
            while choices and choices[-1][0] + 1 == choices[-1][1]:
                choices.pop()
            if not choices:
                return
            path = [k for k, _ in choices]
            path[-1] += 1
        for _ in range(most):
            yield self.image(draw.randrange)

    def image(self, choose: Callable[[int], int]) -> Image:
        """What a crash now leaves; ``choose(n)`` picks one of ``n`` possibilities wherever there are several."""
        image: Image = {}
        self._image(self.top, "", choose, image)
        return image

    def _image(self, folder: Folder, at: str, choose: Callable[[int], int], image: Image) -> None:
        entries = dict(folder.durable)
        for names in folder.pending:
            if choose(2):
                apply(entries, names)
        for name, node in sorted(entries.items()):
            if isinstance(node, Folder):
                image[f"{at}{name}"] = None
                self._image(node, f"{at}{name}/", choose, image)
            elif node.data == node.synced:
                image[f"{at}{name}"] = node.data
            else:
                shared = common(node.data, node.synced)
                rest = len(node.data) - shared
                versions = [node.synced, node.data[:shared] + bytes(rest), node.data[: shared + rest // 2], node.data]
                image[f"{at}{name}"] = versions[choose(len(versions))]

    def lose_power(self, image: Image) -> None:
        """Lose power: the folder becomes this image."""
        self.watching = False
        shutil.rmtree(self.root)
        write_image(image, self.root)
        self.top, self.watching = read_folder(self.root), True


def common(first: bytes, second: bytes) -> int:
    """The length of the common prefix."""
    differ = (k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return next(differ, min(len(first), len(second)))


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
