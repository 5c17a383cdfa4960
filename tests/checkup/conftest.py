"""Fits that stop where they would begin to sample."""

import pytest

import bmtme.running


@pytest.fixture
def no_sampling(monkeypatch):
    """Stop a fit where it would begin to sample: what it says of the data comes before."""

    class Sampled(Exception):
        pass

    def stop(*_: object) -> None:
        raise Sampled

    monkeypatch.setattr(bmtme.running, "rehearse", stop)
    return Sampled
