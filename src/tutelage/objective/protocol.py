"""What every term of an objective offers, and the two bases that most terms inherit from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from tutelage.objective.signals import Signals, TrainingSet


@runtime_checkable
class Term(Protocol):
    """One named part of an objective: signals in, one weighted value per example out.

    A term is a frozen value: it describes a loss and holds no tensors. What it learns, and what it remembers from
    one step to the next, lives in the module that :meth:`build` returns, which takes the term's place in the loss:

    - The module's parameters are trained beside the network's, and saved with them.
    - What a step updates (a memory bank, class means) is a persistent buffer of the module, changed in place, in
      training mode only. It is part of every checkpoint, so a resumed run continues bit for bit. Its values are
      finite from the start. ``signals.rows`` are the entries of a bank that a batch belongs to.
    - Every draw in a step is a function of ``signals.keys`` (see ``tutelage.functional.random``), never of a random
      generator, whose state no checkpoint holds. Draws while building come from torch's global generator, which is
      seeded, or from ``data.seed``.

    A term that reads no layers and learns nothing inherits from :class:`LogitTerm`, a term around another term from
    :class:`TermWrapper`.
    """

    @property
    def name(self) -> str:
        """The name of this part of the loss."""
        ...

    @property
    def needs_teacher(self) -> bool:
        """Whether the term reads the teacher's logits or features."""
        ...

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The student's layers whose features the term reads."""
        ...

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's layers whose features the term reads."""
        ...

    def is_off(self, progress: float | None) -> bool:
        """Whether the weight is exactly 0 when a share ``progress`` of training is done, whatever the batch.

        Such a term is skipped: its value is 0, and what only it would train is left as it is, where a gradient of 0
        would still let weight decay shrink it. ``progress`` is None where the moment is unknown.
        """
        ...

    def build(self, example: Signals, data: TrainingSet) -> nn.Module | None:
        """Make the module that computes the term in its place, signals to ``[B]``; None for a term without state.

        Only the shapes, dtypes and device of ``example`` count, not its values.
        """
        ...

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted value of each example, ``[B]``.

        Errors: ``ValueError`` for a term whose :meth:`build` returns a module.
        """
        ...

    def formula(self) -> str:
        """The term as a formula with its numbers in."""
        ...


class LogitTerm:
    """Base of the terms that read no layers and learn nothing.

    A subclass is a frozen dataclass with ``name``, ``needs_teacher``, ``__call__`` and ``formula``.

    >>> from tutelage.objective import ScoreDifference
    >>> isinstance(ScoreDifference(weight=0.5), LogitTerm)
    True
    """

    __slots__ = ()

    @property
    def student_layers(self) -> tuple[str, ...]:
        """No layers."""
        return ()

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """No layers."""
        return ()

    def is_off(self, progress: float | None) -> bool:
        """Never; a subclass with a weight says when it is 0."""
        return False

    def build(self, example: Signals, data: TrainingSet) -> None:
        """Nothing to build."""


class TermWrapper(ABC):
    """Base of the terms around another term: it forwards what that term needs, and applies to what it builds.

    A subclass is a frozen dataclass with a field ``of``, the inner term, and defines :meth:`apply` and ``formula``.
    A field that replaces one of the properties below must be declared with ``field()``; a dataclass would take the
    property for the field's default otherwise.

    >>> from tutelage.methods.logit_standardization import Standardized
    >>> from tutelage.methods.fitnets import fitnets
    >>> Standardized(of=fitnets().terms[1]).student_layers
    ('stage2',)
    """

    __slots__ = ()
    of: Term

    @property
    def name(self) -> str:
        """The name of the inner term."""
        return self.of.name

    @property
    def needs_teacher(self) -> bool:
        """Whether the inner term needs a teacher."""
        return self.of.needs_teacher

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The student's layers that the inner term reads."""
        return self.of.student_layers

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's layers that the inner term reads."""
        return self.of.teacher_layers

    def is_off(self, progress: float | None) -> bool:
        """Whether the inner term is off."""
        return self.of.is_off(progress)

    def build(self, example: Signals, data: TrainingSet) -> nn.Module | None:
        """Build the inner term, and apply this one around the module."""
        inner = self.of.build(example, data)
        return None if inner is None else _Wrapped(self, inner)

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted value of each example, ``[B]``."""
        return self.apply(signals, self.of)

    @abstractmethod
    def apply(self, signals: Signals, inner: Callable[[Signals], Tensor]) -> Tensor:
        """Compute the values ``[B]``; ``inner`` is the inner term, or the module that it built."""

    @abstractmethod
    def formula(self) -> str:
        """The term as a formula with its numbers in."""


class _Wrapped(nn.Module):
    """The module of an inner term, inside its wrapper."""

    def __init__(self, wrapper: TermWrapper, head: nn.Module) -> None:
        super().__init__()
        self.wrapper = wrapper
        self.head = head

    def forward(self, signals: Signals) -> Tensor:
        return self.wrapper.apply(signals, self.head)
