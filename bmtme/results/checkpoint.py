"""A run's folder while it is under way: what was asked for, where its chains are, and the draws so far.

All is in the folder ``checkpoint`` of the run: ``request``, ``goal`` (how many draws, where that has changed), and for
each chain its state, ``chain-0``, and blocks of its draws, ``chain-0-0``, ``chain-0-1``, ...; of a cross-validation
``outcome-...`` in place of the chains of what has ended; of an extension ``aside``, until the page is made anew. The
state is written last and names its blocks, so that a process that is killed at any time leaves chains as they were some
sweeps before. Which process works on it is told by a lock, which ends with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bmtme.engines.snapshots import Resumable, Snapshot
from bmtme.errors import BmtmeError, DataError, MachineError, NumericalError
from bmtme.mapped import map_zeros
from bmtme.results.derived import ASIDE, find_aside, set_aside
from bmtme.results.encoding import decode, encode
from bmtme.results.folder import check_space, move_files, new_folder
from bmtme.results.inputs import refuse_changed
from bmtme.results.packing import read_pack, write_pack
from bmtme.results.record import FINISHED, RECORD, UNFINISHED, read_seal, read_state, write_record
from bmtme.results.standing import FOLDER, GOAL, take_lock

REQUEST, CHAIN, BLOCK, OUTCOME, RESULT = "request", "chain", "block", "outcome", "result"
#: Seconds between two checkpoints of a chain; more where writing takes more than this share of the time.
EVERY, SHARE = 60.0, 0.05
#: Bytes on the disc, in the estimate of a run whose draws are streamed.
DISC = "disc_bytes"
#: What a run of the shell tells of itself.
SHELL = ("command", "inputs")
#: Among these, the seconds that reading took.
READ = "read"


@dataclass
class _Kept:
    """What is on the disc of a chain."""

    blocks: list[tuple[str, int, str]] = field(default_factory=list)  # file, draws, SHA-256
    drawn: int = 0
    place: tuple[int, ...] = (0, -1)
    before: float = 0.0  # seconds at work in other processes
    began: float = field(default_factory=time.monotonic)
    time: float = field(default_factory=time.monotonic)
    took: float = 0.0


class Checkpoint:
    """The folder of a run that can be gone on with. Made by `begin` and `open`.

    Attributes
    ----------
    folder : Path
        Of the run.
    kind : str
        What it is to hold, such as ``fit``.
    request : dataclass
        All that the numbers follow from.
    about : dict
        ``command``, ``inputs``, ``directory`` of a shell's run, and how its tables are written.
    goal : int or None
        Draws of each chain that are wanted, where that is not what was asked for at first.
    extended : bool
        Whether these are wanted as they are, and not until they suffice.
    stream : bool
        Whether draws are on the disc alone, and not in memory.
    earlier : int
        Draws of each chain of the results that are there, or 0.
    """

    def __init__(
        self, folder: Path, kind: str, run: str, request: Any, about: dict[str, Any], every: float, stream: bool = False
    ) -> None:
        self.folder, self.kind, self.request, self.about, self.stream = folder, kind, request, about, stream
        self.place, self.every = folder / FOLDER, every
        self.goal: int | None = None
        self.extended = False
        self.earlier = 0
        self._run = run
        self._kept: dict[str, _Kept] = {}
        self._lock: int | None = take_lock(folder)
        #: Whether this process has begun the run.
        self.fresh = False

    @classmethod
    def begin(
        cls,
        folder: Path,
        kind: str,
        request: Any,
        record: Mapping[str, Any],
        about: dict[str, Any] | None = None,
        every: float = EVERY,
        stream: bool = False,
    ) -> Checkpoint:
        """Make the folder of a run: ``run.json``, which says that it is unfinished, and what was asked for.

        Parameters
        ----------
        record : of the run, as far as it is known

        Raises
        ------
        UsageError, MachineError
        """
        about = about or {}
        if stream:
            check_space(folder, record["estimate"][DISC])
        arrays: dict[str, np.ndarray] = {}
        run = uuid.uuid4().hex
        values = {"run": run, "about": about, "every": every, "versions": record["versions"], "stream": stream}
        values["request"] = encode(request, arrays, "the model, the data or the scheme")
        with new_folder(folder) as draft:
            (draft / FOLDER).mkdir()
            write_pack(draft / FOLDER / REQUEST, REQUEST, values, arrays)
            write_record(draft, dict(record), kind, {}, UNFINISHED)
        made = cls(folder, kind, run, request, about, every, stream)
        made.fresh = True
        return made

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Take up the run of a folder.

        Raises
        ------
        UsageError
            If another process is at work on it.
        DataError
            If there is none, or it is damaged, or an input has changed.

        Warns
        -----
        UserWarning
            If it was begun with other versions.
        """
        from bmtme.machine import RELEASES, find_versions

        place = folder / FOLDER
        if not (folder / RECORD).exists():
            lost = f"its {RECORD} is missing, which was written and has been deleted: take it from a copy"
            none = f"{folder} {f'holds no run: it has no {RECORD}' if folder.is_dir() else 'is no folder'}"
            raise DataError(f"{f'{folder} cannot be gone on with: {lost}' if (place / REQUEST).exists() else none}.")
        record, added = read_seal(folder, unfinished=True)
        if not (place / REQUEST).exists():
            raise DataError(
                f"{folder} cannot be gone on with: it has no {FOLDER}/{REQUEST}, which a run has that was begun with "
                "'bmtme fit --out' or 'bmtme mixed --posterior --out', or with checkpoint=."
            )
        values, arrays = read_pack(place / REQUEST, REQUEST)
        refuse_changed(values["about"].get("inputs", {}), values["about"].get("directory", ""))
        here = find_versions()
        others = [f"{name} {old}" for name, old in values["versions"].items() if name in RELEASES and here[name] != old]
        if others:
            warnings.warn(
                f"{folder} was begun with {', '.join(others)}, and other versions go on with it: the draws may differ "
                "from those of a run that was never stopped.",
                UserWarning,
                stacklevel=3,
            )
        try:
            request = decode(values["request"], arrays)
        except (ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
            raise DataError(f"{place / REQUEST} cannot be read by this version of bmtme: {error}.") from error
        made = cls(
            folder, added["kind"], values["run"], request, values["about"], values["every"], values.get("stream", False)
        )
        made.earlier = record["settings"]["draws"] if added["state"] == FINISHED else 0
        if (place / GOAL).exists():
            goal, _ = made._read(GOAL, GOAL)
            made.goal, made.extended, made.stream = goal["draws"], goal["extended"], goal["stream"]
        return made

    @property
    def idle(self) -> bool:
        """Whether this process has begun the run, and no chain has come to a checkpoint: nothing is lost with it."""
        return self.fresh and not self._kept

    @property
    def finished(self) -> bool:
        """Whether the folder holds results."""
        return read_state(self.folder) == FINISHED

    def close(self) -> None:
        """Let others work on it."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def set_goal(self, draws: int, extended: bool = False) -> None:
        """Have so many draws of each chain wanted.

        Raises
        ------
        MachineError
        """
        self._write(GOAL, GOAL, {"draws": draws, "extended": extended, "stream": self.stream}, {})
        self.goal, self.extended = draws, extended

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of zeros; where draws are streamed, in a file that goes with it.

        Raises
        ------
        MachineError
        """
        if not self.stream:
            return np.zeros(shape)
        try:
            return map_zeros(self.place, shape)
        except OSError as error:
            raise self._blame(f"cannot make room for draws in {self.place}: {error.strerror}") from error

    # --- chains ---------------------------------------------------------------------------------------------------

    def keep(self, key: str, chain: Resumable, last: bool = True) -> None:
        """Write where a chain is and what it has drawn since, if it is time, or the last time.

        Raises
        ------
        MachineError
        """
        kept = self._kept.setdefault(key, _Kept())
        began, place = time.monotonic(), (chain.stage, chain.done, chain.drawn)
        if place == kept.place or (not last and began - kept.time < max(self.every, kept.took / SHARE)):
            return
        for count, block in chain.cut(kept.drawn, chain.drawn):
            name = f"{CHAIN}-{key}-{len(kept.blocks)}"
            kept.blocks.append((name, count, self._write(name, BLOCK, {}, block)))
            kept.drawn += count
        values, arrays = chain.take()
        spent = kept.before + began - kept.began
        self._write(f"{CHAIN}-{key}", CHAIN, {**values, "blocks": kept.blocks, "seconds": spent}, arrays)
        kept.place, kept.time = place, time.monotonic()
        kept.took = kept.time - began

    def restore(self, key: str, chain: Resumable) -> bool:
        """Put a chain where it was kept; False where it was not.

        Raises
        ------
        DataError
        """
        name = f"{CHAIN}-{key}"
        if not (self.place / name).exists():
            if (self.place / f"{name}-0").exists():
                warnings.warn(
                    f"{self.place / name} is missing, and draws of this chain are there: it is run anew from its "
                    "beginning, and gives the same numbers.",
                    UserWarning,
                    stacklevel=2,
                )
            return False
        values, arrays = self._read(name, CHAIN)
        blocks = [(str(file), int(draws), str(digest)) for file, draws, digest in values.pop("blocks")]
        try:
            chain.restore(Snapshot(values, arrays), self._read_blocks(blocks))
        except DataError:  # of a block, which says it all
            raise
        except ValueError as error:
            raise DataError(
                f"{self.place / name} is of another run: {error}. Take it from a copy, or start the run anew in "
                "another folder."
            ) from error
        self._kept[key] = _Kept(blocks, chain.drawn, (chain.stage, chain.done, chain.drawn), float(values["seconds"]))
        return True

    def sum_before(self) -> float:
        """Seconds that the chains were at work in other processes."""
        return sum(kept.before for kept in self._kept.values())

    def _read_blocks(self, blocks: list[tuple[str, int, str]]) -> Iterator[dict[str, np.ndarray]]:
        for name, _, digest in blocks:
            yield self._read(name, BLOCK, digest)[1]

    def forget(self, key: str) -> None:
        """Remove what is kept of a chain, its state first."""
        for name in (f"{CHAIN}-{key}", *(name for name, _, _ in self._kept.pop(key, _Kept()).blocks)):
            with contextlib.suppress(OSError):
                (self.place / name).unlink(missing_ok=True)

    # --- what has ended -------------------------------------------------------------------------------------------

    def keep_outcome(self, key: str, outcome: Any) -> None:
        """Write what came out.

        Raises
        ------
        MachineError
        """
        arrays: dict[str, np.ndarray] = {}
        self._write(f"{OUTCOME}-{key}", OUTCOME, {"outcome": encode(outcome, arrays)}, arrays)

    def restore_outcome(self, key: str) -> Any | None:
        """What came out, or None.

        Raises
        ------
        DataError
        """
        name = f"{OUTCOME}-{key}"
        if not (self.place / name).exists():
            return None
        values, arrays = self._read(name, OUTCOME)
        return decode(values["outcome"], arrays)

    def recall(self, key: str, make: Callable[[], Any]) -> Any:
        """What came out before, or what is made now and kept.

        Raises
        ------
        DataError, MachineError
        """
        found = self.restore_outcome(key)
        if found is None:
            found = make()
            self.keep_outcome(key, found)
        return found

    def tell(self, run: dict[str, Any]) -> None:
        """Add to the record of a run what the shell tells of it."""
        run |= {name: self.about[name] for name in SHELL if name in self.about}
        if READ in self.about:
            run["seconds"] = {READ: self.about[READ], **run["seconds"]}

    def finish(self, write: Callable[[Path], None], forget: bool = False) -> None:
        """Let `write` fill the folder: files take their places once all are there.

        Between the first file and the last the folder says that it is unfinished, and `open` goes on from there.

        forget : whether the checkpoint goes; otherwise it stays, so that more draws can be asked for

        Raises
        ------
        MachineError
        """
        draft = self.place / RESULT
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            write(draft)
            if self.finished:
                self._note_aside()
                with new_part(self.folder) as part:
                    write_record(part, {}, self.kind, {}, UNFINISHED)
                    (part / RECORD).replace(self.folder / RECORD)
            set_aside(self.folder)  # by now the folder says that it is unfinished: `resume` brings the page back
            move_files(draft, self.folder)
            draft.rmdir()
            if forget:
                shutil.rmtree(self.place, ignore_errors=True)
        except MachineError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            reason = error.strerror or " ".join(str(error).split())
            raise self._blame(f"cannot write the results to {self.folder}: {reason}") from error

    def _note_aside(self) -> None:
        """Write what has been made of the results that are there; see `bmtme.results.derived`."""
        aside = find_aside(self.folder, self.earlier)
        if aside is None:
            (self.place / ASIDE).unlink(missing_ok=True)
        else:
            self._write(ASIDE, ASIDE, asdict(aside), {})

    def discard(self) -> None:
        """Remove the folder of a run that cannot be finished and has no results."""
        if not self.finished:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- files ----------------------------------------------------------------------------------------------------

    def _write(self, name: str, kind: str, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
        try:
            return write_pack(self.place / name, kind, {**values, "run": self._run}, arrays)
        except MachineError as error:
            raise self._blame(str(error).rstrip(".")) from error

    def _read(self, name: str, kind: str, expected: str | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        values, arrays = read_pack(self.place / name, kind, expected)
        if values.pop("run", None) != self._run:
            raise DataError(
                f"{self.place / name} is of another run. Take it from a copy, or start the run anew in another folder."
            )
        return values, arrays

    def _blame(self, what: str) -> BmtmeError:
        return MachineError(
            f"{what}. What was drawn up to the last checkpoint is kept: free some space, or make the folder writable, "
            f"and 'bmtme resume {self.folder}' goes on."
        )


@contextlib.contextmanager
def keep_checkpoint(
    begin: Callable[[dict[str, Any]], Checkpoint] | None, record: dict[str, Any]
) -> Iterator[Checkpoint | None]:
    """The checkpoint of a run, while it is at work; that of one that could not but fail again goes.

    One that was opened is closed by who opened it, who may have more to do in the folder.
    """
    if begin is None:
        yield None
        return
    checkpoint = begin(record)
    try:
        yield checkpoint
    except BmtmeError as error:
        if isinstance(error, NumericalError) or (checkpoint.idle and not isinstance(error, MachineError)):
            checkpoint.discard()
        raise
    finally:
        if checkpoint.fresh:
            checkpoint.close()


@contextlib.contextmanager
def new_part(folder: Path) -> Iterator[Path]:
    """A folder for files that are about to take their place."""
    part = folder / FOLDER / "part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
