"""``bmtme rerun``: a run again from its record, and whether it comes out the same."""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmtme.cli.arguments import add_common_options
from bmtme.cli.inputs import check_optional_out
from bmtme.cli.objects import add_json_option, say_object
from bmtme.cli.streams import complain, say, width
from bmtme.columns import label_facts
from bmtme.errors import DataError
from bmtme.words import list_names

#: Commands whose runs can be repeated.
COMMANDS = ("fit", "cv", "adjust", "mixed")
#: Exit status where something came out differently, as that of cmp and diff.
DIFFERS = 1
IDENTICAL = "identical byte for byte"
SAME_NUMBERS = "the same numbers to the last digit"

USAGE = "bmtme rerun RUN [--out DIR]"
EPILOG = f"""\
example:
  bmtme rerun run --out again

RUN is a folder that 'bmtme {"', 'bmtme ".join(COMMANDS)}' wrote. Its run.json says
which command that was, with which files, settings and seed. The names of files are
taken from the folder that you are in: go to that from which the run was made. A file
that is missing or has changed is refused by name. Then all is computed anew and
compared with what the run wrote, file by file, by the hashes in run.json. Without
--out the new files are removed afterwards.
Exit status 0: every file is the same, byte for byte or to the last digit; 1: not so.
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "rerun",
        help="run again from a record, and see whether it comes out the same",
        description="Repeat a run by its record, with the same inputs, and compare what comes out.",
        usage=USAGE,
        epilog=EPILOG,
    )
    parser.add_argument("folder", metavar="RUN", help="folder of a run")
    add_json_option(parser)
    add_common_options(parser, text="folder for the new results; new or empty", required=False)
    parser.set_defaults(parser=parser, check=lambda args: None, run=run, check_out=check_optional_out)


def run(args: argparse.Namespace, out: Path | None) -> int:
    """Repeat the run, say whether it came out the same, and keep it if that is wanted."""
    from bmtme.cli.main import parse
    from bmtme.machine import describe_machine, find_versions
    from bmtme.results.record import RECORD, read_seal

    old = Path(args.folder)
    record, added = read_seal(old)
    words = list_words(record, old)
    with tempfile.TemporaryDirectory(prefix="bmtme-") as spare:
        new = Path(spare) / "run" if out is None else out
        again = parse([*words, "--out", str(new)])
        resolved = {}
        for name, value in record.get("settings", {}).items():  # as they were resolved, and not as they were asked for
            if name in ("draws", "tune", "chains", "seed") and getattr(again, name, value) != value:
                resolved[name] = value
                setattr(again, name, value)
        again.scheduler = None  # numbers do not depend on where fits run
        check_inputs(record.get("inputs", {}), old)
        changed = list_changes(record.get("versions", {}), find_versions())
        changed |= list_changes(record.get("machine", {}), describe_machine())
        if changed:
            complain(f"warning: {old} was made with {describe_changes(changed)}: digits may differ.")
        damaged = list_damaged(added["files"], old)
        if damaged:
            complain(
                f"warning: {old} is not as it was written: {describe_damaged(damaged)}. What is made now is compared "
                f"with the hashes in {RECORD}."
            )
        with contextlib.redirect_stdout(io.StringIO()):
            again.run(again, new)
        outputs = compare_files(added["files"], old, new)
    same = all(verdict in (IDENTICAL, SAME_NUMBERS) for verdict in outputs.values())
    if args.json:
        say_object(args, out, run=str(old), identical=same, outputs=outputs, changed=changed, damaged=damaged)
    else:
        facts = [("rerun", " ".join(["bmtme", *words]))]
        if resolved:
            facts.append(
                ("settings", ", ".join(f"{name}={value}" for name, value in resolved.items()) + ", as recorded")
            )
        facts += [("inputs", "as recorded"), ("folder", describe_damaged(damaged) if damaged else "as recorded")]
        facts.append(("versions", describe_changes(changed) if changed else "as recorded"))
        verdicts: dict[str, list[str]] = {}
        for name, verdict in outputs.items():
            verdicts.setdefault(verdict, []).append(name)
        facts += [("outputs", f"{verdict}: {list_names(names, len(names))}") for verdict, names in verdicts.items()]
        say(label_facts(facts, width()))
        if out is not None:
            say(f"\nwritten to {out}")
    if same:
        return 0
    why = "as may be with other versions or on another machine" if changed else "with the same versions and machine"
    complain(f"bmtme: error: the rerun of {old} came out differently, {why}; see what is said of each file.")
    return DIFFERS


def list_words(record: Mapping[str, Any], folder: Path) -> list[str]:
    """The words of the command that made a run, without its name and folder.

    Raises
    ------
    DataError
        If no command made it, or one that is not repeated.
    """
    words = list(record.get("command") or ())
    if not words:
        raise DataError(
            f"{folder} was written from Python, and its record names no files that it was made of: read the data again "
            "and call the function with the settings of its run.json; trial_digest and relationship_digest there tell "
            "whether they are the same."
        )
    if len(words) < 2 or words[1] not in COMMANDS:
        raise DataError(
            f"{folder} holds no run that can be repeated, but what '{' '.join(map(str, words[:2]))}' wrote: expected a "
            f"folder of bmtme {list_names(COMMANDS)}. Repeat the run that it was made of, and that command."
        )
    kept, skip = [], False
    for word in words[1:]:
        if not skip and word != "--out" and not word.startswith("--out="):
            kept.append(word)
        skip = not skip and word == "--out"
    return kept


def check_inputs(inputs: Mapping[str, Any], folder: Path) -> None:
    """Refuse files that are not what the run read.

    Raises
    ------
    DataError
        Naming the file.
    """
    from bmtme.results.inputs import describe_role

    for role, entry in inputs.items():
        if not isinstance(entry, Mapping):  # a word, such as identity
            continue
        path, recorded = entry["path"], entry["sha256"]
        what = f"{path}, the {role} of {folder},"
        if recorded is None:
            raise DataError(f"{what} was a pipe, of which nothing is kept: put its content into a file, and run that.")
        if not isinstance(recorded, Mapping) and not Path(path).is_file():
            raise DataError(
                f"{what} is missing: expected the file from which the run was made. Names are taken from the folder "
                "that you are in; go to that from which the run was made, or put the file back."
            )
        try:
            found = describe_role(role, path)["sha256"]
        except OSError as error:
            raise DataError(f"{what} cannot be read: {error.strerror}.") from error
        for name in recorded if isinstance(recorded, Mapping) else ():
            own = found.get(name) if isinstance(found, Mapping) else None
            if own != recorded[name]:
                state = "is missing there" if own is None else "has changed since"
                raise DataError(f"{what} is not what the run read: its file {name} {state}. Put the old one back.")
        if found != recorded:
            raise DataError(f"{what} has changed since the run read it (another SHA-256). Put the old file back.")


def list_changes(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What is recorded and differs here, but for sizes, which no digit depends on: [recorded, here] by name."""
    return {
        name: [value, here.get(name)]
        for name, value in recorded.items()
        if value != here.get(name) and name not in ("cores", "memory_bytes")
    }


