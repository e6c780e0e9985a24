"""Batch runs: a notebook for a grid of configurations, in this process or on a Dask cluster, and what came out."""

from .collecting import collect
from .sweeping import sweep

__all__ = ["collect", "sweep"]
