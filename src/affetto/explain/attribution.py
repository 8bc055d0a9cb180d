"""Which frames and which units speak for an emotion: what a head is given, shared out over its score.

**The score** explained is the head's logit of one emotion less the mean of the others' logits: only differences between
logits count in a softmax.

**The baseline**, what a frame is compared with, is the mean frame of the training speech, which a head that
standardises its inputs keeps; for one that does not, zeros. A frame that is like it adds nothing.

**Integrated gradients** (Sundararajan et al. 2017) share out the difference between the score and that of the baseline
over every number that the head is given, and leave nothing over. **Occlusion** puts the baseline in the place of a
stretch and looks how far the score falls. It is another question: where a part of the evidence would do, the score
hardly falls without any single stretch, and the two differ.

Both are computed by captum, on the frames of the recogniser's layer and the acoustic features of the head's own branch:
what the recogniser made of the sound is taken as given. A frame of a recurrent layer knows of its neighbours, so times
are blurred by what the recogniser carries along.

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
    """The baseline: as many frames as are given, each the mean frame of the training speech."""
    return {name: head.typical_frame(name).expand_as(each) for name, each in given.items()}


def attribute(head: EmotionHead, given: Given, emotion: str) -> Attribution:
    """Integrated gradients of an emotion's score, for a head in evaluation mode and what it was given.

    Raises:
        ConfigError: the head does not know the emotion.
        MissingExtraError: captum is not installed.

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

    The number of each frame's stretch stands in ``stretches``, (time,) integers from 0, for each part that is given.
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
    """What is given, as a batch of one."""
    return tuple(each[None] for each in given.values())


def _captum() -> Any:
    try:
        import captum.attr
    except ModuleNotFoundError as error:
        raise MissingExtraError("captum is not installed", 'pip install "affetto[report]"') from error
    return captum.attr
