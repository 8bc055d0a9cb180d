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
from affetto.errors import ConfigError
from affetto.models.encoders.encoder import Encoder
from affetto.models.encoders.native import NetworkEncoder

FOUR = ("anger", "happiness", "neutral", "sadness")


class ProbeConfig(Config):
    """Settings of every probe."""

    corpus: Path = Path("crema-d")  # its folder or manifest, relative to the data folder
    classes: tuple[str, ...] = FOUR  # the emotions whose utterances are used; none named uses all
    limit: Annotated[int, Field(ge=1)] | None = None  # so many utterances, spread evenly over the corpus
    recogniser: str = pretrained.DEFAULT  # whose layers are looked into, see `affetto.models.encoders.open_encoder`
    seed: Seed = 1  # of everything that chance decides


def read_utterances(config: ProbeConfig, data_root: Path) -> list[Utterance]:
    """The utterances to be read; each one's emotion is the class that it counts as."""
    found: list[Utterance] = list(open_corpus(data_root / config.corpus).utterances)
    if config.classes:
        found = [each.utterance for each in label(found, Labelling(), config.classes)]
    if config.limit is None or config.limit >= len(found):
        return found
    return [found[place * len(found) // config.limit] for place in range(config.limit)]


def untrained(encoder: Encoder, seed: int) -> Encoder:
    """A network of the same shape with the random weights that its training could have begun with.

    Raises:
        ConfigError: the encoder is of a kind whose network is not at hand.

    >>> from affetto.models.encoders import open_encoder
    >>> first, second = (untrained(open_encoder("small", device="cpu"), 1) for _ in range(2))
    >>> first.fingerprint == second.fingerprint
    True
    """
    if not isinstance(encoder, NetworkEncoder):
        raise ConfigError("has no network to draw random weights for", "leave the control out", encoder.origin.name)
    with torch.random.fork_rng():
        torch.manual_seed(stable_seed(seed, "untrained"))
        network = type(encoder.network)(encoder.network.config)
    return type(encoder)(network, encoder.origin, encoder.facts).to(encoder.device)
