"""Parts by name: ``name -> "module:attribute"``, imported only when asked for.

Third parties add parts through entry points of the group ``affetto.<kind>``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from affetto.errors import RegistryError


class Registry:
    """A table of parts of one kind, in the plural: name -> "module:attribute".

    >>> Registry("numbers", {"pi": "math:pi"}).load("pi")
    3.141592653589793
    """

    def __init__(self, kind: str, targets: dict[str, str]) -> None:
        self.kind = kind
        self._targets = dict(targets)
        self._entry_points_read = False

    def add(self, name: str, target: str) -> None:
        """Registers one more part; RegistryError if the name is taken."""
        if name in self._targets:
            raise RegistryError(f"{name!r} is registered twice among {self.kind}", "choose another name")
        self._targets[name] = target

    def names(self) -> list[str]:
        """Every name, sorted."""
        self._read_entry_points()
        return sorted(self._targets)

    def load(self, name: str) -> Any:
        """The part of that name; RegistryError if nothing is registered under it."""
        self._read_entry_points()
        if name not in self._targets:
            raise RegistryError(f"no {name!r} among {self.kind}", f"choose one of {', '.join(self.names())}")
        module, _, attribute = self._targets[name].partition(":")
        return getattr(import_module(module), attribute)

    def _read_entry_points(self) -> None:
        if self._entry_points_read:
            return
        self._entry_points_read = True
        for entry in entry_points(group=f"affetto.{self.kind}"):
            self.add(entry.name, entry.value)
