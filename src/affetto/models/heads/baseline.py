"""The emotion branch alone, without a recogniser (paper 3.1.2, figure 3a)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from affetto.features.acoustic import AcousticConfig
from affetto.models.heads.branch import BranchConfig, branch_s
from affetto.models.heads.head import HeadConfig, Part


class BaselineConfig(HeadConfig):
    """The branch into a softmax.

    Attributes:
        branch: GRU layers over acoustic features.
    """

    kind: Literal["baseline"] = "baseline"
    branch: BranchConfig = BranchConfig()

    @property
    def acoustic(self) -> AcousticConfig:
        """The branch's."""
        return self.branch.acoustic

    @property
    def fold_s(self) -> float:
        """The branch's."""
        return branch_s(self.branch.units, self.branch.depth)

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:  # noqa: ARG002  it reads no layer
        """The branch."""
        return {"branch": self.branch.part()}
