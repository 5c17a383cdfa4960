"""The page of a run: its numbers are those of the tables, and no name is more than a text."""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.columns import fixed
from bmtme.errors import UsageError
from bmtme.report.html.audit import audit_records, rebuild_trial
from bmtme.report.html.content import Notice
from bmtme.report.html.fit import judge, write_methods
from bmtme.report.html.page import render
from bmtme.report.html.references import REFERENCES
from bmtme.report.html.runs import make_page, report_run
from bmtme.results.fit import Fit
from bmtme.words import show_signs
from tests.helpers.browsing import Reader, browse, read_page, split

LINES = ['<b>&"x"</b>', "../../etc", "</script><script>alert(1)</script>", "esc\x1b[31m", "L" * 200, "{{ 7 * 7 }}"]
ENVS = ["../../etc", "E\x07\u202e", "<img src=x onerror=alert(1)>"]
TRAITS = ["$\\frac{$", 't"onmouseover="x']
#: Of what a page of ours is made.
ALLOWED = set(
    "html head meta title style body header p h1 main section div nav ul li a h2 h3 table thead tbody tr th td b small "
    "dl dt dd figure figcaption img details summary footer script".split()
)
DRAWN = set("svg g path defs use text tspan rect clippath image lineargradient stop".split())


def make_trial(lines: list[str], envs: list[str], traits: list[str], seed: int = 1) -> tuple[bmtme.Trial, object]:
    """Values of related lines, two plots for some, a line without a record, and a gap."""
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(len(lines), len(traits)))
    rows = [
        [line, env, *(u[j] + i + 0.7 * rng.normal(size=len(traits)))]
        for i, env in enumerate(envs)
        for j, line in enumerate(lines[:-1])
        for _ in range(1 + j % 2)
    ]
    frame = pd.DataFrame(rows, columns=["line", "env", *traits])
    frame.iloc[3, 2] = np.nan
    X = rng.normal(size=(len(lines), 40))
    relationship = bmtme.Relationship(X @ X.T / 40, lines)
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=traits), relationship


def fit_short(lines: list[str], envs: list[str], traits: list[str], model: object = None, **settings: object) -> Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        short = {"draws": 60, "tune": 40, "chains": 2, "seed": 1, "cores": 1, "progress": False}
        return bmtme.fit(*make_trial(lines, envs, traits), model, **(short | settings))


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_short(LINES + [f"line{k}" for k in range(12)], ENVS, TRAITS)


