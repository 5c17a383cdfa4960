"""Progress of long work on stderr: a line that is rewritten, and in a log, where it is no terminal, one a minute."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TextIO

from bmtme.arguments import show as show_value
from bmtme.errors import UsageError

#: Seconds between two lines of a log.
LOG_EVERY = 60.0


class Progress:
    """Share done and an honest time left, from the rate since the first sweep was finished.

    Parameters
    ----------
    total : int
        Units of work in all.
    what : str
        What is being done, in front of the share.
    show : bool, optional
        Default: where stderr is a terminal; elsewhere, a line of its own each minute. False: nothing.
    """

    def __init__(self, total: int, what: str, show: bool | None = None, stream: TextIO | None = None) -> None:
        if show is not None and not isinstance(show, bool):
            raise UsageError(f"progress must be True, False or None, got {show_value(show)}.")
        self.stream: TextIO | None = stream or sys.stderr
        # Without a console (pythonw, a closed stream) sys.stderr is None.
        self.show = self.stream is not None and (self.stream.isatty() if show is None else show)
        self.silent = self.stream is None or show is False
        self.total, self.what = max(total, 1), what
        self.began: tuple[float, int] | None = None
        self.last = self.logged = 0.0
        self.width = 0

    def update(self, done: int) -> None:
        """Say how much is done; redraws a few times a second."""
        now = time.monotonic()
        if self.began is None:
            self.began = (now, done)
            self.logged = now
        if self.show:
            if now - self.last < 0.2 and done < self.total:
                return
            self.last = now
        elif self.silent or now - self.logged < LOG_EVERY or done >= self.total:
            return
        text = f"{self.what}: {100 * done / self.total:3.0f}%"
        elapsed, gained = now - self.began[0], done - self.began[1]
        if elapsed > 0.5 and gained > 0:
            text += f", {_clock((self.total - done) * elapsed / gained)} left"
        if self.show:
            self.write(text)
        else:
            self.logged = now
            self.announce(text)

    def write(self, text: str) -> None:
        """Rewrite the line."""
        if self.show and self.stream is not None:
            self.stream.write("\r" + text.ljust(self.width))
            self.stream.flush()
            self.width = len(text)

    def announce(self, text: str) -> None:
        """Say what takes its time once: on the line, or as a line of a log."""
        if self.show:
            self.write(text)
        elif not self.silent and self.stream is not None:
            with contextlib.suppress(OSError):  # that nobody can read it ends no run
                self.stream.write(f"{text}\n")
                self.stream.flush()

    def close(self) -> None:
        """Clear the line."""
        if self.show and self.stream is not None and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.stream.flush()
            self.width = 0


def write_duration(seconds: float) -> str:
    """A length of time in words, to two figures or so."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
