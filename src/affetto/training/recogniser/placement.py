"""On how many devices of how many machines a training runs, and which of its processes this one is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from affetto.config import Config
from affetto.errors import TrainingError


class Placement(Config):
    """Where a training runs.

    Attributes:
        devices: of each machine: GPUs, or processes on a CPU; None takes all GPUs, or one process.
        nodes: machines.
        strategy: Lightning's name of the way they work together; "auto" is distributed data parallel, where there are
            several.
    """

    devices: int | None = None
    nodes: int = 1
    strategy: str = "auto"

    def arguments(self, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """Arguments of Lightning's Trainer.

        Under torchrun it is torchrun that has started the processes, and sets their number.

        Raises:
            TrainingError: torchrun has started another number of processes than were asked for.

        >>> Placement(devices=2).arguments({})
        {'devices': 2, 'num_nodes': 1, 'strategy': 'auto'}
        >>> torchrun = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}
        >>> Placement().arguments(torchrun)
        {'devices': 8, 'num_nodes': 2, 'strategy': 'auto'}
        """
        devices, nodes = self.devices, self.nodes
        if "TORCHELASTIC_RUN_ID" in environment:
            here, world = int(environment["LOCAL_WORLD_SIZE"]), int(environment["WORLD_SIZE"])
            if devices not in {None, here} or nodes not in {1, world // here}:
                raise TrainingError(
                    f"torchrun has started {here} processes on each of {world // here} machines, "
                    f"not {devices} on each of {nodes}",
                    "leave --devices and --nodes to torchrun",
                )
            devices, nodes = here, world // here
        return {"devices": devices or "auto", "num_nodes": nodes, "strategy": self.strategy}


ANYWHERE = Placement()
"""All GPUs of this machine, or one process."""


def first_process() -> bool:
    """Whether this is the process, of all that train together, that speaks and writes."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0
