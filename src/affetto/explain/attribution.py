"""Which frames and which units speak for an emotion, by captum; what is attributed to what: docs/explain.md.

Source: M. Sundararajan, A. Taly, Q. Yan (2017), Axiomatic attribution for deep networks, ICML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from affetto.errors import ConfigError, MissingExtraError
from affetto.frames import Frames
from affetto.models.heads import EmotionHead

STEPS = (16, 64, 256)
"""Points of the way from the baseline at which gradients are taken; more, where fewer leave too much over."""

TOLERANCE = 0.01  # What may be left over, relative to what is shared out, or to a logit of 1 where that is less
_AT_ONCE = 16  # recordings: what a GRU step costs grows little up to there, and memory stays in the hundreds of MB

Given = Mapping[str, Tensor]  # What a head is given of one recording, by name: (time, width) each


class Attribution(NamedTuple):
    """How much each number that a head was given speaks for an emotion, in logits."""

    parts: Given  # of each unit or feature in each frame
    score: float  # the emotion's logit less the mean of the others'
    baseline: float  # the same, had every frame been the mean frame of the training speech

    @property
    def left_over(self) -> float:
        """The difference of the scores less the sum of all parts: 0 but for what a sum misses of an integral."""
        return self.score - self.baseline - sum(float(each.double().sum()) for each in self.parts.values())


def average_frame(head: EmotionHead, given: Given) -> dict[str, Tensor]:
    """The baseline: each frame the mean one of the training speech, or zeros if the head does not standardise."""
    return {name: head.typical_frame(name).expand_as(each) for name, each in given.items()}


def attribute(head: EmotionHead, given: Given, emotion: str) -> Attribution:
    """Integrated gradients of an emotion's score, for a head in evaluation mode and what it was given.

    The score is the emotion's logit less the mean of the others': only differences count in a softmax. Raises
    ConfigError where the head does not know the emotion, MissingExtraError where captum is not installed.

    >>> from affetto.models.heads.kinds import MeanPoolingConfig
    >>> head = EmotionHead(MeanPoolingConfig(layer="gru2"), ("anger", "sadness"), {"gru2": 2})
    >>> with torch.no_grad():
    ...     _ = head.output.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.0]]))  # only unit 0 counts
    >>> found = attribute(head, {"gru2": torch.tensor([[1.0, 5.0], [3.0, 5.0]])}, "anger")
    >>> found.parts["gru2"].round(decimals=3).tolist(), abs(found.left_over) < 1e-4
    ([[1.5, 0.0], [4.5, 0.0]], True)
    """
    method = _captum().IntegratedGradients
    score = _scorer(head, given, emotion)
    inputs, baseline = _batch(given), _batch(average_frame(head, given))
    with torch.no_grad():
        here, there = (float(score(*values)) for values in (inputs, baseline))
    found = Attribution({}, here, there)
    for steps in STEPS:
        with torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradients of a GRU in evaluation mode
            parts = method(score).attribute(inputs, baseline, n_steps=steps, internal_batch_size=_AT_ONCE)
        found = Attribution({name: each[0].detach() for name, each in zip(given, parts, strict=True)}, here, there)
        if abs(found.left_over) <= TOLERANCE * max(1.0, abs(here - there)):
            break
    return found


def occlude(head: EmotionHead, given: Given, emotion: str, stretches: Given) -> Tensor:
    """How far an emotion's score falls when a stretch of frames is replaced by the baseline: (stretches,) logits.

    Each frame of each given part has its stretch's number in ``stretches``, (time,) from 0; raises as `attribute`.
    """
    method = _captum().FeatureAblation
    score = _scorer(head, given, emotion)
    inputs, baseline = _batch(given), _batch(average_frame(head, given))
    numbers = _batch({name: stretches[name] for name in given})
    masks = tuple(each[..., None].expand_as(part) for each, part in zip(numbers, inputs, strict=True))
    with torch.no_grad():
        parts = method(score).attribute(
            inputs, baseline, feature_mask=masks, perturbations_per_eval=_AT_ONCE, enable_cross_tensor_attribution=True
        )
    falls = torch.zeros(1 + max(int(each.max()) for each in numbers))
    for number, part in zip(numbers, parts, strict=True):
        falls[number[0].cpu()] = part[0, :, 0].float().cpu()  # every number of a stretch carries the whole fall
    return falls


def _scorer(head: EmotionHead, given: Given, emotion: str) -> Callable[..., Tensor]:
    """The score of (batch, time, width) tensors in the order of what is given: (batch,)."""
    if emotion not in head.classes:
        raise ConfigError(f"this model does not know {emotion!r}", f"choose of {', '.join(head.classes)}", "emotion")
    place = head.classes.index(emotion)

    def score(*values: Tensor) -> Tensor:
        frames = (Frames(each, torch.full((len(each),), each.shape[1], device=each.device)) for each in values)
        logits: Tensor = head(dict(zip(given, frames, strict=True)))
        others = logits.sum(dim=-1) - logits[:, place]
        return logits[:, place] - others / max(1, len(head.classes) - 1)

    return score


def _batch(given: Given) -> tuple[Tensor, ...]:
    return tuple(each[None] for each in given.values())


def _captum() -> Any:
    try:
        import captum.attr
    except ModuleNotFoundError as error:
        raise MissingExtraError("captum is not installed", 'pip install "affetto[report]"') from error
    return captum.attr
