"""Stacked AdamW against PyTorch's, model by model."""

from __future__ import annotations

import torch

from affetto.training.heads.stack import StackedAdamW

RATES = torch.tensor([0.1, 0.01, 0.3])
CLIP, DECAY = 0.7, 0.05


def test_is_pytorchs_with_clipping_and_pauses() -> None:
    generator = torch.Generator().manual_seed(0)
    start = {"a": torch.randn(3, 4, 2, generator=generator), "b": torch.randn(3, 5, generator=generator)}
    stacked = {name: values.clone().requires_grad_() for name, values in start.items()}
    optimiser = StackedAdamW(stacked, DECAY)
    alone = [{name: values[model].clone().requires_grad_() for name, values in start.items()} for model in range(3)]
    theirs = [
        torch.optim.AdamW(own.values(), rate, weight_decay=DECAY)
        for own, rate in zip(alone, RATES.tolist(), strict=True)
    ]
    for step in range(12):
        active = torch.tensor([True, step % 3 != 1, step > 4])
        for name, values in stacked.items():
            values.grad = torch.randn(values.shape, generator=generator)
            for model, own in enumerate(alone):
                own[name].grad = values.grad[model].clone()
        optimiser.step(stacked, RATES, CLIP, active)
        for own, their, moves in zip(alone, theirs, active.tolist(), strict=True):
            torch.nn.utils.clip_grad_norm_(own.values(), CLIP)
            if moves:
                their.step()
    for name, values in stacked.items():
        torch.testing.assert_close(values.detach(), torch.stack([own[name].detach() for own in alone]))


def test_goes_on_with_some_as_if_the_others_had_never_been() -> None:
    def run(models: list[int]) -> torch.Tensor:
        values = torch.arange(6.0).view(3, 2)[models].clone().requires_grad_()
        optimiser = StackedAdamW({"a": values}, 0.0)
        for step in range(6):
            if step == 3 and len(models) == 3:
                optimiser.select([0, 2])
                values = values.detach()[[0, 2]].requires_grad_()
            values.grad = values.detach() * 0.5 + step
            optimiser.step({"a": values}, torch.full((len(values),), 0.1), 10.0, torch.ones(len(values)) > 0)
        return values.detach()

    torch.testing.assert_close(run([0, 1, 2]), run([0, 2]))
