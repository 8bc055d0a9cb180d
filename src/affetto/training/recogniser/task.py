"""One step of a recogniser's training, which is left out where it would ruin the network, and its validation."""

from __future__ import annotations

import logging
import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from affetto import metrics, text
from affetto.config import stable_seed
from affetto.data.transcribed import TranscribedBatch
from affetto.errors import TrainingError
from affetto.features.spectrogram import FRAME_RATE_HZ
from affetto.frames import Frames, Waves
from affetto.models.decoding import greedy
from affetto.models.deepspeech2 import share_statistics
from affetto.models.network import RecogniserNetwork
from affetto.training.recogniser.frozen import FrozenLayers
from affetto.training.recogniser.recipe import RecogniserTraining, SpecAugment

logger = logging.getLogger(__name__)

_MEMORY = 0.02  # How much of the usual size of a gradient the newest one replaces
_BEYOND = 1_000.0  # How many times the usual size a gradient may have; it is clipped long before that
_AFTER = 20  # Steps after which there is a usual size


class RecogniserTask(lightning.LightningModule):
    """One step of CTC training, above frozen layers if there are any, and greedy decoding for validation."""

    def __init__(
        self, model: RecogniserNetwork, training: RecogniserTraining, seed: int, frozen: FrozenLayers | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.training_config = training
        self.seed = seed
        self.frozen = frozen
        self.alphabet = text.Alphabet(model.config.symbols)
        self.steps = SafeSteps(training.most_skipped)
        self._references: list[str] = []
        self._hypotheses: list[str] = []
        self._losses: list[Tensor] = []
        share_statistics(model, training.share_statistics)

    def _inputs(self, batch: TranscribedBatch) -> Frames:
        """What the lowest trained layer reads."""
        if isinstance(batch.inputs, Frames):
            return batch.inputs
        inputs = self.model.features(batch.inputs)
        return inputs if self.frozen is None else self.frozen.climb(inputs)

    def _losses_of(self, inputs: Frames, batch: TranscribedBatch) -> tuple[Tensor, Frames]:
        """The loss of each utterance, a character: (batch,); and the log probabilities."""
        first = None if self.frozen is None else self.frozen.next
        log_probs = self.model.recognise(inputs, first=first).log_probs
        losses = torch.nn.functional.ctc_loss(
            log_probs.values.transpose(0, 1).float(),
            batch.targets,
            log_probs.lengths,
            batch.target_lengths,
            reduction="none",
            zero_infinity=True,
        )
        return losses / batch.target_lengths, log_probs

    def training_step(self, batch: TranscribedBatch | None, batch_index: int) -> Tensor | None:
        if batch is None:
            if self.trainer.world_size == 1:
                return None
            batch = self._silence()
        # Chance depends on the step and the process alone: a resumed training goes on as it would have.
        torch.manual_seed(stable_seed(self.seed, self.current_epoch, batch_index, self.global_rank))
        inputs = self._inputs(batch)
        if self.current_epoch >= self.training_config.augment.from_epoch:
            rate_hz = FRAME_RATE_HZ if self.frozen is None else self.frozen.rate_hz
            inputs = mask_frames(inputs, self.training_config.augment, rate_hz=rate_hz)
        losses, _ = self._losses_of(inputs, batch)
        # The mean over the utterances of all processes, of which Lightning takes the mean over processes.
        count = torch.tensor(float(len(batch.texts)), device=losses.device)
        loss = losses.sum() * self.trainer.world_size / self.trainer.strategy.reduce(count.clone(), reduce_op="sum")
        self.steps.seen(batch.ids, loss.detach())
        if torch.isfinite(loss):
            self.log("loss", loss.detach(), prog_bar=True, batch_size=max(1, len(batch.texts)))
        return loss

    def _silence(self) -> TranscribedBatch:
        """Stands in for a batch of which nothing could be read while the other processes wait for this one."""
        none = torch.zeros(1, dtype=torch.int64, device=self.device)
        waves = Waves(torch.zeros(1, 16_000, device=self.device), none + 16_000)
        return TranscribedBatch(waves, none[:, None], none + 1, [], [])

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), self.training_config.clip_norm)
        self.steps.judge(self.model, norm)

    def validation_step(self, batch: TranscribedBatch | None, batch_index: int) -> None:
        if batch is None:
            return
        losses, log_probs = self._losses_of(self._inputs(batch), batch)
        self._losses.append(losses)
        self._references += batch.texts
        self._hypotheses += greedy(log_probs, self.alphabet)

    def on_validation_epoch_end(self) -> None:
        """Adds up what all processes counted, each utterance once."""
        losses = torch.cat(self._losses) if self._losses else torch.zeros(0, device=self.device)
        counts = metrics.error_counts(self._references, self._hypotheses)
        mine = torch.tensor([*counts, losses.sum().item(), len(losses)], dtype=torch.float64)
        whole = self.trainer.strategy.reduce(mine.to(self.device), reduce_op="sum").tolist()
        character_errors, characters, word_errors, words, loss, utterances = whole
        if not characters:
            raise TrainingError("no validation utterance could be read", "look at the warnings above")
        self.log("validation_loss", loss / utterances)
        self.log("cer", character_errors / characters, prog_bar=True)
        self.log("wer", word_errors / words, prog_bar=True)
        self.log("validated", utterances)
        self.log("skipped", float(self.steps.skipped))
        self._references, self._hypotheses, self._losses = [], [], []

    def configure_optimizers(self) -> Any:
        config = self.training_config
        optimiser: torch.optim.Optimizer
        if config.optimiser == "sgd":
            optimiser = torch.optim.SGD(self._groups(), config.learning_rate, momentum=0.9, nesterov=True)
        else:
            optimiser = torch.optim.AdamW(self._groups(), config.learning_rate, weight_decay=config.weight_decay)
        epoch_steps = max(1, int(self.trainer.estimated_stepping_batches) // config.epochs)
        schedule = LambdaLR(optimiser, lambda step: learning_rate_factor(config, step, epoch_steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        """All that is trained: what a public encoder began with apart, where its rate is another."""
        config = self.training_config
        begun = getattr(self.model, "encoder", nn.Module()) if config.encoder_rate != 1 else nn.Module()
        apart = [each for each in begun.parameters() if each.requires_grad]
        chosen = set(map(id, apart))
        others = [each for each in self.parameters() if each.requires_grad and id(each) not in chosen]
        slower = {"params": apart, "lr": config.learning_rate * config.encoder_rate}
        return [{"params": others}, *([slower] if apart else [])]


def mask_frames(
    inputs: Frames, config: SpecAugment, generator: torch.Generator | None = None, *, rate_hz: float = FRAME_RATE_HZ
) -> Frames:
    """Sets random bands of frequency and time to 0 (Park et al. 2019), the mean of a normalised spectrogram.

    Inputs are (batch, time, bins), or the frames of a layer, whose features have no order: bands then hold some that
    are side by side by chance. Places are torch's own where there is no generator.
    """
    batch, time, bins = inputs.values.shape
    count = round(config.time_masks_per_s * (time / rate_hz))
    kept = _bands(batch, bins, config.frequency_masks, config.frequency_width, generator)[:, None, :]
    kept = kept & _bands(batch, time, count, config.time_width, generator)[:, :, None]
    return Frames(inputs.values * kept.to(inputs.values), inputs.lengths)


def _bands(batch: int, size: int, count: int, width: int, generator: torch.Generator | None) -> Tensor:
    """False inside ``count`` bands of random place and width up to ``width``: (batch, size)."""
    starts = torch.rand(batch, count, 1, generator=generator) * size
    widths = torch.rand(batch, count, 1, generator=generator) * width
    places = torch.arange(size)
    return ~((places >= starts) & (places < starts + widths)).any(dim=1)


def learning_rate_factor(config: RecogniserTraining, step: int, epoch_steps: int) -> float:
    """What the learning rate is multiplied by: warm-up, annealing after every epoch, and a linear end.

    >>> config = RecogniserTraining(epochs=4, anneal=2.0, warmup_steps=1, cooldown_epochs=1)
    >>> [learning_rate_factor(config, step, epoch_steps=2) for step in range(8)]
    [0.5, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.0625]
    """
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    epochs_left = config.epochs - step / epoch_steps
    cooldown = min(1.0, epochs_left / config.cooldown_epochs) if config.cooldown_epochs else 1.0
    return float(warmup * cooldown / config.anneal ** (step // epoch_steps))


class SafeSteps:
    """Judges gradients before they are followed; every process that trains comes to the same judgement.

    A loss or a gradient that is no number, or far beyond all before it, would ruin the network: such a step is left out
    by taking its gradients away. Running statistics that were spoilt on the way are put back. Too many steps left out
    in a row end the training.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.skipped = 0  # Steps left out so far
        self.in_a_row = 0
        self._usual: float | None = None  # mean logarithm of the gradient's norm
        self._judged = 0
        self._ids: list[str] = []
        self._loss: Tensor | None = None
        self._buffers: dict[str, Tensor] = {}

    def seen(self, ids: list[str], loss: Tensor) -> None:
        """Remembers which utterances the next gradient comes from, and their loss."""
        self._ids, self._loss = ids, loss

    def judge(self, model: nn.Module, norm: Tensor) -> bool:
        """Takes the gradients away if their norm, before clipping, makes no sense; says whether to follow them."""
        size = float(norm)
        good = math.isfinite(size) and (
            self._usual is None or self._judged < _AFTER or size < _BEYOND * math.exp(self._usual)
        )
        if good:
            self._remember(model, size)
            return True
        self.skipped += 1
        self.in_a_row += 1
        for parameter in model.parameters():
            parameter.grad = None
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in self._buffers and not bool(buffer.isfinite().all()):
                    buffer.copy_(self._buffers[name])
        loss, heard = math.nan if self._loss is None else self._loss.item(), ", ".join(self._ids[:8])
        logger.warning("step left out: gradient %.3g, loss %.3g, of the utterances %s", size, loss, heard)
        if self.in_a_row >= self.most:
            raise TrainingError(
                f"{self.in_a_row} steps in a row had no usable gradient (now loss {loss:.3g}, gradient {size:.3g})",
                "lower learning_rate, raise warmup_steps, or train with precision = '32-true'; "
                "the same command goes on from the last epoch",
                heard,
            )
        return False

    def _remember(self, model: nn.Module, size: float) -> None:
        self.in_a_row = 0
        self._judged += 1
        logarithm = math.log(size + 1e-12)
        self._usual = logarithm if self._usual is None else (1 - _MEMORY) * self._usual + _MEMORY * logarithm
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in self._buffers:
                    self._buffers[name].copy_(buffer)
                else:
                    self._buffers[name] = buffer.clone()
