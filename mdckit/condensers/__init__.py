"""Condensers with loops of their own: trajectories of experts (MTT), kernels (KIP), slimmable condensation."""
