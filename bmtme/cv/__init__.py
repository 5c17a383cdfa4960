"""Cross-validation: schemes make masks, scores judge predictions of the hidden cells."""

from bmtme.cv.schemes import CV1, CV2, Partition, Scheme
from bmtme.cv.scores import score, summarise

__all__ = ["CV1", "CV2", "Partition", "Scheme", "score", "summarise"]
