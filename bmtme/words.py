"""Names and counts in messages: lists of them, and what was probably meant."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Hashable, Iterable, Sequence

__all__ = [
    "blur_name",
    "count_noun",
    "describe_matches",
    "first_repeat",
    "list_names",
    "match_look_alikes",
    "normalise_name",
    "same_letters",
    "show_signs",
    "some_names",
    "suggest",
]


#: Signs that a terminal obeys, or that turn a text around, by the code that is shown in their place.
_COMMANDS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_COMMANDS |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def show_signs(text: str) -> str:
    """A text that may hold users' names, with the codes of signs that a terminal or a browser would obey."""
    return text.translate(_COMMANDS)


def list_names(names: Iterable[object], limit: int = 10) -> str:
    """Quote names for a message: all of them up to `limit`, then how many more there are."""
    quoted = [repr(str(name)) for name in names]
    if len(quoted) <= limit:
        return ", ".join(quoted)
    return ", ".join(quoted[:limit]) + f" and {len(quoted) - limit} more"


def some_names(names: Sequence[str], most: int = 8) -> str:
    """The first names for a text, plain where none holds a comma, and how many more there are."""
    if any("," in name or name != name.strip() for name in names):
        return list_names(names, most)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def count_noun(number: int, noun: str) -> str:
    """``1 line``, ``2 lines``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def normalise_name(name: str) -> str:
    """Reduce a name to what survives sloppy typing: no case, no spaces or punctuation, no leading zeros.

    Nor does it matter how Unicode writes a letter, such as one with an accent.
    """
    bare = re.sub(r"[\s_.\-/]+", "", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", bare)


def blur_name(name: str) -> str:
    """Reduce a name as `normalise_name` does, but keep numbers apart: ``W1-11`` is not ``W11-1``.

    Names with one blurred form differ in case, spaces, punctuation between letters or beside them, the kind of
    punctuation between numbers, leading zeros, or in look-alikes of Unicode (a no-break space, a full-width letter).
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    # 2019.0 is what a program that takes names for numbers makes of 2019.
    text = re.sub(r"^([0-9]+)\.0+$", r"\1", text.strip())
    parts = re.findall(r"[0-9]+|[^\W0-9_]+", text)
    blurred = ""
    for part in parts:
        number_part = part[0] in "0123456789"
        between = "-" if number_part and blurred[-1:].isdigit() else ""
        blurred += between + (part.lstrip("0") or "0" if number_part else part)
    return blurred or text.strip()


def suggest(name: str, candidates: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the candidate closest to `name`, or an empty text if none is close."""
    pool = list(candidates)
    bare = normalise_name(name)
    for candidate in pool:
        if bare and normalise_name(candidate) == bare:
            return f" Did you mean {candidate!r}?"
    by_folded = {candidate.casefold(): candidate for candidate in reversed(pool)}
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=1)
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""


def match_look_alikes(names: Iterable[str], known: Sequence[str]) -> dict[str, str]:
    """For each name that is nearly one of the known ones, that one."""
    bare = {normalise_name(line): line for line in reversed(known)}
    return {name: bare[normalise_name(name)] for name in names if normalise_name(name) in bare}


def describe_matches(matches: dict[str, str], most: int = 5) -> str:
    """Words for such pairs, for the end of a sentence; none for none."""
    note = " (its letters are written in another way of Unicode)"
    texts = [f"{name!r} is nearly {other!r}{note * same_letters(name, other)}" for name, other in matches.items()]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")


def same_letters(name: str, other: str) -> bool:
    """Whether two different names look the same, as Unicode writes a letter with an accent in two ways."""
    return name != other and unicodedata.normalize("NFKC", name) == unicodedata.normalize("NFKC", other)


def first_repeat(keys: Iterable[Hashable]) -> tuple[int, int] | None:
    """Positions of the first key that stood there before and of its earlier twin, as (earlier, later), or None."""
    seen: dict[Hashable, int] = {}
    for position, key in enumerate(keys):
        earlier = seen.setdefault(key, position)
        if earlier != position:
            return earlier, position
    return None
