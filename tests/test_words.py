"""Errors, and names in messages: `bmtme/errors.py` and `bmtme/words.py`."""

from __future__ import annotations

from bmtme.errors import BmtmeError, DataError, NumericalError, UsageError
from bmtme.words import (
    blur_name,
    describe_matches,
    first_repeat,
    list_names,
    match_look_alikes,
    normalise_name,
    same_letters,
    suggest,
)

# --- errors and words -------------------------------------------------------------------------------------------


def test_errors_carry_exit_codes_and_are_builtin_kinds():
    assert (DataError.exit_code, UsageError.exit_code, NumericalError.exit_code) == (3, 2, 4)
    assert issubclass(DataError, ValueError)
    assert issubclass(UsageError, ValueError)
    assert issubclass(NumericalError, ArithmeticError)
    assert all(issubclass(kind, BmtmeError) for kind in (DataError, UsageError, NumericalError))


def test_names_in_messages():
    assert list_names(["a", 1]) == "'a', '1'"
    assert list_names("abcdef", limit=4) == "'a', 'b', 'c', 'd' and 2 more"
    assert normalise_name("L-007 b") == normalise_name("l7B")
    assert normalise_name("L70") != normalise_name("L7")
    assert normalise_name("0") == "0"
    assert suggest("yeild", ["ASI", "Yield"]) == " Did you mean 'Yield'?"
    assert suggest("xyz", ["ASI", "Yield"]) == ""
    assert first_repeat("abcb") == (1, 3)
    assert first_repeat("abc") is None


def test_letters_that_look_the_same():
    """An accent as a sign of its own (NFD, as on a Mac) or as part of the letter (NFC)."""
    apart, together = "Zoe\u0301", "Zo\u00e9"
    assert normalise_name(apart) == normalise_name(together)
    assert same_letters(apart, together)
    assert not same_letters(together, together)
    assert not same_letters("Zoe", together)
    matches = match_look_alikes([apart, "zo\u00e9"], [together])
    said = describe_matches(matches)
    assert f"'{apart}' is nearly '{together}' (its letters are written in another way of Unicode), 'zo" in said
    assert said.count("Unicode") == 1


# --- missing codes and decimals ---------------------------------------------------------------------------------


def test_blurred_names():
    assert blur_name("W 001-011") == blur_name("w1_11") == blur_name(" W1/11")
    assert blur_name("W1-11") != blur_name("W11-1")
    assert blur_name("W1-11") != blur_name("W111")
    assert blur_name("L.10") != blur_name("L.1")
    assert blur_name("0") == blur_name("00") != blur_name("O")
    assert blur_name("A\u00a01") == blur_name("A1")
    assert blur_name("--") == "--"
