"""Models from the Hugging Face hub, kept where its own tools keep them; JSON, text and safetensors alone."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from affetto import pretrained
from affetto.errors import CheckpointError, MissingExtraError

_FILES = ["*.json", "*.txt", "README.md", "model*.safetensors"]
_FILES += [pretrained.RECOGNISER, pretrained.EMOTION, pretrained.LANGUAGE_MODEL]
_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


class Repository(NamedTuple):
    """What is asked for: "owner/name", and a branch, tag or commit; None is the newest."""

    repository: str
    revision: str | None


def parse(name: str) -> Repository | None:
    """What a name on the hub asks for; None if it is no such name.

    >>> parse("openai/whisper-base@main"), parse("models/of/mine")
    (Repository(repository='openai/whisper-base', revision='main'), None)
    """
    found = _NAME.fullmatch(name)
    return None if found is None else Repository(found["repository"], found["revision"])


def fetch(asked: Repository) -> tuple[Path, str]:
    """The folder of a repository's files, and the commit they are of.

    Raises CheckpointError where there is no such repository or revision, or it can be neither found nor kept here, and
    MissingExtraError where the extra "public" is not installed.
    """
    name = asked.repository
    try:
        from huggingface_hub import constants, errors, snapshot_download
    except ImportError as error:
        remedy = "pip install 'affetto[public]', or name a folder"
        raise MissingExtraError("models of the hub need huggingface_hub", remedy, name) from error
    cache = Path(constants.HF_HUB_CACHE)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        problem = f"models are kept there, and it cannot be written ({error.strerror})"
        raise CheckpointError(problem, "name another in HF_HOME", cache) from error
    try:
        folder = snapshot_download(name, revision=asked.revision, allow_patterns=_FILES)
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"has no revision {asked.revision!r}", "name another", name) from error
    except errors.GatedRepoError as error:
        raise CheckpointError("is open only to those who asked", "ask for it on its page", name) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise CheckpointError("neither a folder here nor a repository of the hub", "check its name", name) from error
    except (OSError, errors.OfflineModeIsEnabled) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        problem = f"is no folder here, and the hub cannot be asked for it ({reason})"
        raise CheckpointError(
            problem, "fetch it where there is a network, and name the folder it is in", name
        ) from error
    return Path(folder), Path(folder).name
