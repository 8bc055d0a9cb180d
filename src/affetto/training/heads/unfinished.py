"""How far a training of heads has come, on disk: who dies on the way loses seconds, not all folds that it trained."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from affetto.errors import TrainingError
from affetto.files import draft

logger = logging.getLogger(__name__)

EVERY_S = 10.0
"""Seconds between two writings: what is lost at most, beside the epoch in flight."""
_FACTS = "facts"


class Snapshot(NamedTuple):
    """A training between two epochs: its tensors by name, and everything else, as JSON can hold it."""

    numbers: dict[str, Tensor]
    facts: dict[str, Any]


class Unfinished:
    """The file, in a folder that need not exist, that a training goes on from after it was killed; None keeps nothing.

    A file of a training with another key is not gone on from.

    >>> nowhere = Unfinished(None, key="")
    >>> nowhere.keep(lambda: Snapshot({}, {}))
    >>> nowhere.load() is None
    True
    """

    def __init__(self, path: Path | None, key: str, every_s: float = EVERY_S) -> None:
        self.path, self.key, self.every_s = path, key, every_s
        self._last_s = monotonic()

    def load(self) -> Snapshot | None:
        """What was kept last; None where nothing was, or where it is another training's or damaged."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                facts = json.loads((file.metadata() or {}).get(_FACTS, "{}"))
                numbers = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        except (SafetensorError, OSError, ValueError) as error:
            logger.warning("%s cannot be read (%s): training begins anew", self.path, error)
            return None
        return Snapshot(numbers, facts) if facts.pop("key", None) == self.key else None

    def keep(self, take: Callable[[], Snapshot]) -> None:
        """Writes the state that ``take`` gives, if that is due, whole or not at all; raises TrainingError."""
        if self.path is None or monotonic() - self._last_s < self.every_s:
            return
        numbers, facts = take()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with draft(self.path) as unfinished:
                unfinished.write_bytes(to_bytes(numbers, {_FACTS: json.dumps({**facts, "key": self.key})}))
        except OSError as error:
            problem = f"how far the training has come cannot be written ({error.strerror or error})"
            remedy = "make room; what is finished stays, and the same command goes on from there"
            raise TrainingError(problem, remedy, self.path) from error
        self._last_s = monotonic()

    def forget(self) -> None:
        """The training is finished, and its results are safe elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
