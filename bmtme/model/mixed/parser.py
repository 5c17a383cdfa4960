"""Random and residual formulas read into values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from bmtme.arguments import as_text, show
from bmtme.errors import UsageError
from bmtme.model.mixed.terms import STRUCTURES, At, Axis, Random, Residual, Term
from bmtme.words import suggest

__all__ = ["parse_random", "parse_residual"]

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+)
    | (?P<name>[^\W\d][\w.]*)
    | `(?P<quoted>[^`]+)`
    | (?P<number>[0-9]+(?:\.[0-9]+)?)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<sign>[+:(),|])
    """,
    re.VERBOSE,
)
#: Words of other programs, and what is said here.
_ELSEWHERE = {
    **dict.fromkeys(("id", "idv", "idh"), "a plain name has independent levels, diag(x) a variance for each"),
    **dict.fromkeys(("vm", "ped", "giv", "grm", "vsr", "ide"), 'known(x), with known={"x": ...}, has a relationship'),
    **dict.fromkeys(("cor", "corv", "coru", "exch"), "cs(x) has one variance and one correlation"),
    **dict.fromkeys(("corg", "corgh", "usr", "un"), "us(x) has any covariance"),
    **dict.fromkeys(("facv", "rr", "xfa"), "fa(x, k) has k factors and specific variances"),
    **dict.fromkeys(
        ("ar1v", "ar1h", "ar", "AR1"), "ar1(x) is the correlation, and the term's variance comes by itself"
    ),
    **dict.fromkeys(("dsr",), "diag(x) has a variance for each level"),
    **dict.fromkeys(("dsum",), "sections are written as in ar1(col):ar1(row) | site"),
}
_SIGNS = {
    "*": "a*b is written out: a + b + a:b",
    "/": "a/b is written out: a + a:b",
    "-": "nothing can be taken away: leave it out",
    "~": "the formula stands without ~",
    "=": "arguments have no names here: fa(site, 2)",
}


@dataclass(frozen=True)
class _Token:
    kind: str
    value: str
    start: int
    end: int


class _Reader:
    """One formula: its signs and words, and complaints that show the place."""

    def __init__(self, text: str, part: str) -> None:
        self.text = text
        self.part = part
        self.position = 0
        self.tokens = list(self._split())

    def _split(self) -> list[_Token]:
        found: list[_Token] = []
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                self.fail(at, self._explain_sign(at))
            kind = str(match.lastgroup)
            value = match[kind]
            if kind == "text":
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            if kind != "blank":
                found.append(_Token("name" if kind == "quoted" else kind, value, at, match.end()))
            at = match.end()
        found.append(_Token("end", "", len(self.text), len(self.text)))
        return found

    def _explain_sign(self, at: int) -> str:
        sign = self.text[at]
        if sign in "`\"'":
            return f"a {sign} is opened and not closed"
        return _SIGNS.get(sign, f"{sign!r} has no meaning in it; names with such signs stand in back-quotes")

    def fail(self, at: int, reason: str) -> NoReturn:
        """Raise the complaint about what stands at a place."""
        shown = f"{self.text[:at]}>>>{self.text[at:]}"
        end = "" if reason.endswith("?") else "."
        raise UsageError(
            f"The {self.part} formula cannot be read at character {at + 1}, after >>> in {show(shown, 300)}: "
            f"{reason}{end}"
        )

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def take(self) -> _Token:
        token = self.token
        self.position += token.kind != "end"
        return token

    def at_sign(self, sign: str) -> bool:
        return self.token.kind == "sign" and self.token.value == sign

    def skip(self, sign: str) -> bool:
        found = self.at_sign(sign)
        self.position += found
        return found

    def sum(self) -> list[Term]:
        terms = [self.term()]
        while self.skip("+"):
            terms.append(self.term())
        return terms

    def term(self) -> Term:
        start = self.token.start
        axes: list[Axis] = []
        at: list[At] = []
        while True:
            part = self.factor()
            if isinstance(part, At):
                at.append(part)
            else:
                axes.append(part)
            if not self.skip(":"):
                break
        if not axes:
            self.fail(start, f"{at[0]} says where, and not what: as in {at[0]}:col")
        try:
            return Term(tuple(axes), tuple(at))
        except UsageError as error:
            self.fail(start, str(error).rstrip("."))

    def factor(self) -> Axis | At:
        token = self.take()
        if token.kind == "sign" and token.value == "(":
            self.fail(
                token.start, "there are no brackets around terms: (1 | x) is written x, and (a + b):c is a:c + b:c"
            )
        if token.kind != "name":
            what = "the end" if token.kind == "end" else self.text[token.start : token.end]
            self.fail(token.start, f"the name of a column or a structure is expected, not {what}")
        called = self.text[token.start] != "`" and self.skip("(")
        if not called:
            return Axis(token.value)
        return self.call(token)

    def call(self, word: _Token) -> Axis | At:
        """A structure or a place, after its opening bracket."""
        if word.value not in (*STRUCTURES, "at"):
            there = f"there are {', '.join((*STRUCTURES, 'at'))}"
            hint = _ELSEWHERE.get(word.value, there) + suggest(word.value, STRUCTURES).replace(" Did", "; did")
            self.fail(word.start, f"there is no {word.value}(): {hint}")
        name = self.take()
        if name.kind != "name":
            self.fail(name.start, f"{word.value}() needs the name of a column")
        arguments: list[_Token] = []
        while self.skip(","):
            arguments.append(self.take())
            column = word.value == "us" and arguments[-1].kind == "name"
            if arguments[-1].kind not in ("text", "number") and not column:
                hint = 'levels stand in quotes, as in at(site, "S3")' if word.value == "at" else "a number is expected"
                self.fail(arguments[-1].start, hint)
        if not self.skip(")"):
            self.fail(self.token.start, f"the bracket of {word.value}( is not closed here; one name goes in it")
        if word.value == "at":
            try:
                return At(name.value, tuple(token.value for token in arguments))
            except UsageError as error:
                self.fail(word.start, str(error).rstrip("."))
        if word.value == "fa":
            if len(arguments) != 1 or arguments[0].kind != "number" or not arguments[0].value.isdigit():
                self.fail(word.start, "fa() needs a number of factors, as in fa(site, 2)")
            if int(arguments[0].value) < 1:
                self.fail(arguments[0].start, "fa() needs at least one factor")
            return Axis(name.value, "fa", int(arguments[0].value))
        if word.value == "us" and len(arguments) == 1 and arguments[0].kind == "name":
            try:
                return Axis(name.value, "us", other=arguments[0].value)
            except UsageError as error:
                self.fail(word.start, str(error).rstrip("."))
        if arguments:
            self.fail(arguments[0].start, f"{word.value}() takes a name alone")
        return Axis(name.value, word.value)

    def check_end(self) -> None:
        if self.token.kind == "end":
            return
        reason = "a + or : is expected between terms and factors"
        if self.at_sign("|"):
            reason = "sections (| site) are for the residual formula; at(site):x has an effect for each site"
            if self.part == "residual":
                reason = "| stands once, at the end"
        self.fail(self.token.start, reason)