def describe_changes(changed: Mapping[str, Sequence[Any]]) -> str:
    """In words."""
    names = {"sources": "other code of bmtme"}
    return ", ".join(names.get(name, f"{name} {then}, here {now}") for name, (then, now) in changed.items())


def list_damaged(recorded: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Files of a run that are not what was written, and what has become of them."""
    from bmtme.results.record import hash_file

    states = {}
    for name, digest in recorded.items():
        try:
            states[name] = "" if hash_file(folder / name) == digest else "changed"
        except FileNotFoundError:
            states[name] = "missing"
        except OSError as error:
            states[name] = f"unreadable ({error.strerror})"
    return {name: state for name, state in states.items() if state}


def describe_damaged(damaged: Mapping[str, str]) -> str:
    """In words."""
    return ", ".join(f"{name!r} is {state}" for name, state in damaged.items())


def compare_files(recorded: Mapping[str, str], old: Path, new: Path) -> dict[str, str]:
    """What has become of every file of a run: a verdict by its name."""
    from bmtme.results.record import hash_file

    verdicts = {}
    for name, digest in recorded.items():
        there, here = old / name, new / name
        if not here.is_file():
            verdicts[name] = "not written"
        elif hash_file(here) == digest:
            verdicts[name] = IDENTICAL
        elif not there.is_file() or hash_file(there) != digest:
            verdicts[name] = "different, and the old file is gone or was changed, so that it is unknown by how much"
        else:
            verdicts[name] = measure_difference(there, here)
    return verdicts


def measure_difference(there: Path, here: Path) -> str:
    """How far the numbers of two files of one kind are apart, in words."""
    ending = there.suffix
    if ending == ".csv":
        tables = [read_numbers(path) for path in (there, here)]
    elif ending == ".nc":
        tables = [read_arrays(path) for path in (there, here)]
    elif ending == ".npz":
        import numpy as np

        tables = [dict(np.load(path, allow_pickle=False)) for path in (there, here)]
    else:
        return "different"
    return compare_arrays(*tables)


def read_numbers(path: Path) -> dict[str, Any]:
    """Columns of a table."""
    import pandas as pd

    frame = pd.read_csv(path)
    return {str(name): frame[name].to_numpy() for name in frame}


def read_arrays(path: Path) -> dict[str, Any]:
    """Variables and coordinates of all groups."""
    import xarray

    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        return {f"{group}/{name}": each.values for group, node in tree.children.items()
                for name, each in node.to_dataset().variables.items()}  # fmt: skip


def compare_arrays(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The largest difference of numbers, relative to the largest of their array."""
    import numpy as np

    if list(old) != list(new) or any(old[name].shape != new[name].shape for name in old):
        return "different: other columns, or others in length"
    largest = 0.0
    for name, values in old.items():
        one, other = np.asarray(values), np.asarray(new[name])
        if one.dtype.kind not in "fiub" or other.dtype.kind not in "fiub":
            if not np.array_equal(one.astype(str), other.astype(str)):
                return f"different: other texts in {name}"
            continue
        a, b = one.astype(float), other.astype(float)
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            return f"different: other values of {name} are missing"
        apart = np.nan_to_num(np.abs(a - b)).max(initial=0.0)
        if apart > 0.0:
            largest = max(largest, float(apart / np.nanmax(np.abs(a), initial=np.finfo(float).tiny)))
    if largest == 0.0:
        return SAME_NUMBERS
    return f"different: by up to {largest:.2g} of the largest number of a column"
