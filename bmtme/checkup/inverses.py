"""A relationship that may be something else: the inverse of one, or one on another scale."""

from __future__ import annotations

from bmtme.checkup.findings import Finding
from bmtme.data.relationship.inverse import describe_inverse
from bmtme.data.relationship.matrix import Relationship

__all__ = ["find_inverse"]

#: Mean diagonals beyond these are rare: 1 is usual, 2 for inbred lines, and less where allele frequencies are taken as
#: one half or lines are alike.
_USUAL = (0.05, 3.0)


def find_inverse(relationship: Relationship) -> list[Finding]:
    """Whether the relationship looks like the inverse of one; if not, whether its mean diagonal is far from usual."""
    if relationship.is_identity:
        return []
    text = describe_inverse(relationship.matrix)
    mean = float(relationship.matrix.diagonal().mean())
    if text is not None:
        text = text[:1].upper() + text[1:]
        return [Finding.of("warning", "inverse", text, [{"value": mean, "message": text}])]
    if _USUAL[0] <= mean <= _USUAL[1]:
        return []
    text = (
        f"The relationship has a mean diagonal of {mean:.3g}, where 1 is usual, 2 for inbred lines. If it is scaled by "
        "something else on purpose, a fit copes (variances are for the relationship as given); if it is the inverse of "
        "a relationship, or a sum of squares that was not divided, mend it."
    )
    return [Finding.of("note", "mean diagonal", text, [{"value": mean, "message": text}])]
