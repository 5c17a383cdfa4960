"""Cross-validation: schemes make masks, scores judge predictions of the hidden cells.

`bmtme.cross_validate` is in `bmtme.cv.run`, which is not imported here: masks and scores need no compiled code.
"""

from bmtme.cv.given import Partitions
from bmtme.cv.new_environments import NewEnvironments, NewLinesNewEnvironments
from bmtme.cv.new_lines import NewLines
from bmtme.cv.partitions import Partition, Scheme
from bmtme.cv.schemes import CV1, CV2
from bmtme.cv.scores import score, summarise

__all__ = [
    "CV1",
    "CV2",
    "NewEnvironments",
    "NewLines",
    "NewLinesNewEnvironments",
    "Partition",
    "Partitions",
    "Scheme",
    "score",
    "summarise",
]
