"""What all results of a run have: a page for a browser."""

from __future__ import annotations

import os

__all__ = ["Reported"]


class Reported:
    """A result of which a page can be made."""

    def report(self, file: str | os.PathLike[str]) -> None:
        """Write a page for a browser: what can be trusted, the numbers, how they were made, and a text of the methods.

        One HTML file that needs no other, and no network; it prints. ``bmtme report`` makes the same of a folder.

        Parameters
        ----------
        file : str or path
            Such as ``"run.html"``, which heads the page by its name. An earlier report there is replaced, as a whole or
            not at all.

        Raises
        ------
        UsageError
            If a file that is no report is there, or none can be written.
        MachineError
            As on a full disc.
        """
        from bmtme.report.html.runs import report_result

        report_result(self, file)
