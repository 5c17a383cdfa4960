"""Engines: `rotated` draws posteriors, for one relationship and a pair of covariances (C, R); `mixed` is REML."""
