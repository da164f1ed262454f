"""The checkpoints of one training run: what is saved with them, and how a run is resumed from the newest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tutelage import storage
from tutelage.artifacts.contents import check_epochs
from tutelage.artifacts.environment import diff, environment
from tutelage.artifacts.model import Model
from tutelage.engine import Engine
from tutelage.lineage.options import TrainOptions
from tutelage.training import State
from tutelage.validation import checked, parse_json


class Stopped(Exception):
    """Training was asked to stop and did, at a point from which it can be resumed."""


class Callbacks(NamedTuple):
    """What a training run asks of its caller; ``ensure_folder`` raises where the locked folder is gone."""

    should_stop: Callable[[], bool]
    warn: Callable[[str], None]
    ensure_folder: Callable[[], None]


class Checkpoints:
    """The checkpoints of a model, which carry its address.

    ``history`` holds the metrics of the epochs so far, ``continued`` the steps from which training went on in another
    environment, with what changed.
    """

    def __init__(self, name: str, model: Model, engine: Engine, options: TrainOptions, callbacks: Callbacks) -> None:
        self.name, self.model, self.engine, self.options, self.callbacks = name, model, engine, options, callbacks
        self.history: list[dict[str, float]] = []
        self.continued: list[dict[str, Any]] = []
        self._saved_step, self._saved_at = -1, time.monotonic()

    def resume(self) -> State | None:
        """Read the newest checkpoint; None where there is none.

        Errors: ``ValueError`` with ``options.strict``, in an environment that would not continue bit for bit;
        ``storage.Damaged``.
        """
        checkpoint = storage.newest_checkpoint(self.model.folder, self.callbacks.warn, self.model.address)
        if checkpoint is None:
            return None
        history = self._json(checkpoint.folder / "history.json")
        before = self._json(checkpoint.folder / "environment.json")
        try:
            before = checked(before, Mapping[str, Any], "environment")
            self.history += check_epochs(history)
            self.continued += checked(before.get("continued", []), tuple[Mapping[str, Any], ...], "continued")
        except ValueError as error:
            raise storage.Damaged(f"{checkpoint.folder} is not a checkpoint: {error}") from None
        if changes := diff(before, environment(self.engine)):
            text = ", ".join(f"{name} was {old}, now {new}" for name, (old, new) in changes.items())
            if self.options.strict:
                raise ValueError(
                    f"{self.name} stands at step {checkpoint.step} and would not continue bit for bit: {text}. "
                    f"Go on as before or without strict, or delete {self.model.folder} to begin again"
                )
            self.callbacks.warn(f"{self.name}: {text}: not bit-exact from here")
            self.continued.append({"step": checkpoint.step, **changes})
        self._saved_step = checkpoint.step
        path = checkpoint.folder / "state.safetensors"
        tensors = storage.tensors_in(storage.read_listed(path.parent, path.name), str(path))
        return State(step=checkpoint.step, tensors=tensors, source=str(path))

    def due(self) -> bool:
        """Whether as much time has passed since the last save as a kill may cost."""
        return time.monotonic() - self._saved_at > self.options.checkpoint_seconds

    def save(self, state: State) -> None:
        """Write a checkpoint, unless one of this step is there.

        Errors: ``FileNotFoundError`` where the folder is gone, ``OSError`` for a disk that is full.
        """
        if state.step != self._saved_step:
            self.callbacks.ensure_folder()
            files = {
                "state.safetensors": storage.tensor_bytes(state.tensors),
                "history.json": storage.json_bytes(self.history),
                "environment.json": storage.json_bytes({**environment(self.engine), "continued": self.continued}),
            }
            storage.save_checkpoint(self.model.folder, state.step, files, owner=self.model.address)
            self._saved_step = state.step
        self._saved_at = time.monotonic()

    def _json(self, path: Path) -> Any:
        return parse_json(storage.read_listed(path.parent, path.name, storage.MAX_JSON), str(path))
