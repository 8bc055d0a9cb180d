"""One step of a recogniser's training, and what its validation counts."""

from __future__ import annotations

import logging
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from affetto import metrics, text
from affetto.config import stable_seed
from affetto.data.transcribed import TranscribedBatch
from affetto.errors import TrainingError
from affetto.features.spectrogram import FRAME_RATE_HZ
from affetto.frames import Frames, Waves
from affetto.models.decoding import greedy
from affetto.models.deepspeech2 import share_statistics
from affetto.models.network import RecogniserNetwork
from affetto.training.recogniser.augmentation import mask_frames
from affetto.training.recogniser.frozen import FrozenLayers
from affetto.training.recogniser.recipe import RecogniserTraining
from affetto.training.recogniser.safe_steps import SafeSteps

logger = logging.getLogger(__name__)


class RecogniserTask(lightning.LightningModule):
    """One step of CTC training, and greedy decoding for validation.

    Args:
        model: the network.
        training: how it is trained.
        seed: of masks and dropout.
        frozen: the layers that are not trained; None trains all.
    """

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
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(config, step, epoch_steps)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        """All that is trained: what a public encoder began with apart, where its rate is another."""
        config = self.training_config
        begun = getattr(self.model, "encoder", nn.Module()) if config.encoder_rate != 1 else nn.Module()
        apart = [each for each in begun.parameters() if each.requires_grad]
        chosen = {id(each) for each in apart}
        rest = [each for each in self.parameters() if each.requires_grad and id(each) not in chosen]
        slower = {"params": apart, "lr": config.learning_rate * config.encoder_rate}
        return [{"params": rest}, *([slower] if apart else [])]


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