def parse_random(text: str | Random | None) -> Random:
    """The random part of a model, of its formula.

    Parameters
    ----------
    text : str, Random or None
        Terms joined by ``+``, each a Kronecker product of factors joined by ``:``. A plain name has independent
        levels; ``us(x)``, ``diag(x)``, ``corh(x)``, ``cs(x)``, ``fa(x, k)``, ``ar1(x)``, ``known(x)`` have the
        structures of `Axis`; ``at(x)`` or ``at(x, "S3")`` makes a term of its own at each, or some, of the levels.
        ``units`` is the plot, ``trait`` the trait. Names with blanks or signs stand in back-quotes.

    Raises
    ------
    UsageError
        With the formula and the place.
    """
    if text is None:
        return Random()
    if isinstance(text, Random):
        return text
    reader = _Reader(as_text(text, "random"), "random")
    if not reader.text:
        return Random()
    terms = reader.sum()
    reader.check_end()
    return Random(tuple(terms))


def parse_residual(text: str | Residual) -> Residual:
    """The residual part of a model, of its formula.

    Parameters
    ----------
    text : str or Residual
        ``units`` for independent plots, ``ar1(col):ar1(row)`` for a field; ``... | site`` for sections with parameters
        of their own, and a sum with ``at()`` where sections differ in structure. With several traits
        ``us(trait):units``.

    Raises
    ------
    UsageError
        With the formula and the place.
    """
    if isinstance(text, Residual):
        return text
    reader = _Reader(as_text(text, "residual"), "residual")
    terms = reader.sum()
    bar = reader.token.start
    if reader.skip("|"):
        section = reader.factor()
        if isinstance(section, At) or section.structure != "identity":
            reader.fail(bar, "after | stands the plain name of the column with the sections")
        if len(terms) > 1 or terms[0].at:
            reader.fail(bar, "sections after | are for one product of plain terms; in a sum, each has its at()")
        try:
            terms = [Term(terms[0].axes, (At(section.name),))]
        except UsageError as error:
            reader.fail(bar, str(error).rstrip("."))
    reader.check_end()
    return Residual(tuple(terms))
