"""Batch normalisation over several processes is that of one with all their frames."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from affetto.models.deepspeech2 import BatchNorm, share_statistics

FRAMES = (7, 4, 0)
"""Of each of three processes."""


def _inputs(bins: int | None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (3,) if bins is None else (3, bins)
    return [torch.randn(count, *shape, generator=generator, dtype=torch.float64) * 2 + 5 for count in FRAMES]


def _part(rank: int, folder: str, bins: int | None) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=len(FRAMES))
    layer = BatchNorm(3).double()
    share_statistics(layer, shared=True)
    inputs = _inputs(bins)[rank].requires_grad_()
    outputs = layer(inputs)
    (outputs * torch.cos(torch.arange(outputs.numel()).view_as(outputs))).sum().backward()
    torch.save([outputs.detach(), inputs.grad, layer.running_mean, layer.running_var], f"{folder}/{rank}.pt")


@pytest.mark.parametrize("bins", [None, 2])
def test_processes_share_statistics_and_gradients(bins: int | None, tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(_part, (str(tmp_path), bins), nprocs=len(FRAMES), start_method="fork")
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(len(FRAMES))]
    layer = nn.BatchNorm1d(3).double()
    inputs = torch.cat(_inputs(bins)).requires_grad_()
    outputs = layer(inputs)
    weights = [torch.cos(torch.arange(part.numel()).view_as(part)) for part in outputs.split(FRAMES)]
    (outputs * torch.cat(weights)).sum().backward()
    assert inputs.grad is not None
    torch.testing.assert_close(torch.cat([each[0] for each in found]), outputs.detach())
    torch.testing.assert_close(torch.cat([each[1] for each in found]), inputs.grad)
    for each in found:
        torch.testing.assert_close(each[2], layer.running_mean)
        torch.testing.assert_close(each[3], layer.running_var)


def test_alone_it_is_torchs() -> None:
    torch.manual_seed(1)
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3)
    ours.shared = True
    inputs = torch.randn(5, 3)
    assert torch.equal(ours(inputs), theirs(inputs))
    assert list(ours.state_dict()) == list(theirs.state_dict())
