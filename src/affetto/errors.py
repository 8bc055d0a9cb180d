"""Every exception that affetto raises on purpose.

Each message says what was wrong, where, and what to do about it, so that a command can print it as one line.
"""

from __future__ import annotations


class AffettoError(Exception):
    """Something the user can act on: ``where: problem; remedy``.

    Args:
        problem: what was found, with the offending value.
        remedy: what to do about it.
        where: the file, key or utterance concerned.

    >>> print(AudioError("the file is empty", "record it again", where="a.wav"))
    a.wav: the file is empty; record it again
    """

    def __init__(self, problem: str, remedy: str, where: object | None = None) -> None:
        super().__init__(problem, remedy, where)
        self.problem = problem
        self.remedy = remedy
        self.where = where

    def __str__(self) -> str:
        place = "" if self.where is None else f"{self.where}: "
        return f"{place}{self.problem}; {self.remedy}"


class AudioError(AffettoError):
    """A sound file that cannot be found, opened or used."""


class TextError(AffettoError):
    """A text with characters that an alphabet cannot spell."""


class CorpusError(AffettoError):
    """A folder that is not the corpus it should be, or a corpus with nothing usable in it."""


class ManifestError(AffettoError):
    """A manifest line that does not describe an utterance."""


class SplitError(AffettoError):
    """A division of the data that would leak speakers or leave a part empty."""


class SharedNameError(SplitError):
    """A speaker or session that two corpora have, named without its corpus."""


class ConfigError(AffettoError):
    """A recipe that cannot be read, with an unknown key or a value of the wrong kind."""


class CheckpointError(AffettoError):
    """A saved model that is missing, damaged, foreign or of another version."""


class TrainingError(AffettoError):
    """A training that cannot start or go on."""


class RunError(AffettoError):
    """A run folder that is none, is damaged, or belongs to another recipe."""


class LabelError(AffettoError):
    """Labels that fit no class, or counts that are not those a published set has."""


class OutputError(AffettoError):
    """Results that cannot be written where they should be."""


class RegistryError(AffettoError):
    """A name that nothing is registered under, or one that is taken already."""


class ServiceError(AffettoError):
    """A service that cannot start, or a request to it that it cannot answer."""


class MissingExtraError(AffettoError):
    """A feature whose optional dependency is not installed."""
