"""Damage for the fuzz tests, and how its outcome is judged.

What is built first is valid; then it is damaged, mostly a little, so that a case gets past the first check that it
meets. Sizes: `examples` gives few cases, always the same ones; the environment variable BMTME_FUZZ multiplies them and
makes them random, for example ``BMTME_FUZZ=20 pytest tests/fuzz``.
"""

from __future__ import annotations

import atexit
import contextlib
import csv
import gzip
import hashlib
import io
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bmtme.cli.main import main
from bmtme.engines.rotated.rehearsal import rehearse
from bmtme.errors import BmtmeError

FACTOR = int(os.environ.get("BMTME_FUZZ", "1"))
SECONDS = 60
#: Cases that were run, by how they ended.
ENDS: dict[str, int] = {}

if FACTOR != 1:
    atexit.register(lambda: print(f"\nfuzzed: {dict(sorted(ENDS.items()))}", file=sys.stderr))

Rows = list[list[str]]
Draw = Callable[..., Any]


def examples(count: int) -> settings:
    """Settings for so many cases, times BMTME_FUZZ."""
    return settings(
        max_examples=count * FACTOR,
        derandomize=FACTOR == 1,
        print_blob=FACTOR != 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def compile_samplers() -> None:
    """Compile what fits run, which takes longer than a case may."""
    for sampler in ("collapsed", "gibbs", "stepwise"):
        rehearse(sampler)


# --- judges -----------------------------------------------------------------------------------------------------


class TooLong(BaseException):
    """A case does not end. Not an Exception, so that nothing takes it for a failure of the input."""


@contextlib.contextmanager
def time_limit(seconds: int = SECONDS) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise TooLong(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def show_codes(name: str) -> str:
    """A name with codes in place of what a terminal takes for a command."""
    return "".join(f"\\x{ord(c):02x}" if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in name)


def check_message(message: str, places: Sequence[str]) -> None:
    """One sentence or a few on one line that name something of the input."""
    assert message.strip(), "the message is empty"
    for place in places:  # a name with a line feed is shown as it is
        message = message.replace(place, place.replace("\n", " "))
    assert "\n" not in message, message
    assert "Traceback" not in message, message
    assert message.endswith((".", ".)")), message
    assert any(place.replace("\n", " ") in message for place in places), f"names none of {places}: {message}"


def call(places: Sequence[str], function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """A result, or the error of ours that was raised; anything else goes through."""
    with time_limit(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            result = function(*args, **keywords)
        except BmtmeError as error:
            check_message(str(error), places)
            result = error
    end = type(result).__name__ if isinstance(result, BmtmeError) else "result"
    ENDS[end] = ENDS.get(end, 0) + 1
    return result


def snapshot(folder: Path) -> dict[str, str]:
    """Everything in a folder with its contents."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


def run_here(words: Sequence[str]) -> tuple[int, str, str]:
    """Run a command in this process: exit status, stdout, stderr."""
    said, complained = io.StringIO(), io.StringIO()
    with time_limit(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        code = main(words)
    return code, said.getvalue(), complained.getvalue()


class Worker:
    """A process that runs commands one after another: a crash of a C library ends it, not the tests."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, words: Sequence[str]) -> tuple[int, str, str]:
        """Run a command: exit status, stdout, stderr. The status is negative after a crash."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(list(words)).encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], 2 * SECONDS)
        answer = self.process.stdout.readline() if ready else b""
        if not answer:
            status = self.stop()
            return -abs(status or 1), "", "the process died" if ready else "no end"
        code, said, complained = json.loads(answer)
        return code, said, complained

    def stop(self) -> int | None:
        if self.process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=5)
        self.process.kill()
        status = self.process.wait()
        self.process = None
        return status


def check_shell(
    run: Callable[[Sequence[str]], tuple[int, str, str]],
    words: Sequence[str],
    folder: Path,
    out: Path | None,
    places: Sequence[str] = (),
    machine: Sequence[int] = (),
) -> int:
    """Run a command that reads from `folder` and writes `out`, and judge how it ends.

    Words of the command count as places; of paths, the name of the file. `machine` holds the exit status of a failure
    of the machine, where one is arranged.
    """
    before = snapshot(folder)
    code, said, complained = run(words)
    assert code in (0, 2, 3, 4, 5, *machine), f"exit status {code}: {complained}"
    assert "Traceback" not in said + complained, complained
    lines = complained.splitlines()
    errors = [line for line in lines if line.startswith("bmtme: error: ")]
    assert all(line.startswith(("warning: ", "bmtme: error: ")) for line in lines), complained
    after = snapshot(folder)
    made = {name for name in after if name not in before}
    assert all(after.get(name) == digest for name, digest in before.items()), "an input was changed"
    # The lock of a run that can be gone on with stays.
    assert not [name for name in made if any(part[0] == "." and part != ".lock" for part in Path(name).parts)], made
    if code == 0:
        assert not errors, complained
    else:
        assert len(errors) == 1, complained
        assert lines[-1] == errors[0], complained
        names = [os.path.basename(word.partition("=")[0]) for word in words]
        names += [word.partition("=")[2] for word in words]
        # In messages, long values are cut, white space is one space, and what is no text is shown by its code.
        shown = [" ".join(name[:60].split()) for name in [*names, *places]]
        named = [show_codes(name.encode(errors="backslashreplace").decode()) for name in shown if name]
        assert len(errors[0]) < 2_500, errors[0]
        check_message(errors[0].removeprefix("bmtme: error: "), [*named, "argument ", "in the report"])
        # Both write a whole folder: the report of a check says what it refuses, a cross-validation what failed.
        # A run that the machine ends can be gone on with.
        kept = code in machine and "'bmtme resume" in errors[0]
        if not (code == 3 and words[0] == "check" and said) and code != 5 and not kept:
            assert not made, f"left behind: {made}"
            assert not said or words[0] == "grm", said
    if out is not None and code == 0 and "--help" not in words and "-h" not in words and "--version" not in words:
        assert made, "nothing was written"
    ENDS[f"exit {code}"] = ENDS.get(f"exit {code}", 0) + 1
    return code


# --- tables -----------------------------------------------------------------------------------------------------

CELLS = st.one_of(
    st.sampled_from(
        [
            *("", " ", "NA", "nan", ".", "inf", "-inf", "1e400"),
            *("-1e400", "1e308", "-1e308", "1e-320", "1,5", "1.234,5"),
            *("1_000", "\u0663", "0x10", "abc", '"', '""', 'a"b'),
            *("a,b", "a\tb", "a\nb", "a\rb", "\x00", "\ufeff", "L01"),
            *("l01 ", "001", "1", "0", "-9", "=1+1", "#REF!", "True"),
            *("None", "\u00e9\u00e9", "x" * 5000, "\u22125", "1e"),
            *("+", "9" * 400, "\u202e", "\U0001d518", "1;2", "-0"),
            *("1E5", " 3 ", "\u00a0", "\u2028", "\x1c", "\x85", "-1"),
        ]
    ),
    st.text(max_size=6),
)


def damage_rows(draw: Draw, rows: Rows, most: int = 2) -> Rows:
    """Cells, rows and columns changed, in up to `most` ways."""
    for _ in range(draw(st.integers(0, most))):
        if not rows or not rows[0]:
            return rows
        rows = [list(row) for row in rows]
        i = draw(st.integers(0, len(rows) - 1))
        k = draw(st.integers(0, max(len(rows[i]) - 1, 0)))
        match draw(st.sampled_from(_ROW_DAMAGES)):
            case "cell" if rows[i]:
                rows[i][k] = draw(CELLS)
            case "column":
                text = draw(CELLS)
                rows = [rows[0], *([*row[:k], text, *row[k + 1 :]] for row in rows[1:])]
            case "copy":
                j = draw(st.integers(0, len(rows) - 1))
                rows[i][k : k + 1] = rows[j][k : k + 1]
            case "drop column":
                rows = [row[:k] + row[k + 1 :] for row in rows]
            case "double column":
                rows = [row[: k + 1] + row[k:] for row in rows]
            case "drop row":
                del rows[i]
            case "double row":
                rows.insert(draw(st.integers(0, len(rows))), list(rows[i]))
            case "long row":
                rows[i].append(draw(CELLS))
            case "short row":
                rows[i].pop()
            case "few rows":
                rows = rows[: draw(st.integers(0, 2))]
            case "reverse":
                rows = [row[::-1] for row in rows]
            case "transpose":
                rows = [list(column) for column in zip(*rows, strict=False)]
            case "blank row":
                rows.insert(i, [""] * draw(st.integers(0, 3)))
    return rows


_ROW_DAMAGES = (
    *["cell"] * 6,
    *("column", "copy", "copy", "drop column", "double column", "drop row", "double row", "long row", "short row"),
    *("few rows", "reverse", "transpose", "blank row"),
)


def write_rows(draw: Draw, rows: Rows, separator: str = ",") -> bytes:
    """Text of a table, with the habits of several programs."""
    if draw(st.integers(0, 5)) == 0:
        separator = draw(st.sampled_from([",", "\t", ";", ", ", "|", " "]))
    end = draw(st.sampled_from(["\n"] * 4 + ["\r\n", "\r", "\n\n"]))
    style = draw(st.sampled_from(["csv"] * 4 + ["all", "none", "mixed"]))
    if style in ("csv", "all"):
        file = io.StringIO(newline="")
        quoting: Any = csv.QUOTE_ALL if style == "all" else csv.QUOTE_MINIMAL
        csv.writer(file, delimiter=separator[0], quoting=quoting, lineterminator=end).writerows(rows)
        text = file.getvalue()
    else:
        signs = [separator, ";" if style == "mixed" else separator]
        text = "".join(signs[k % 2].join(row) + end for k, row in enumerate(rows))
    encoding = draw(st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "latin-1", "utf-16"]))
    return text.encode(encoding, "replace")


def damage_bytes(draw: Draw, raw: bytes, often: int = 3) -> bytes:
    """The bytes as they are, or changed in one of many ways; the second once in `often` cases."""
    if draw(st.integers(0, often - 1)) or not raw:
        return raw
    # A share of the length, as workbooks hold the date and are not always of one length.
    place = draw(st.integers(0, 9_999)) * len(raw) // 10_000
    length = draw(st.integers(1, 40))
    kinds = ["flip", "flip", "cut", "zero", "insert", "delete", "double", "empty", "noise", "gzip"]
    match draw(st.sampled_from(kinds)):
        case "flip":
            flipped = bytearray(raw)
            for _ in range(draw(st.sampled_from([1, 1, 3, 10]))):
                flipped[draw(st.integers(0, 9_999)) * len(raw) // 10_000] ^= 1 << draw(st.integers(0, 7))
            return bytes(flipped)
        case "cut":
            return raw[:place]
        case "zero":
            return raw[:place] + b"\x00" * length + raw[place + length :]
        case "insert":
            return raw[:place] + draw(st.binary(min_size=1, max_size=10)) + raw[place:]
        case "delete":
            return raw[:place] + raw[place + length :]
        case "double":
            return raw + raw[place:]
        case "empty":
            return b""
        case "noise":
            return draw(st.binary(max_size=60))
    packed = gzip.compress(raw, mtime=0)
    return packed if draw(st.booleans()) else packed[: max(2, len(packed) * place // len(raw))]


def place_file(draw: Draw, path: Path, raw: bytes) -> None:
    """The file; seldom a folder, a link that leads nowhere, or nothing, in its place."""
    match draw(st.sampled_from(["file"] * 25 + ["folder", "link", "nothing"])):
        case "file":
            path.write_bytes(raw)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(path.with_name("nowhere"))


# --- what is valid ----------------------------------------------------------------------------------------------

LINES = ("L01", "L02", "L03", "NA", "L 5", "006")
ENVS = ("North", "South")
#: Of these, messages name something.
PLACES = ("pheno", "grm", "marks", "ped", "other.", "line", "env", "trait", "Yield", "table", "matrix", "relationship")


def wide_rows() -> Rows:
    rng = np.random.default_rng(1)
    rows = [["line", "env", "rep", "Yield", "PH"]]
    for line, env, rep in itertools.product(LINES, ENVS, "12"):
        rows.append([line, env, rep, f"{rng.normal(5, 1):.2f}", f"{rng.normal(200, 9):.1f}"])
    return rows


def long_rows() -> Rows:
    rows = [["line", "env", "rep", "trait", "value"]]
    for line, env, rep, *values in wide_rows()[1:]:
        rows += [[line, env, rep, trait, value] for trait, value in zip(("Yield", "PH"), values, strict=True)]
    return rows


def grm_rows() -> Rows:
    return [["line", *LINES], *([line, *("1.1" if line == other else "0.4" for other in LINES)] for line in LINES)]


def marker_codes() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 3, (len(LINES), 9))


def marker_rows() -> Rows:
    codes = marker_codes()
    names = [f"m{k}" for k in range(codes.shape[1])]
    return [["line", *names], *([line, *map(str, row)] for line, row in zip(LINES, codes, strict=True))]


def pedigree_rows() -> Rows:
    parents = [("", ""), ("0", "NA"), ("L01", "L02"), ("L03", "L02"), ("L03", "NA"), ("L 5", "L02")]
    return [["id", "sire", "dam"], *([line, *pair] for line, pair in zip(LINES, parents, strict=True))]


if __name__ == "__main__":
    for request in sys.stdin:
        ended = run_here(json.loads(request))
        sys.stdout.write(json.dumps(ended) + "\n")
        sys.stdout.flush()
