"""What is probed: some utterances of a corpus, and a recogniser, trained or as it was before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from affetto import pretrained
from affetto.config import Config, Seed, stable_seed
from affetto.data.corpora import open_corpus
from affetto.data.labels import Labelling, label
from affetto.data.utterance import Utterance
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.models.recogniser_checkpoint import load_recogniser

FOUR = ("anger", "happiness", "neutral", "sadness")


class ProbeConfig(Config):
    """What every probe is told.

    Attributes:
        corpus: its folder or manifest, relative to the data folder.
        classes: the emotions whose utterances are heard; none named hears all utterances.
        limit: so many utterances, spread evenly over the corpus; None takes all.
        recogniser: an embedded model's name, or a folder with ``recogniser.safetensors``.
        seed: of everything that chance decides.
    """

    corpus: Path = Path("crema-d")
    classes: tuple[str, ...] = FOUR
    limit: Annotated[int, Field(ge=1)] | None = None
    recogniser: str = pretrained.DEFAULT
    seed: Seed = 1


def read_utterances(config: ProbeConfig, data_root: Path) -> list[Utterance]:
    """The utterances to be heard; each one's emotion is the class that it counts as.

    Raises:
        CorpusError: there is no such corpus, or nothing usable in it.
        LabelError: there is no utterance of a class.
    """
    found: list[Utterance] = list(open_corpus(data_root / config.corpus).utterances)
    if config.classes:
        found = [each.utterance for each in label(found, Labelling(), config.classes)]
    if config.limit is None or config.limit >= len(found):
        return found
    return [found[place * len(found) // config.limit] for place in range(config.limit)]


def read_recogniser(name: str) -> DeepSpeech2:
    """A trained recogniser.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
    """
    recogniser: DeepSpeech2 = load_recogniser(pretrained.find(name) / pretrained.RECOGNISER)[0]
    return recogniser


def untrained(recogniser: DeepSpeech2, seed: int) -> DeepSpeech2:
    """A network of the same shape with the random weights that its training could have begun with.

    >>> from affetto.models.deepspeech2 import PRESETS
    >>> first, second = (untrained(DeepSpeech2(PRESETS["small"]), 1) for _ in range(2))
    >>> torch.equal(first.output.weight, second.output.weight)
    True
    """
    with torch.random.fork_rng():
        torch.manual_seed(stable_seed(seed, "untrained"))
        return DeepSpeech2(recogniser.config).eval()
