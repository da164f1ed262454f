"""Read TOML files of hyper-parameters into dataclasses."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib.resources import files
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from tutelage.errors import unknown
from tutelage.training import Decay, Milestones, Schedule, WarmUp
from tutelage.validation import checked

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSchedule:
    """A schedule whose learning rate is multiplied by ``factor`` at each of its ``milestones``, counted in epochs."""

    source: str
    epochs: int
    batch_size: int
    lr: float
    milestones: tuple[int, ...]
    factor: float
    momentum: float
    nesterov: bool
    weight_decay: float
    warm_up_epochs: int = 0

    def schedule(self, *, epochs: int | None = None, lr: float | None = None, delay: int = 0) -> Schedule:
        """The schedule, with other ``epochs`` or another ``lr``; ``delay`` epochs at the highest rate come before it.

        The milestones stay at their epochs, whatever ``epochs`` is.

        >>> from tutelage.experiments.hyperparameters.crd import SCHEDULE
        >>> SCHEDULE.schedule(lr=0.01).decay
        Milestones(at=(0.625, 0.75, 0.875), factor=0.1)
        """
        total = (self.epochs if epochs is None else epochs) + delay
        decay: Decay = Milestones(at=tuple((delay + epoch) / total for epoch in self.milestones), factor=self.factor)
        if self.warm_up_epochs:
            decay = WarmUp(then=decay, over=self.warm_up_epochs / total)
        return Schedule(
            epochs=total,
            batch_size=self.batch_size,
            lr=self.lr if lr is None else lr,
            decay=decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


def read_hyperparameters(paper: str, kind: type[Parsed]) -> Parsed:
    """Read ``<paper>.toml`` of this folder into the dataclass ``kind``.

    Errors: those of :func:`parse_hyperparameters`; ``FileNotFoundError``.
    """
    file = files("tutelage.experiments.hyperparameters") / f"{paper}.toml"
    return parse_hyperparameters(file.read_text(encoding="utf-8"), kind, file.name)


def parse_hyperparameters(text: str, kind: type[Parsed], file: str) -> Parsed:
    r"""Parse TOML into the dataclass ``kind``, whose fields may be dataclasses, tuples or optional.

    Errors: ``ValueError`` that begins with the file and the path in it: a key that is missing or unknown, or a value
    of the wrong type.

    >>> parse_hyperparameters("epochs = 240\nbatch_sise = 64", StepSchedule, "crd.toml")
    Traceback (most recent call last):
    ...
    ValueError: crd.toml: unknown key 'batch_sise': did you mean batch_size?
    """
    try:
        return _record(tomllib.loads(text), kind, "")
    except ValueError as error:  # a TOMLDecodeError is one, too
        raise ValueError(f"{file}: {error}") from None


def _record(table: Mapping[str, Any], kind: type[Parsed], path: str) -> Parsed:
    """A TOML table as a dataclass."""
    assert is_dataclass(kind)
    prefix = f"{path}: " if path else ""
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise ValueError(f"{prefix}{unknown('key', key, hints)}")
    required = [field.name for field in fields(kind) if field.default is MISSING]
    if missing := [name for name in required if name not in table]:
        raise ValueError(f"{prefix}the key {missing[0]!r} is missing")
    values = {key: _value(value, hints[key], f"{path}.{key}" if path else key) for key, value in table.items()}
    return kind(**values)


def _value(value: Any, kind: Any, path: str) -> Any:
    if get_origin(kind) is UnionType:  # TOML has no null: what is written is the other type
        (kind,) = (option for option in get_args(kind) if option is not NoneType)
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{path}: expected a table, not {value!r}")
        return _record(value, cast(type, kind), path)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{path}: expected a list, not {value!r}")
        (item_kind, _) = get_args(kind)
        return tuple(_value(item, item_kind, f"{path}[{number}]") for number, item in enumerate(value))
    # 4 and 4.0 are the same number, but not the same address.
    return float(checked(value, kind, path)) if kind is float else checked(value, kind, path)
