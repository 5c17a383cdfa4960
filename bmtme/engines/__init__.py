"""Engines that draw posteriors: `rotated`, for one relationship and any pair of covariances (C, R)."""
