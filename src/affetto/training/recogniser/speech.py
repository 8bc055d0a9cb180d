"""What a recogniser is trained and validated on: corpora, divided by speaker, in batches for each process."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import lightning
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from affetto import text
from affetto.config import stable_seed
from affetto.data.corpora import open_corpus, reasons
from affetto.data.splits import Split, by_speaker, check_disjoint, held_out_groups
from affetto.data.transcribed import LengthSortedBatches, SoundCache, Transcribed, batch_loader, read_sound, select
from affetto.data.utterance import Utterance
from affetto.errors import TrainingError
from affetto.features.perturbation import amplify, resample
from affetto.models.network import make_recogniser
from affetto.represent import Variants, represent
from affetto.training.recogniser.frozen import FrozenLayers, FrozenSpeech
from affetto.training.recogniser.recipe import RecogniserRecipe, SpeechSource, SpeedAndGain

logger = logging.getLogger(__name__)

_LOG_EVERY_S = 30.0

Item = TypeVar("Item")

VALIDATION_SEED = 1
"""What draws the speakers and utterances that validate, whatever the seed of a training: all validate on the same."""


class SpeechData(NamedTuple):
    """What a recogniser is trained on, utterances of other speakers, and how many were left out for which reason."""

    training: list[Transcribed]
    validation: list[Transcribed]
    left_out: Counter[str]


def gather(recipe: RecogniserRecipe, data_root: Path) -> SpeechData:
    """Reads the recipe's corpora and divides their speakers.

    Raises SplitError where a validation speaker is also one to train on, and TrainingError where a corpus has no such
    official part, or nothing is left to train or validate on.
    """
    training: list[Utterance] = []
    validation: list[Utterance] = []
    passed_over: Counter[str] = Counter()
    for source in recipe.corpora:
        parsed = open_corpus(data_root / source.path)
        passed_over.update(each.reason for each in parsed.skipped)
        trained, held_out = _divide(source, parsed.utterances, data_root / source.path)
        training += trained
        validation += held_out
    check_disjoint(Split(tuple(training), tuple(validation), ()), by_speaker)
    alphabet, how = text.Alphabet(recipe.shape.symbols), recipe.training
    rate_hz = make_recogniser(recipe.shape).output_rate_hz
    # Faster speech has fewer frames and as many characters.
    fastest = max(1.0, how.perturb.speed[1], how.variants.perturbation.tempo[1] if how.variants.count else 1.0)
    kept, left_out = select(training, alphabet, max_duration_s=how.max_duration_s, frame_rate_hz=rate_hz / fastest)
    held, left_out_too = select(validation, alphabet, max_duration_s=how.max_duration_s, frame_rate_hz=rate_hz)
    if not kept or not held:
        gone = reasons((left_out + left_out_too + passed_over).elements()) or "none"
        problem = f"{len(kept)} utterances to train on and {len(held)} to validate on (left out: {gone})"
        raise TrainingError(problem, "name corpora with transcripts, and hold some speakers out")
    return SpeechData(kept, held, left_out + left_out_too)


def held_out(recipe: RecogniserRecipe, corpus: Path) -> list[Utterance]:
    """What of a corpus validates in a recipe's training; none of its speakers is trained on.

    The recipe names the corpus by a path that ``corpus``, its folder or manifest, ends in. Raises TrainingError where
    it does not, or holds nothing of it out.
    """
    parts = corpus.absolute().parts  # a link keeps the name that the recipe knows
    named = [source for source in recipe.corpora if parts[-len(source.path.parts) :] == source.path.parts]
    if not named:
        known = ", ".join(str(source.path) for source in recipe.corpora)
        raise TrainingError("the recipe does not train on this corpus", f"choose among {known}", corpus)
    found = [item for source in named for item in _divide(source, open_corpus(corpus).utterances, corpus)[1]]
    if not found:
        raise TrainingError("the recipe holds nothing of this corpus out", "score it whole, or another corpus", corpus)
    return found


def _divide(
    source: SpeechSource, utterances: Sequence[Utterance], path: Path
) -> tuple[list[Utterance], list[Utterance]]:
    """What one corpus gives to train and to validate on."""
    held, wanted = source.validation_partition, source.training_partitions
    known = {item.partition for item in utterances if item.partition is not None}
    unknown = {*wanted, *([] if held is None else [held])} - known
    if unknown:
        remedy = f"choose among {', '.join(sorted(known))}" if known else "hold out speakers: it has no official parts"
        raise TrainingError(f"the corpus has no part {', '.join(sorted(unknown))}", remedy, path)
    held_out = [item for item in utterances if held is not None and item.partition == held]
    trained = [
        item for item in utterances if (item.partition in wanted if wanted else held is None or item.partition != held)
    ]
    if source.validation_speakers > 0:
        trained, more = held_out_groups(
            trained, group=lambda item: item.speaker, share=source.validation_speakers, seed=VALIDATION_SEED
        )
        held_out += more
    return trained, _some(held_out, source.validation_utterances)


def _some(items: list[Item], most: int | None) -> list[Item]:
    if most is None:
        return items
    chosen = np.random.default_rng(VALIDATION_SEED).choice(len(items), min(len(items), most), replace=False)
    return [items[index] for index in chosen]


def change_sound(wave: Tensor, config: SpeedAndGain, drawn_by: tuple[int | str, ...]) -> Tensor:
    """Plays an utterance, (samples,), faster or slower, louder or softer.

    The change depends on ``drawn_by``, such as the seed, the epoch and the utterance: it is the same whichever process
    reads it, and after a training was resumed.
    """
    if config == SpeedAndGain():
        return wave
    generator = np.random.default_rng(stable_seed(*drawn_by))
    speed, gain_db = generator.uniform(*config.speed), generator.uniform(*config.gain_db)
    return amplify(resample(wave, speed), gain_db)


class SpeechModule(lightning.LightningDataModule):
    """Batches of the speech, for each of the processes that train together.

    Decoded sound, or what frozen layers make of it, is kept in a cache folder; without one it is decoded in each epoch.
    """

    def __init__(
        self, data: SpeechData, recipe: RecogniserRecipe, cache: Path | None = None, frozen: FrozenLayers | None = None
    ) -> None:
        super().__init__()
        some = _some(data.validation, recipe.training.validation_utterances)
        self.training, self.validation = data.training, sorted(some, key=lambda item: item.duration_s)
        self.recipe, self.cache, self.frozen = recipe, cache, frozen
        self._speech: dict[str, FrozenSpeech] = {}
        self.alphabet = text.Alphabet(recipe.shape.symbols)

    def prepare_data(self) -> None:
        """Decodes all sound once, or computes the frozen layers of it.

        Lightning calls it in one process of each machine, and the others wait.
        """
        if self.frozen is not None:
            self._frozen_speech("training")
            self._frozen_speech("validation")
        elif self.cache is not None:
            self._read()

    def train_dataloader(self) -> DataLoader[Transcribed]:
        """Shuffled after the epochs that are sorted."""
        how, seed = self.recipe.training, self.recipe.seed
        batches = self._batches(self.training, how.sorted_epochs)
        speech = None if self.frozen is None else self._frozen_speech("training")
        read = self._read() if speech is None else read_sound

        def changed(item: Transcribed) -> Tensor:
            drawn_by = (seed, batches.epoch, item.utterance.id)
            return change_sound(read(item), how.perturb, drawn_by) if speech is None else speech.read(item, drawn_by)

        return self._loader(self.training, batches, changed)

    def val_dataloader(self) -> DataLoader[Transcribed]:
        """Always from short to long."""
        read = self._read() if self.frozen is None else self._frozen_speech("validation").read
        return self._loader(self.validation, self._batches(self.validation, sorted_epochs=sys.maxsize), read)

    def _batches(self, items: Sequence[Transcribed], sorted_epochs: int) -> LengthSortedBatches:
        how, durations = self.recipe.training, [item.duration_s for item in items]
        batches = LengthSortedBatches(
            durations, how.batch_size, self.recipe.seed, batch_seconds=how.batch_seconds, sorted_epochs=sorted_epochs
        )
        if self.trainer is not None:
            batches.divide(rank=self.trainer.global_rank, ranks=self.trainer.world_size)
        return batches

    def _frozen_speech(self, part: Literal["training", "validation"]) -> FrozenSpeech:
        if self.cache is None or self.frozen is None:
            raise TrainingError("what frozen layers compute has to be kept", "name a folder for it")
        if part not in self._speech:
            items = self.training if part == "training" else self.validation
            variants = self.recipe.training.variants if part == "training" else Variants()
            utterances, (name,) = [item.utterance for item in items], self.frozen.names
            banks = represent(utterances, self.frozen, self.cache, variants=variants, progress=_log_progress())
            self._speech[part] = FrozenSpeech(items, banks[name])
        return self._speech[part]

    def _read(self) -> Callable[[Transcribed], Tensor]:
        if self.cache is None:
            return read_sound
        return SoundCache.make(self.cache, [*self.training, *self.validation]).read

    def _loader(
        self, items: list[Transcribed], sampler: LengthSortedBatches, read: Callable[[Transcribed], Tensor]
    ) -> DataLoader[Transcribed]:
        return DataLoader(
            items,  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=batch_loader(self.alphabet, read),
            num_workers=self.recipe.training.workers,
        )


def _log_progress() -> Callable[[int, int], None]:
    """Logs from time to time how far the frozen layers are; variants count as utterances."""
    started = last = time.monotonic()

    def log(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > _LOG_EVERY_S and done < total:
            left_s = (now - started) / done * (total - done)
            logger.info("frozen layers: %d of %d utterances, %.0f min left", done, total, left_s / 60)
            last = now

    return log