@pytest.fixture(scope="module")
def text(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "run.html"
    fit.report(file)
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Reader:
    return read_page(text)


# --- names --------------------------------------------------------------------------------------------------------


def test_names_are_texts(text: str):
    page = read_page(text)
    assert {tag for tag, _ in page.elements} <= ALLOWED | DRAWN
    assert [tag for tag, _ in page.elements].count("script") == 1
    handlers = [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert handlers == []
    for trait in TRAITS:
        cells = {row[0] for row in page.tables[trait][1:]}
        assert {show_signs(line) for line in LINES[:-1]} <= {cell.removesuffix("*") for cell in cells}
    heads = page.tables[f"{TRAITS[0]}: values by environment"][0]
    assert heads == ["line", "mean", *map(show_signs, ENVS)]
    assert "line11*" in {row[0] for row in page.tables[TRAITS[0]]}  # without a record
    # Of the pictures, where long names are cut in their middle.
    assert {'<b>&"x"</b>', TRAITS[0]} <= {part.strip() for part in page.texts}
    assert not [sign for sign in text if (ord(sign) < 32 and sign not in "\n\t") or 127 <= ord(sign) < 160]
    assert "\u202e" not in text


def test_it_needs_nothing_and_runs_one_script(page: Reader, text: str):
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            if attributes.get(name):
                assert attributes[name].startswith(("#", "data:image/png;base64,")), (tag, attributes)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    script = text[text.index("<script>") + len("<script>") : text.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    links = {a["href"][1:] for t, a in page.elements if t == "a"}
    ids = [a["id"] for _, a in page.elements if a.get("id")]
    assert links <= set(ids)
    assert len(ids) == len(set(ids))
    used = {a["xlink:href"][1:] for t, a in page.elements if t == "use"} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert used
    assert used <= set(ids)


# --- numbers of a fit ---------------------------------------------------------------------------------------------


def test_ranking(fit: Fit, page: Reader):
    for trait in TRAITS:
        table, low = fit.ranking(trait), fit.ranking(trait, best="low").set_index("line")["p_top"]
        rows = page.tables[trait][1:]
        assert [row[0] for row in rows] == [show_signs(line) + "*" * (line == "line11") for line in table["line"]]
        for n, (cells, row) in enumerate(zip(rows, table.to_dict("records"), strict=True)):
            assert cells[1] == str(n + 1)
            assert float(cells[2]) == pytest.approx(row["value"], abs=0.01)
            assert [float(x) for x in cells[3].split(" to ")] == pytest.approx([row["lower"], row["upper"]], abs=0.01)
            assert cells[4:] == [
                fixed(row["reliability"], 2), f"{row['rank_lower']}-{row['rank_upper']}", fixed(row["p_top"], 2),
                fixed(low[row["line"]], 2),
            ]  # fmt: skip


def test_what_selection_brings(fit: Fit, page: Reader):
    ((title, rows),) = [each for each in page.tables.items() if each[0].startswith("What selection brings")]
    assert "1 highest line" in title  # 5% of 18
    assert rows[0][1:] == TRAITS
    for trait, cells in zip(TRAITS, rows[1:], strict=True):
        response = fit.response(fit.ranking(trait))
        for cell, found in zip(cells[1:], response.to_dict("records"), strict=True):
            shown = split(cell.replace("+", ""))
            assert shown == pytest.approx([found["mean"], found["lower"], found["upper"]], abs=0.01)


def test_correlations_and_heritabilities(fit: Fit, page: Reader):
    for kind, title in (
        ("genetic", "Genetic correlations of the traits"),
        ("residual", "Residual correlations of the"),
    ):
        (rows,) = [rows for name, rows in page.tables.items() if name.startswith(title)]
        own = fit.correlations(kind).iloc[0]
        assert split(rows[1][1]) == pytest.approx([own["mean"], own["lower"], own["upper"]], abs=0.006)
    rows = page.tables["Genetic correlations of the environments"]
    own = fit.correlations("genetic", "env").set_index(["trait", "a", "b"]).loc[TRAITS[0]]
    for i, j in ((1, 0), (2, 0), (2, 1)):
        assert split(rows[i][j + 1])[0] == pytest.approx(own.loc[(ENVS[j], ENVS[i]), "mean"], abs=0.006)
    rows = {row[0]: row[1:] for row in page.tables["Heritabilities"][1:]}
    records = fit.heritability().set_index(["env", "trait"])["mean"]
    for env in ENVS:
        for cell, trait in zip(rows[f"plot in {show_signs(env)}"], TRAITS, strict=True):
            assert split(cell)[0] == pytest.approx(records[env, trait], abs=0.006)
    for kind, label in (("mean", "mean of a line"), ("cullis", "Cullis")):
        found = fit.heritability(kind).set_index("trait")["mean"]
        for cell, trait in zip(rows[label], TRAITS, strict=True):
            assert split(cell)[0] == pytest.approx(found[trait], abs=0.006)


def test_values_by_environment(fit: Fit, page: Reader):
    predictions = fit.predictions().set_index(["line", "env", "trait"])
    for trait in TRAITS:
        for cells in page.tables[f"{trait}: values by environment"][1:]:
            line = next(line for line in fit.predictions()["line"] if show_signs(line) == cells[0])
            for cell, env in zip(cells[2:], ENVS, strict=True):
                own = predictions.loc[(line, env, trait)]
                assert (cell[0] == "(") == (own["n_obs"] == 0)
                assert float(cell.strip("()")) == pytest.approx(own["mean"], abs=0.02)


def test_stability(fit: Fit, page: Reader):
    table = fit.stability(TRAITS[1])
    rows = page.tables[f"{TRAITS[1]}: stability"][1:]
    assert [row[0] for row in rows] == [show_signs(line) for line in table["line"]]
    for cells, row in zip(rows, table.to_dict("records"), strict=True):
        assert float(cells[2]) == pytest.approx(row["env_sd"], abs=0.01)
        assert float(cells[4]) == pytest.approx(row["slope"], abs=0.02)
        assert cells[6] == fixed(row["p_above_mean"], 2)


def test_verdict_and_summary(fit: Fit, page: Reader):
    shown = " ".join(" ".join(page.texts).split())
    for paragraph in fit._diagnose():
        assert " ".join(show_signs(paragraph).split()) in shown
    summary = fit.summary()
    rows = page.tables["Summary"][1:]
    assert sorted(row[0] for row in rows) == sorted(show_signs(name) for name in summary.index)
    notes = [row[-1] for row in rows]
    assert notes == sorted(notes, key=lambda note: note == "")  # those with a note first
    (worst,) = [rows for title, rows in page.tables.items() if title.startswith("Parameters with the fewest")]
    assert worst[1][0] == show_signs(str(summary[["ess_bulk", "ess_tail"]].min(axis=1).idxmin()))
    assert f"R-hat was at most {summary['r_hat'].max():.3f}" in shown


@pytest.mark.parametrize(
    ("reliable", "doubts", "tone"), [(False, [], "bad"), (True, ["Hardly known."], "caution"), (True, [], "good")]
)
def test_tone(fit: Fit, monkeypatch: pytest.MonkeyPatch, reliable: bool, doubts: list[str], tone: str):
    monkeypatch.setattr(Fit, "reliable", reliable)
    monkeypatch.setattr(Fit, "_diagnose", lambda self: ["The verdict.", "The chains.", *doubts])
    first, *others = judge(fit)
    assert (first.tone, first.title, list(first.texts)) == (tone, "The verdict.", ["The chains."])
    assert [list(notice.texts) for notice in others] == ([doubts] if doubts else [])
    text = write_methods(fit, rebuild_trial(fit))
    assert isinstance(text[0], Notice) == (not reliable)  # beside what is to be pasted


def test_the_records_are_looked_over(fit: Fit, page: Reader):
    rows = page.tables["Records by environment and trait"][1:]
    trial, relationship = make_trial(LINES + [f"line{k}" for k in range(12)], ENVS, TRAITS)
    own = trial.check(relationship).columns
    assert [(row[0], row[1]) for row in rows] == [
        (show_signs(env), trait) for env, trait in zip(own["env"], own["trait"], strict=True)
    ]
    assert [int(row[2]) for row in rows] == own["lines"].tolist()
    assert [float(row[3]) for row in rows] == pytest.approx(own["mean"].tolist(), abs=0.01)


def test_what_the_model_settles_is_no_finding():
    """Spreads that differ between environments are told of a model with one residual variance alone."""
    trial, relationship = make_trial([f"line{k}" for k in range(30)], ["E1", "E2"], ["y", "z"])
    frame = pd.DataFrame(trial.values, columns=["y", "z"])
    frame["line"], frame["env"] = [trial.lines[j] for j in trial.line_index], [trial.envs[i] for i in trial.env_index]
    frame.loc[frame["env"] == "E2", ["y", "z"]] *= 5.0
    uneven = bmtme.Trial.from_frame(frame, line="line", env="env", traits=["y", "z"])
    told = {}
    for residual in ("shared", "by_env"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = bmtme.BMTME(residual=residual)
            own = bmtme.fit(uneven, relationship, model, draws=20, tune=20, chains=1, cores=1, progress=False)
        found = [block.title for block in audit_records(own, rebuild_trial(own)) if isinstance(block, Notice)]
        told[residual] = any("unequal spread" in title for title in found)
    assert told == {"shared": True, "by_env": False}


def test_a_folder_suffices(fit: Fit, text: str, tmp_path: Path):
    fit.save(tmp_path / "run")
    file = report_run(tmp_path / "run")
    assert file == tmp_path / "run" / "report.html"
    mine, found = read_page(text), read_page(file.read_text(encoding="utf-8"))
    assert mine.tables == found.tables
    # The clock of the run is in its record, the name of the folder is not.
    assert [part for part in found.texts if part not in mine.texts] == ["folder", str(tmp_path / "run")]
    before = file.read_bytes()
    assert report_run(tmp_path / "run").read_bytes() == before
    assert isinstance(bmtme.load(tmp_path / "run"), Fit)


# --- what a fit may lack ------------------------------------------------------------------------------------------


def test_without_effects(tmp_path: Path):
    lacking = fit_short(["a", "b", "c", "d", "e", "f"], ["E1", "E2"], ["y", "z"], keep_effects="none")
    lacking.save(tmp_path / "run")
    page = read_page(report_run(tmp_path / "run").read_text(encoding="utf-8"))
    shown = " ".join(page.texts)
    assert "This fit kept no effects of lines (keep_effects='none')" in shown
    assert "y: stability" not in page.tables
    assert {row[0] for row in page.tables["Heritabilities"]} == {"", "plot in E1", "plot in E2", "mean of a line"}


def test_one_trait_in_one_environment():
    page = read_page(render(make_page(fit_short(["a", "b", "c", "d", "e", "f"], ["E1"], ["y"]), "run")))
    shown = " ".join(page.texts)
    assert "This fit has one trait, 'y': there is no correlation over traits." in shown
    assert "There is one environment, and so no interaction" in shown
    assert "beta_il + b1_jl + e_ijkl" in shown
    assert len(page.tables["y"]) == 7


def test_traits_one_at_a_time():
    model = bmtme.SingleTrait(bmtme.BMTME(genetic=bmtme.Free(), residual="by_env"))
    alone = fit_short(["a", "b", "c", "d", "e", "f", "g"], ["E1", "E2"], ["y", "z"], model)
    page = read_page(render(make_page(alone, "run")))
    shown = " ".join(page.texts)
    assert "Traits were fitted one at a time" in shown
    assert "fitted to one trait at a time" in shown
    own = alone.correlations("genetic", "env").set_index("trait")["mean"]
    for trait in ("y", "z"):
        rows = page.tables[f"Genetic correlations of the environments: {trait}"]
        assert split(rows[1][1])[0] == pytest.approx(own[trait], abs=0.006)


# --- the file -----------------------------------------------------------------------------------------------------


def test_what_is_no_report_stays(fit: Fit, tmp_path: Path):
    other = tmp_path / "other.html"
    other.write_text("<!DOCTYPE html><title>mine</title>", encoding="utf-8")
    with pytest.raises(UsageError, match="there is a file that is no report"):
        fit.report(other)
    assert other.read_text(encoding="utf-8") == "<!DOCTYPE html><title>mine</title>"
    with pytest.raises(UsageError, match="is a folder"):
        fit.report(tmp_path)


def test_a_failure_leaves_the_earlier_page(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "run.html"
    file.write_text('<meta name="generator" content="bmtme report">', encoding="utf-8")

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bmtme.report.html.page.os.replace", fail)
    with pytest.raises(UsageError, match=r"cannot write the report .*run.html: Permission denied"):
        fit.report(file)
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]
    assert file.stat().st_size < 60


# --- the text of the methods --------------------------------------------------------------------------------------


def test_sources_are_named_in_the_package():
    """Each publication that may be cited is one that a docstring or a page of the project names, by volume and page."""
    root = Path(bmtme.__file__).parents[1]
    files = [*root.glob("bmtme/**/*.py"), *root.glob("bmtme/**/*.md"), *root.glob("examples/*.md"), root / "README.md"]
    texts = " ".join(file.read_text(encoding="utf-8") for file in files if file.name != "references.py")
    for key, reference in REFERENCES.items():
        volume = re.search(r"(\d+:\d+)(-\d+)?|\d+\(\d+\)", reference.full)
        assert volume, key
        found = set(re.findall(re.escape(volume[1] or volume[0]) + r"(?:-\d+)?", texts))
        assert found, (key, volume[0])
        # Where the last page is named too, it is the same.
        assert volume[0] in found or not any("-" in pages for pages in found), (key, volume[0])
        assert re.search(r"\(\d{4}\)", reference.full)[0].strip("()") in reference.short


# --- in a browser -------------------------------------------------------------------------------------------------

HARNESS = """<!DOCTYPE html><body><script>
const widths = [1280, 390];
const found = [];
const look = (width) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 800; frame.src = "run.html";
  frame.onload = () => {
    const page = frame.contentDocument;
    const box = page.querySelector(".long table");
    const names = () => Array.from(box.tBodies[0].rows, (row) => row.cells[0].textContent).join("\\n");
    const before = names();
    const heading = box.tHead.rows[0].cells[2].querySelector("button");
    heading.click();
    const turned = names();
    heading.click();
    const input = page.querySelector(".tools input");
    input.value = "etc";
    input.dispatchEvent(new Event("input"));
    const shown = Array.from(box.tBodies[0].rows).filter((row) => !row.hidden).length;
    const { scrollWidth, clientWidth } = page.documentElement;
    found.push([width, scrollWidth - clientWidth, before === names(), before !== turned, shown]);
    done();
  };
  document.body.append(frame);
});
look(1280).then(() => look(390)).then(() => { document.title = JSON.stringify(found); });
</script>"""


def test_in_a_browser(text: str, tmp_path: Path):
    (tmp_path / "run.html").write_text(text, encoding="utf-8")
    (tmp_path / "look.html").write_text(HARNESS, encoding="utf-8")
    out = browse(tmp_path / "look.html", tmp_path / "user", "--virtual-time-budget=20000", "--dump-dom")
    if out is None:
        pytest.skip("no browser")
    title = re.search(r"<title>(.*)</title>", out.stdout)
    assert title, out.stderr[-2000:]
    assert title[1] == "[[1280,0,true,true,1],[390,0,true,true,1]]"
    assert "CONSOLE" not in out.stderr
