"""What a planted error is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One planted error, and the tests that must find it.

    Attributes
    ----------
    name : what is wrong
    file : relative to the package
    old, new : source text, and what stands in its place
    tests : pytest nodes below ``tests/``; each of them must fail
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
