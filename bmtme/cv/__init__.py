"""Cross-validation: schemes make masks, scores judge predictions of the hidden cells, models are compared by them.

`bmtme.cross_validate` is in `bmtme.cv.run`, which is not imported here: masks and scores need no compiled code.
"""

from bmtme.cv.given import Partitions
from bmtme.cv.heritability import measure_heritability
from bmtme.cv.joining import join_runs
from bmtme.cv.new_environments import NewEnvironments, NewLinesNewEnvironments
from bmtme.cv.new_lines import NewLines
from bmtme.cv.partitions import Partition, Scheme
from bmtme.cv.result import load_cross_validation
from bmtme.cv.schemes import CV1, CV2
from bmtme.cv.scores import score, score_means, summarise

__all__ = [
    "CV1",
    "CV2",
    "NewEnvironments",
    "NewLines",
    "NewLinesNewEnvironments",
    "Partition",
    "Partitions",
    "Scheme",
    "join_runs",
    "load_cross_validation",
    "measure_heritability",
    "score",
    "score_means",
    "summarise",
]
