"""Losses against `affetto.metrics.ccc` and torch's cross-entropy; written down gradients against traced ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from affetto import metrics
from affetto.training.heads.objective import Concordance, CrossEntropy, Objective

OBJECTIVES: dict[str, Objective] = {"classes": CrossEntropy(), "dimensions": Concordance()}


def _made(heads: int = 3, outputs: int = 2, batch: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, targets, and shares of which each head has some at 0."""
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(heads, outputs, batch, generator=generator)
    targets = torch.rand(1, outputs, batch, generator=generator)
    own = (torch.rand(heads, batch, generator=generator) > 0.3).float()
    return scores, targets / targets.sum(dim=1, keepdim=True), own / own.sum(dim=1, keepdim=True)


def test_concordance_is_that_of_the_metric() -> None:
    scores, targets, shares = _made()
    losses = Concordance().losses(scores, targets, shares)
    for head, loss in enumerate(losses):
        own = shares[head] > 0
        cccs = [
            metrics.ccc(truth[own].double().numpy(), said[own].double().numpy())
            for truth, said in zip(targets[0], scores[head], strict=True)
        ]
        assert loss.item() == pytest.approx(1 - np.mean(cccs), abs=1e-5)


def test_cross_entropy_is_torchs() -> None:
    scores, targets, shares = _made()
    expected = nn.functional.cross_entropy(scores, targets.expand_as(scores), reduction="none")
    assert torch.allclose(CrossEntropy().losses(scores, targets, shares), (expected * shares).sum(dim=1))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_slopes_are_those_that_are_traced(name: str) -> None:
    scores, targets, shares = _made()
    losses, slopes = OBJECTIVES[name].slopes(scores, targets, shares)
    free = scores.clone().requires_grad_()
    traced = OBJECTIVES[name].losses(free, targets, shares)
    traced.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.allclose(losses, traced)
    assert torch.allclose(slopes, free.grad, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_with_nothing_of_its_own_moves_no_head(name: str) -> None:
    scores, targets, shares = _made()
    losses, slopes = OBJECTIVES[name].slopes(scores, targets, torch.zeros_like(shares))
    assert torch.isfinite(losses).all()
    assert not slopes.any()
