"""Small sets of real JPEGs in the official layouts of ILSVRC2012, Tiny ImageNet and CINIC-10."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from tutelage.data.official import OFFICIAL

WNIDS = tuple(f"n{1440764 + 9 * number:08d}" for number in range(10))
VARIANTS = 3


def jpeg(label: int, variant: int, width: int, height: int) -> bytes:
    values = np.random.default_rng([label, variant]).integers(0, 60, (height, width, 3), dtype=np.uint8)
    values += np.array([20 * label, 190 - 20 * label, 40 * variant], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG")
    return buffer.getvalue()


class Jpegs:
    """Encoded images: a few of each class, written under as many names as wanted."""

    def __init__(self, side: int, wide: int = 0) -> None:
        self.images = [
            [jpeg(label, variant, side + wide * variant, side) for variant in range(VARIANTS)] for label in range(10)
        ]

    def write(self, path: Path, label: int, number: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.images[label][number % VARIANTS])


def write_meta(path: Path, order: tuple[str, ...] = WNIDS[::-1]) -> None:
    """``meta.mat`` as in the development kit: numbers are in no order of WNIDs, and the last synset is no leaf."""
    rows = [*((number, wnid, 0) for number, wnid in enumerate(order, 1)), (len(order) + 1, "n00001740", 2)]
    kind = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")]
    synsets = np.array([(number, wnid, "tench, Tinca", "a fish", count) for number, wnid, count in rows], kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"synsets": synsets[:, None]}, do_compression=True)


def make_ilsvrc(root: Path, layout: str, train: int = 10, val: int = 5) -> Path:
    """ILSVRC2012 with so many images of each class; ``layout`` is devkit, synsets, unpacked or kaggle."""
    jpegs = Jpegs(36, wide=8)
    base = root / "ILSVRC/Data/CLS-LOC" if layout == "kaggle" else root
    names = ("ILSVRC2012_img_train", "ILSVRC2012_img_val") if layout == "unpacked" else ("train", "val")
    for label, wnid in enumerate(WNIDS):
        for number in range(train):
            jpegs.write(base / names[0] / wnid / f"{wnid}_{number}.JPEG", label, number)
    labels = [(7 * number) % len(WNIDS) for number in range(val * len(WNIDS))]
    for number, label in enumerate(labels):
        folder = base / names[1] / (WNIDS[label] if layout == "synsets" else "")
        jpegs.write(folder / f"ILSVRC2012_val_{number + 1:08d}.JPEG", label, number)
    if layout in ("devkit", "unpacked"):
        data = root / "ILSVRC2012_devkit_t12" / "data"
        write_meta(data / "meta.mat")
        lines = "".join(f"{len(WNIDS) - label}\n" for label in labels)
        (data / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)
    if layout == "kaggle":
        rows = [f"ILSVRC2012_val_{n + 1:08d},{WNIDS[label]} 1 2 3 4 \n" for n, label in enumerate(labels)]
        (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(reversed(rows)))
        jpegs.write(base / "test" / "ILSVRC2012_test_00000001.JPEG", 0, 0)
    return root


def make_tiny(root: Path, layout: str = "official", train: int = 10, val: int = 5) -> Path:
    """Tiny ImageNet with so many images of each class; ``layout`` is official, classes or images (in these)."""
    jpegs = Jpegs(64)
    lines = []
    for label, wnid in enumerate(WNIDS):
        for number in range(train):
            jpegs.write(root / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", label, number)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t9\t9\n")
    for number in range(val * len(WNIDS)):
        label, name = (3 * number) % len(WNIDS), f"val_{number}.JPEG"
        inner = {"official": "images", "classes": WNIDS[label], "images": f"{WNIDS[label]}/images"}[layout]
        jpegs.write(root / "val" / inner / name, label, number)
        lines.append(f"{name}\t{WNIDS[label]}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(WNIDS[::-1]))
    (root / "words.txt").write_text("n00001740\tentity\n")
    jpegs.write(root / "test" / "images" / "test_0.JPEG", 0, 0)
    return root


def make_cinic(root: Path, train: int = 10, val: int = 5) -> Path:
    """CINIC-10 with so many images of each class."""
    jpegs = Jpegs(32)
    for part, count in (("train", train), ("valid", val), ("test", val)):
        for label, name in enumerate(OFFICIAL["cinic10"].class_names):
            for number in range(count):
                jpegs.write(root / part / name / f"{name}-{number}.jpg", label, number)
    return root
