"""Why a recording counts as what it does: the moments, units and features that decide, as numbers and as a picture."""

from affetto.explain.build import explain, telling, write

__all__ = ["explain", "telling", "write"]
