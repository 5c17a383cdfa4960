"""Cross-validation: schemes make masks, scores judge predictions of the hidden cells.

`bmtme.cross_validate` is in `bmtme.cv.run`, which is not imported here: masks and scores need no compiled code.
"""

from bmtme.cv.partitions import Partition, Scheme
from bmtme.cv.schemes import CV1, CV2
from bmtme.cv.scores import score, summarise

__all__ = ["CV1", "CV2", "Partition", "Scheme", "score", "summarise"]
