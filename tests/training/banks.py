"""Made-up representations in which the class of an utterance, its place modulo the classes, can be heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from affetto.represent import Bank

CLASSES = 3


def make_bank(
    path: Path, count: int, width: int, *, seed: int = 0, longest: int = 8, noise: float = 1.0, signal: float = 1.0
) -> Bank:
    """Frames in two variants: noise, and the signal in the column of the class.

    Args:
        path: where to keep it, without a suffix.
        count: utterances.
        width: of a frame.
        seed: another seed makes other noise.
        longest: frames of an utterance at most; 1 makes averages.
        noise: its deviation.
        signal: its height.
    """
    generator = torch.Generator().manual_seed(seed)
    paths, lengths = [], np.ones((2, count), dtype=np.int64)
    for variant in range(2):
        frames = []
        for place in range(count):
            time = 1 if longest == 1 else int(torch.randint(2, longest + 1, (), generator=generator))
            lengths[variant, place] = time
            noisy = noise * torch.randn(time, width, generator=generator)
            frames.append(noisy + signal * torch.eye(width)[place % CLASSES])
        file = path.with_name(f"{path.name}-{variant}.safetensors")
        save_file({"values": torch.cat(frames)}, file)
        paths.append([file])
    durations = np.random.default_rng(7).integers(100, 900, (2, count))
    return Bank(paths, lengths, durations, width, count)
