"""Where --csv, --markdown and --out write: to a file, through a link, into a pipe or a device."""

from __future__ import annotations

import csv
import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess
from tests.report.made import arm, write
from tutelage import storage
from tutelage.study import Study

TEXT = b"arm,top-1\nbaseline,0.5\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    write(Study(lineages=(arm("baseline"),), seeds=(0, 1)), folder, lambda name, place, seed: 0.5)
    return folder


@pytest.fixture
def show(runs: Path, in_process: InProcess) -> Callable[..., tuple[int, str, str]]:
    (study,) = (runs / "studies").iterdir()
    return lambda *words: in_process("show", study.name, "--runs", str(runs), *words)


class Reader:
    """What comes out of a FIFO."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.content = b""
        self.thread = threading.Thread(target=self._read, args=(path,))
        self.thread.start()

    def _read(self, path: Path) -> None:
        self.content = path.read_bytes()

    def end(self) -> bytes:
        self.thread.join(60)
        return self.content


@pytest.mark.fault(42)
def test_a_fifo_is_written_into_and_stays(show: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    readers = [Reader(tmp_path / name) for name in ("table.csv", "table.md")]
    code, out, _ = show("--csv", "table.csv", "--markdown", "table.md")
    numbers, text = (reader.end() for reader in readers)
    assert code == 0
    assert "written" not in out
    assert next(csv.reader(io.StringIO(numbers.decode())))[0] == "arm"
    assert text.startswith(b"# ")
    assert all(stat.S_ISFIFO((tmp_path / name).stat().st_mode) for name in ("table.csv", "table.md"))


@pytest.mark.fault(42)
def test_links_are_followed_and_stay(show: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Also one to a link, one to nothing yet, and one into a folder that is a link."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old.csv").write_text("old")
    old = (tmp_path / "data" / "old.csv").stat().st_ino
    (tmp_path / "one.csv").symlink_to("data/old.csv")
    (tmp_path / "two.csv").symlink_to(tmp_path / "one.csv")
    (tmp_path / "three.md").symlink_to("data/new.md")
    (tmp_path / "folder").symlink_to("data")
    assert show("--csv", "two.csv", "--markdown", "three.md")[0] == 0
    assert show("--csv", "folder/four.csv")[0] == 0
    content = (tmp_path / "data" / "old.csv").read_bytes()
    assert content.startswith(b"arm")
    assert (tmp_path / "data" / "old.csv").stat().st_ino != old, "it is not replaced as a whole"
    assert (tmp_path / "data" / "new.md").read_text().startswith("# ")
    assert (tmp_path / "data" / "four.csv").read_bytes() == content
    assert all((tmp_path / name).is_symlink() for name in ("one.csv", "two.csv", "three.md", "folder"))
    assert list(tmp_path.rglob(".partial-*")) == []


@pytest.mark.fault(42)
def test_a_device_is_written_into_and_stays(show: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.open("wb").close()
    except OSError as error:
        pytest.skip(f"no device can be made here: {error}")
    (tmp_path / "link.csv").symlink_to("null")
    for name in ("null", "link.csv"):
        code, out, _ = show("--csv", name)
        assert (code, "written" in out) == (0, False)
        assert stat.S_ISCHR(device.stat().st_mode)
    assert (tmp_path / "link.csv").is_symlink()


@pytest.mark.fault(42)
def test_a_page_is_written_through_links_of_the_users(runs: Path, in_process: InProcess, tmp_path: Path) -> None:
    (name,) = (path.name for path in (runs / "studies").iterdir())
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / f"{name}.csv").symlink_to(tmp_path / "latest.csv")
    reader = Reader(tmp_path / "pages" / f"{name}.md")
    assert in_process("report", "--runs", str(runs), "--out", "pages")[0] == 0
    assert reader.end().startswith(b"# ")
    assert (tmp_path / "latest.csv").read_bytes().startswith(b"arm")
    assert (tmp_path / "pages" / f"{name}.csv").is_symlink()


@pytest.mark.fault(42)
def test_a_link_in_a_folder_of_runs_is_replaced(runs: Path, in_process: InProcess, tmp_path: Path) -> None:
    """Such a folder may be a stranger's: it does not choose which of the user's files are overwritten."""
    (name,) = (path.name for path in (runs / "studies").iterdir())
    (tmp_path / "mine.txt").write_text("mine")
    (runs / "reports").mkdir()
    (runs / "reports" / f"{name}.csv").symlink_to(tmp_path / "mine.txt")
    assert in_process("report", "--runs", str(runs))[0] == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not (runs / "reports" / f"{name}.csv").is_symlink()


SHELL = """
cd "$1"; write="$2"
$write /dev/stdout > whole.txt
$write /dev/stdout >> whole.txt
$write /dev/fd/1 | cat > piped.txt
$write /proc/self/fd/2 2> errors.txt
$write >(cat > substituted.txt); wait
ln -s /dev/stdout link; $write link | cat > linked.txt
$write /dev/full; echo "$?" > full.txt
$write link > /dev/full; echo "$?" >> full.txt
"""
CODE = """
import sys
from pathlib import Path
from tutelage.storage.outputs import write_output
print("before")
write_output(Path(sys.argv[1]), b"content\\n")
print("after")
"""


@pytest.mark.fault(42)
def test_descriptors_of_the_process(tmp_path: Path) -> None:
    """As a shell passes them: standard output goes on behind what is written there."""
    script = tmp_path / "write.py"
    script.write_text(CODE)
    (tmp_path / "write").write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    (tmp_path / "write").chmod(0o755)
    words = ["bash", "-c", SHELL, "bash", str(tmp_path), str(tmp_path / "write")]
    subprocess.run(words, check=False, capture_output=True, timeout=170)
    expected = "before\ncontent\nafter\n"
    assert (tmp_path / "whole.txt").read_text() == 2 * expected
    assert (tmp_path / "piped.txt").read_text() == (tmp_path / "linked.txt").read_text() == expected
    assert (tmp_path / "errors.txt").read_text() == "content\n"
    assert (tmp_path / "substituted.txt").read_text() == "content\n"
    assert (tmp_path / "full.txt").read_text() == "1\n1\n"


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=r"symbolic links.*loop"):
        storage.write_output(tmp_path / "loop", TEXT)
    assert (tmp_path / "loop").is_symlink()


def test_an_error_names_what_the_user_named(tmp_path: Path) -> None:
    with pytest.raises(storage.NoSpace, match=r"^no space: /dev/full needs 23 bytes"):
        storage.write_output(Path("/dev/full"), TEXT)
    with pytest.raises(OSError, match="/dev/fd/999"):
        storage.write_output(Path("/dev/fd/999"), TEXT)
