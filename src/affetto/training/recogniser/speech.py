"""What a recogniser is trained and validated on: corpora, divided by speaker, in batches for each process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from affetto import text
from affetto.data.batching import LengthSortedBatches
from affetto.data.corpora import open_corpus
from affetto.data.sound_cache import SoundCache
from affetto.data.splits import Split, by_speaker, check_disjoint, held_out_groups
from affetto.data.transcribed import Transcribed, batch_loader, read_sound, select
from affetto.data.utterance import Utterance
from affetto.errors import TrainingError
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.training.recogniser.augmentation import change_sound
from affetto.training.recogniser.recipe import RecogniserRecipe, SpeechSource

VALIDATION_SEED = 1
"""What draws the speakers and utterances that validate, whatever the seed of a training: all are heard by the same."""


class SpeechData(NamedTuple):
    """What a recogniser is trained on.

    Attributes:
        training: utterances to learn from.
        validation: utterances of other speakers.
        left_out: how many were left out for which reason.
    """

    training: list[Transcribed]
    validation: list[Transcribed]
    left_out: Counter[str]


def gather(recipe: RecogniserRecipe, data_root: Path) -> SpeechData:
    """Reads the recipe's corpora and divides their speakers.

    Raises:
        CorpusError: a corpus is missing or is none.
        SplitError: a validation speaker is also one to train on.
        TrainingError: a corpus has no such official part, or nothing is left to train or validate on.
    """
    training: list[Utterance] = []
    validation: list[Utterance] = []
    for source in recipe.corpora:
        learnt, held_out = _divide(source, data_root / source.path)
        training += learnt
        validation += held_out
    check_disjoint(Split(tuple(training), tuple(validation), ()), by_speaker)
    alphabet = text.Alphabet(recipe.shape.symbols)
    limits: dict[str, Any] = {
        "max_duration_s": recipe.training.max_duration_s,
        "frame_rate_hz": DeepSpeech2(recipe.shape).output_rate_hz,
    }
    fastest = max(1.0, recipe.training.perturb.speed[1])
    faster = {**limits, "frame_rate_hz": limits["frame_rate_hz"] / fastest}  # fewer frames, as many characters
    kept, left_out = select(training, alphabet, **faster)
    held, left_out_too = select(validation, alphabet, **limits)
    if not kept or not held:
        raise TrainingError(
            f"{len(kept)} utterances to train on and {len(held)} to validate on",
            "name corpora with transcripts, and hold some speakers out",
        )
    return SpeechData(kept, held, left_out + left_out_too)


def held_out(recipe: RecogniserRecipe, corpus: Path) -> list[Utterance]:
    """What of a corpus validates in a recipe's training; its speakers teach nothing.

    Args:
        recipe: names the corpus, by a path that the corpus's path ends in.
        corpus: its folder or manifest.

    Raises:
        CorpusError: the corpus is missing or is none.
        TrainingError: the recipe does not name it, or holds nothing of it out.
    """
    parts = corpus.absolute().parts  # a link keeps the name that the recipe knows
    named = [source for source in recipe.corpora if parts[-len(source.path.parts) :] == source.path.parts]
    if not named:
        known = ", ".join(str(source.path) for source in recipe.corpora)
        raise TrainingError("the recipe does not train on this corpus", f"choose among {known}", corpus)
    found = [item for source in named for item in _divide(source, corpus)[1]]
    if not found:
        raise TrainingError("the recipe holds nothing of this corpus out", "score it whole, or another corpus", corpus)
    return found


def _divide(source: SpeechSource, path: Path) -> tuple[list[Utterance], list[Utterance]]:
    """What one corpus gives to train and to validate on."""
    utterances = open_corpus(path).utterances
    held, wanted = source.validation_partition, source.training_partitions
    known = {item.partition for item in utterances if item.partition is not None}
    unknown = {*wanted, *([] if held is None else [held])} - known
    if unknown:
        raise TrainingError(
            f"the corpus has no part {', '.join(sorted(unknown))}",
            f"choose among {', '.join(sorted(known))}" if known else "hold out speakers: it has no official parts",
            path,
        )
    held_out = [item for item in utterances if held is not None and item.partition == held]
    learnt = [
        item for item in utterances if (item.partition in wanted if wanted else held is None or item.partition != held)
    ]
    if source.validation_speakers > 0:
        learnt, more = held_out_groups(
            learnt, group=lambda item: item.speaker, share=source.validation_speakers, seed=VALIDATION_SEED
        )
        held_out += more
    return learnt, held_out


class SpeechModule(lightning.LightningDataModule):
    """Batches of the speech, for each of the processes that train together.

    Args:
        data: what to train and validate on.
        recipe: how.
        cache: where decoded sound is kept; None decodes it anew in each epoch.
    """

    def __init__(self, data: SpeechData, recipe: RecogniserRecipe, cache: Path | None = None) -> None:
        super().__init__()
        self.training = data.training
        self.validation = _sample(data.validation, recipe)
        self.recipe = recipe
        self.cache = cache
        self.alphabet = text.Alphabet(recipe.shape.symbols)

    def prepare_data(self) -> None:
        """Decodes all sound once; Lightning calls it in one process of each machine, and the others wait."""
        if self.cache is not None:
            SoundCache.make(self.cache, [*self.training, *self.validation])

    def train_dataloader(self) -> DataLoader[Transcribed]:
        """Shuffled after the epochs that are sorted."""
        how, seed = self.recipe.training, self.recipe.seed
        durations = [item.duration_s for item in self.training]
        batches = LengthSortedBatches(
            durations, how.batch_size, seed, batch_seconds=how.batch_seconds, sorted_epochs=how.sorted_epochs
        )
        read = self._read()

        def changed(item: Transcribed) -> Tensor:
            return change_sound(read(item), how.perturb, (seed, batches.epoch, item.utterance.id))

        return self._loader(self.training, batches, changed)

    def val_dataloader(self) -> DataLoader[Transcribed]:
        """Always from short to long."""
        how = self.recipe.training
        durations = [item.duration_s for item in self.validation]
        batches = LengthSortedBatches(durations, how.batch_size, self.recipe.seed, batch_seconds=how.batch_seconds)
        return self._loader(self.validation, _InOrder(batches), self._read())

    def _read(self) -> Callable[[Transcribed], Tensor]:
        if self.cache is None:
            return read_sound
        return SoundCache.make(self.cache, [*self.training, *self.validation]).read

    def _loader(
        self,
        items: list[Transcribed],
        batches: LengthSortedBatches | _InOrder,
        read: Callable[[Transcribed], Tensor],
    ) -> DataLoader[Transcribed]:
        if self.trainer is not None:
            batches.divide(rank=self.trainer.global_rank, ranks=self.trainer.world_size)
        return DataLoader(
            items,  # type: ignore[arg-type]
            batch_sampler=batches,
            collate_fn=batch_loader(self.alphabet, read),
            num_workers=self.recipe.training.workers,
        )


class _InOrder:
    """The batches of a first epoch, whatever epoch it is."""

    def __init__(self, batches: LengthSortedBatches) -> None:
        self.batches = batches
        self.divide = batches.divide

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def _sample(items: list[Transcribed], recipe: RecogniserRecipe) -> list[Transcribed]:
    count = min(len(items), recipe.training.validation_utterances)
    chosen = np.random.default_rng(VALIDATION_SEED).choice(len(items), count, replace=False)
    return sorted((items[index] for index in chosen), key=lambda item: item.duration_s)
