"""Delimited text and other text files, plain or compressed, read line by line or row by row."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from bmtme.choices import ADJUSTMENT
from bmtme.data.tables.dialects import split_rows
from bmtme.data.tables.foreign import describe_bytes
from bmtme.data.tables.limits import LONGEST_LINE, refuse_excess
from bmtme.errors import DataError, blame

__all__ = ["open_lines", "read_rows", "read_words", "suffix"]

_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_Bytes = io.BufferedReader | gzip.GzipFile


def read_rows(
    path: str | os.PathLike[str], decimal: str = ".", named: bool = False, whole: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Read a delimited text file row by row, the header first.

    The text is UTF-8 (a byte order mark is skipped), possibly compressed with gzip. Columns are separated by what the
    header holds outside quotes: tabs, else commas (in ``.csv`` the other way round), else blanks, any number of them.
    Under a decimal comma, semicolons separate if the header holds one. Blank lines are skipped. R's ``write.table``
    makes a header one cell short: of a matrix it gets an empty cell in front; of a table the numbers of the rows are
    left out.

    Parameters
    ----------
    path : str or path
    decimal : {".", ","}
    named : bool
        Whether it is a matrix, whose rows have names.
    whole : bool
        As of `open_lines`.

    Yields
    ------
    row : int
        Number of the row in the file, 1 for the first line.
    cells : list of str
        As written, as many as the header has.

    Raises
    ------
    DataError
        If the file cannot be opened, is empty, is no UTF-8 text, or has a row with more or fewer cells than the header.
    """
    name = Path(path).name
    with open_lines(path, whole=whole) as lines:
        yield from split_rows(lines, name, suffix(path), decimal, named)


@contextlib.contextmanager
def open_lines(
    path: str | os.PathLike[str], expected: str = "", hint: str = "", whole: bool = True
) -> Iterator[Iterator[str]]:
    """Lines of a UTF-8 text (a byte order mark is skipped), possibly compressed with gzip, in one or several members.

    Parameters
    ----------
    path : str or path
    expected : str, optional
        What a file that is no such text should be; by default CSV.
    hint : str, optional
        A sentence for the message that the file cannot be opened.
    whole : bool
        Whether all lines will be read: then a compressed file is looked at as a whole before.

    Yields
    ------
    iterator of str
        Each with its line break, as written.

    Raises
    ------
    DataError
        If the file cannot be opened, is no UTF-8 text, holds a zero byte or a line that is too long, or is a gzip file
        that is damaged, cut off, or unfolds to too much (see `limits`).
    """
    name = Path(path).name
    head = b""
    try:
        with open(path, "rb") as raw, _decompressed(raw, name, whole) as plain:
            head = plain.peek(8)[:8]
            with io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as lines:
                yield _check_lines(lines, name, describe_bytes(head))
    except UnicodeDecodeError as error:
        what = describe_bytes(head)
        raise DataError(
            f"{name} is not UTF-8 text (byte 0x{error.object[error.start]:02x}): "
            f"{f'by its first bytes it is {what}. E' if what else 'e'}xpected "
            f"{expected or 'a table: save it as CSV in UTF-8'}."
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is a damaged gzip file ({error}).") from None
    except IsADirectoryError:
        raise DataError(describe_folder(os.fspath(path))) from None
    except OSError as error:
        raise blame(error, DataError)(
            f"{os.fspath(path)} cannot be read: {error.strerror or error}.{hint and f' {hint}'}"
        ) from None


def describe_folder(path: str) -> str:
    """What to say of a folder where a file belongs: adjusted means may be meant."""
    # Imported here, as files of results are of a later row.
    from bmtme.results.record import read_kind

    what = "is a folder: expected a file."
    if read_kind(Path(path)) == ADJUSTMENT:
        what = (
            "is a folder of adjusted means, and here a file is expected. They stand in the place of a table of "
            "phenotypes: 'bmtme fit', 'bmtme cv' and 'bmtme check' take the folder, and from Python bmtme.read_means "
            "reads it for bmtme.fit; a table of its means alone is means.csv in it."
        )
    return f"{path} {what}"


def _check_lines(lines: io.TextIOWrapper, name: str, what: str) -> Iterator[str]:
    """The lines; a zero byte is damage, or text in two bytes a letter, and would hide in a name."""
    # A gzip file of megabytes may unfold to a line that fills memory.
    for row, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE + 1), ""), start=1):
        if len(line) > LONGEST_LINE:
            raise DataError(
                f"{name} has a line of more than {LONGEST_LINE:,} characters, row {row}: it is no table, or its line "
                "breaks are lost."
            )
        if "\0" in line:
            raise DataError(
                f"{name} holds a zero byte in row {row}: "
                f"{f'by its first bytes it is {what}.' if what else 'it is damaged, or no UTF-8 text. Save it anew.'}"
            )
        yield line


def read_words(path: str | os.PathLike[str], n: int, expected: str, hint: str) -> list[list[str]]:
    """Words of every row of a text without a header, as PLINK and GCTA write them.

    Parameters
    ----------
    path : str or path
    n : int
        Words that every row must have.
    expected : str
        What they are, for messages.
    hint : str
        A sentence for the message that the file cannot be opened.

    Raises
    ------
    DataError
        If the file cannot be read, is no UTF-8 text, or has another number of words in a row.
    """
    rows = []
    with open_lines(path, expected, hint) as lines:
        for row, text in enumerate(lines, start=1):
            rows.append(text.split())
            if len(rows[-1]) != n:
                raise DataError(f"{Path(path).name} has {len(rows[-1])} columns in row {row}: expected {expected}.")
    return rows


def suffix(path: str | os.PathLike[str]) -> str:
    """The ending of a file's name in lower case, without that of gzip."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _decompressed(raw: io.BufferedReader, name: str, whole: bool) -> _Bytes:
    # Told by the first bytes, not by the name: downloads are often compressed without saying so, and the reverse.
    head = raw.peek(18)
    if head[:2] != b"\x1f\x8b":
        return raw
    if head[12:14] == b"BC" and raw.seekable():
        # Members of bgzip's are whole in themselves: only the empty one at the end tells that none is missing.
        raw.seek(-len(_BGZIP_END), os.SEEK_END)
        if raw.read() != _BGZIP_END:
            raise EOFError("the block that ends a bgzip file is missing, so it is cut off")
        raw.seek(0)
    packed = gzip.GzipFile(fileobj=raw)
    if whole:
        refuse_excess(packed, raw, name)
    return packed
