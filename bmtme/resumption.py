"""Runs that are gone on with: those that were stopped, and finished ones that are asked for more draws."""

from __future__ import annotations

import contextlib
import os
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.arguments import file_path, whole_number
from bmtme.errors import BmtmeError, DataError, UsageError
from bmtme.mixed_posterior import PosteriorRequest, compute_posterior
from bmtme.pipeline import compute
from bmtme.request import Request
from bmtme.results.checkpoint import DISC, Checkpoint
from bmtme.results.derived import ASIDE, recall_aside
from bmtme.results.fit import Fit, load
from bmtme.results.folder import check_space
from bmtme.results.record import REPORT
from bmtme.results.standing import FOLDER, count_draws, is_finished, take_lock

if TYPE_CHECKING:
    from bmtme.cv.result import CrossValidation
    from bmtme.results.mixed.posterior import MixedPosterior


def resume(
    folder: str | os.PathLike[str], *, cores: int | None = None, progress: bool | None = None, stream: bool = False
) -> Fit | CrossValidation | MixedPosterior:
    """Go on with a run that was stopped, from its last checkpoint.

    Parameters
    ----------
    folder : str or path
        As given to ``checkpoint=`` or to ``--out``.
    cores, progress
        As of `bmtme.fit`; of a cross-validation, `cores` are its `workers`.
    stream : bool
        As of `bmtme.fit`, of a fit that was begun without.

    Returns
    -------
    Fit, CrossValidation or MixedPosterior
        With the numbers of a run that was never stopped, to the last digit, and written to the folder. Of a run that is
        finished, what is there; a ``report.html`` that `extend` was stopped before is made.

    Raises
    ------
    DataError
        If the folder holds no such run, a file of it is damaged or of another run, or an input has changed since.
    UsageError
        If another process is at work on it.
    MachineError
        If it cannot be written; it can be gone on with then, too.

    Warns
    -----
    UserWarning
        As the run itself, and if it was begun with other versions of bmtme or its libraries.
    """
    path = Path(file_path(folder, "folder"))
    if is_finished(path):
        renew_finished(path)
        return load(path)  # of a mixed model's estimates, which nothing can stop, too
    return go_on(Checkpoint.open(path), cores, progress, stream)


def extend(
    folder: str | os.PathLike[str],
    *,
    more: int,
    cores: int | None = None,
    progress: bool | None = None,
    stream: bool = False,
) -> Fit | MixedPosterior:
    """Go on with a finished fit, or a mixed model's posterior, for more draws of each chain.

    Parameters
    ----------
    folder : str or path
        Of a run that was made with ``checkpoint=`` or by ``bmtme fit`` or ``bmtme mixed --posterior``.
    more : int
        Draws of each chain beyond those that there are.
    cores, progress, stream
        As of `bmtme.fit`; once streamed, it stays so.

    Returns
    -------
    Fit or MixedPosterior
        With the numbers of a run that was asked for so many draws at first, to the last digit. It takes the place of
        the other one in the folder once it is complete; `resume` goes on with one that was stopped on the way. A
        ``report.html`` in the folder is made anew; ``pictures`` there get the number of their draws in the name.

    Raises
    ------
    DataError, UsageError, MachineError
        As of `resume`; and a UsageError if the run is not finished, or on the way to another length.

    Warns
    -----
    UserWarning
        As of `resume`; and where the pictures of the earlier draws are now.
    """
    checkpoint = open_longer(Path(file_path(folder, "folder")), whole_number(more, "more", 1))
    # a cross-validation has no draws to count
    return go_on(checkpoint, cores, progress, stream)  # type: ignore[return-value]


def open_longer(path: Path, more: int) -> Checkpoint:
    """Take up a finished run for more draws of each chain; raises as `extend`."""
    there = count_draws(path)
    wanted = there + more
    checkpoint = Checkpoint.open(path)
    try:
        if checkpoint.goal is not None and checkpoint.goal > there and checkpoint.goal != wanted:
            raise UsageError(
                f"the run in {path} is on the way to {checkpoint.goal} draws of each chain: 'bmtme resume {path}' goes "
                "on, and it can be extended further then."
            )
        checkpoint.goal, checkpoint.extended = wanted, True
    except BaseException:
        checkpoint.close()
        raise
    return checkpoint


def go_on(
    checkpoint: Checkpoint, cores: int | None, progress: bool | None, stream: bool = False
) -> Fit | CrossValidation | MixedPosterior:
    """What a checkpoint was begun for."""
    request = checkpoint.request
    if stream and not isinstance(request, Request):
        checkpoint.close()
        raise UsageError(
            "stream is for fits: draws of cross-validations and mixed models are not streamed. Leave it out."
        )
    checkpoint.stream |= stream

    def begin(record: dict[str, Any]) -> Checkpoint:
        if checkpoint.stream:
            check_space(checkpoint.folder, record["estimate"][DISC])
        if checkpoint.goal is not None:  # written once all is checked: what is refused changes nothing
            checkpoint.set_goal(checkpoint.goal, checkpoint.extended)
        return checkpoint

    try:
        if isinstance(request, Request):
            fit = compute(request.take_up(checkpoint), cores, progress, begin, checkpoint.stream)
            renew(checkpoint.folder)
            return fit
        if isinstance(request, PosteriorRequest):
            posterior = compute_posterior(request.take_up(checkpoint), cores, progress, begin)
            renew(checkpoint.folder)
            return posterior
        from bmtme.cv.request import CVRequest
        from bmtme.cv.run import compare_models

        if isinstance(request, CVRequest):
            return compare_models(request, cores, progress, begin)
    finally:
        checkpoint.close()
    raise DataError(f"{checkpoint.folder} was begun for a {type(request).__name__}, which is nothing to go on with.")


def renew(folder: Path) -> None:
    """Make the page of a folder anew, if results have taken the place of those that it was of; tell of pictures."""
    from bmtme.report.html.runs import report_run

    aside = recall_aside(folder)
    if aside is None:
        return
    if aside.pictures is not None and (folder / aside.pictures).exists():
        warnings.warn(
            f"the pictures in {folder} are of the earlier {aside.draws} draws of each chain: they are now in "
            f"{folder / aside.pictures}. 'bmtme plot {folder}' draws new ones.",
            UserWarning,
            stacklevel=4,
        )
    if aside.page and not (folder / REPORT).exists():
        try:
            report_run(folder, check=aside.check)
        except Exception as error:  # whatever it is, the results are complete
            told = " ".join(str(error).split())
            told = told if isinstance(error, BmtmeError) else f"{type(error).__name__}: {told.rstrip('.')}."
            check = "" if aside.check is None else f" --check {shlex.quote(aside.check)}"
            warnings.warn(
                f"the report of the earlier draws was removed, and no new one could be made: {told} 'bmtme report "
                f"{folder}{check}' makes it.",
                UserWarning,
                stacklevel=4,
            )
    with contextlib.suppress(OSError):
        (folder / FOLDER / ASIDE).unlink(missing_ok=True)


def renew_finished(folder: Path) -> None:
    """`renew` the page of an extension that was stopped when its results were complete, unless another process does."""
    if not (folder / FOLDER / ASIDE).exists():
        return
    try:
        lock = take_lock(folder)
    except BmtmeError:  # a folder that cannot be written can still be read
        return
    try:
        renew(folder)
    finally:
        os.close(lock)
