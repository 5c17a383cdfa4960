"""New genotypes by the markers of a fit: against marker effects draw by draw, and as lines of the relationship."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, Markers, vanraden
from bmtme.decisions.markers import Training
from bmtme.decisions.scoring import relate_genotypes
from bmtme.results.predictions import find_quantiles
from tests.helpers.posteriors import make_fit, make_setting

COLUMNS = ["line", "trait", "mean", "sd", "lower", "upper", "reliability", "missing"]


@pytest.fixture(scope="module")
def data():
    """A setting whose relationship is that of 12 lines, and five new lines with gaps, at the same 60 markers."""
    rng = np.random.default_rng(3)
    codes = rng.choice([0.0, 1.0, 2.0], size=(17, 60))
    codes[rng.random(codes.shape) < 0.05] = np.nan
    codes[:12, 7] = 0.0
    s = make_setting(outside=0.4)
    names = [*s.lines, *(f"N{k}" for k in range(5))]
    frame = pd.DataFrame(codes, index=names, columns=[f"M{k}" for k in range(60)])
    with pytest.warns(UserWarning, match="1 of 60 markers left out"):
        s.G = np.array(vanraden(frame.iloc[:12]).matrix)
    return s, frame


def relate(frame, old):
    """Relationship of all lines by the frequencies of the old ones, marker by marker; gaps of new ones as expected."""
    n = len(frame)
    G, total = np.zeros((n, n)), 0.0
    for name in frame:
        column = frame[name]
        p = column[old].mean() / 2
        if 0 < p < 1:
            z = (column - 2 * p).fillna(0.0).to_numpy()
            G += np.outer(z, z)
            square = float(np.mean([(x - 2 * p) ** 2 for x in column[old].dropna()]))
            G += np.diag([square * (np.isnan(x) and name not in old) for name, x in column.items()])
            total += 2 * p * (1 - p)
    return pd.DataFrame(G / total, frame.index, frame.index)


@pytest.mark.parametrize("alone", [False, True])
def test_every_column(data, alone):
    s, frame = data
    s.y[s.plots[:, 0] == 5, 1] = np.nan  # no T2 of L05
    fit = make_fit(s, alone=alone, spread=0.3)
    new = frame.sample(frac=1.0, axis=1, random_state=2)
    table = fit.score(new, env={"E1": 3, "E3": 1})
    other = fit.score(new.assign(other=1.0), training=frame.iloc[:12].sample(frac=1.0), env={"E1": 3, "E3": 1})
    pd.testing.assert_frame_equal(table, other)
    assert table.columns.tolist() == COLUMNS
    assert table["line"].tolist() == [name for name in frame.index for _ in range(2)]
    w = np.array([0.75, 0.0, 0.25])
    G = relate(frame, s.lines)
    effects = fit.idata.posterior["u"].transpose("chain", "draw", "line", "env", "trait")
    used = [name for name in frame if 0 < frame.loc[s.lines, name].mean() < 2]
    for l, trait in enumerate(s.traits):
        known = [s.lines[j] for j in (s.take_trait(l) if alone else s).known]
        u = effects.sel(line=known, trait=trait).values.reshape(-1, len(known), 3) @ w
        posterior = fit.idata.posterior["C"] if alone else fit._groups["posterior"]["C"]
        if alone:
            C = np.einsum("i,sik,k->s", w, posterior.sel(trait=trait).values.reshape(-1, 3, 3), w)
        else:
            C = np.einsum("i,sik,k->s", w, posterior.values.reshape(-1, 3, 2, 3, 2)[:, :, l, :, l], w)
        inverse = np.linalg.inv(G.loc[known, known])
        for name in frame.index:
            g = G.loc[name, known].to_numpy()
            fitted, left = u @ inverse @ g, max(G.loc[name, name] - g @ inverse @ g, 0.0)
            row = table[(table["line"] == name) & (table["trait"] == trait)].iloc[0]
            assert row["mean"] == pytest.approx(fitted.mean(), abs=1e-8)
            variance = fitted.var(ddof=1) + left * C.mean()
            assert row["sd"] == pytest.approx(np.sqrt(variance), rel=1e-6)
            ends = find_quantiles(fitted[None], np.full((1, len(u)), left * C), 0.05, 0.95)[0]
            assert [row["lower"], row["upper"]] == pytest.approx(ends.tolist(), abs=1e-6)
            contrast = G.loc[name, name] - 2 * g.mean() + G.loc[known, known].to_numpy().mean()
            off = (fitted - u.mean(axis=1)).var(ddof=1) + left * C.mean()
            assert row["reliability"] == pytest.approx(max(0.0, 1 - off / (C.mean() * contrast)), rel=1e-6)
            assert row["missing"] == pytest.approx(frame.loc[name, used].isna().mean())
            if name in known:
                assert row["mean"] == pytest.approx(u[:, known.index(name)].mean(), abs=1e-8)
                assert left < 1e-9


def test_as_lines_of_the_relationship(data):
    """What a ranking says of lines without a record, but for Monte Carlo error; and what marker effects add up to."""
    s, frame = data
    s.Sigma_r[:] = 0.0
    fit = make_fit(s, draws=2000)
    table = fit.score(frame.iloc[[10, 11]], training=frame.iloc[:12], draws=4000).set_index(["line", "trait"])
    u = fit.line_effects(4000).mean("env")
    effects = fit.marker_effects(frame.iloc[:12], draws=4000)
    for line in s.lines[10:]:
        for trait in s.traits:
            drawn, row = u.sel(line=line, trait=trait), table.loc[(line, trait)]
            assert row["mean"] == pytest.approx(float(drawn.mean()), abs=4 * float(drawn.std()) / 60)
            assert row["sd"] == pytest.approx(float(drawn.std()), rel=0.05)
            own = effects[effects["trait"] == trait].set_index("marker")
            z = (frame.loc[line] - 2 * own["frequency"]).fillna(0.0)
            assert row["mean"] == pytest.approx((z * own["effect"]).sum(), abs=1e-8)


def test_tetraploids():
    rng = np.random.default_rng(4)
    s = make_setting()
    frame = pd.DataFrame(rng.integers(5, size=(12, 50)).astype(float), s.lines, [f"M{k}" for k in range(50)])
    s.G = np.array(vanraden(frame, ploidy=4).matrix)
    fit = make_fit(s)
    markers = Markers.from_frame(frame, ploidy=4)
    u = fit.line_effects().mean(("chain", "draw", "env"))
    table = fit.score(markers).set_index(["line", "trait"])
    assert table.loc[("L03", "T2"), "mean"] == pytest.approx(float(u.sel(line="L03", trait="T2")), abs=1e-8)
    with pytest.raises(DataError, match="ploidy of 2, and the genotypes of the fit one of 4"):
        fit.score(frame.clip(upper=2), training=markers)


def test_names_and_alleles(data):
    s, frame = data
    fit = make_fit(s)
    old, new = frame.iloc[:12], frame.iloc[12:]
    with pytest.raises(DataError, match=r"2 of the 12 lines of the relationship have no genotypes: 'L02', 'L04'"):
        fit.score(frame.drop(index=["L02", "L04"]))
    with pytest.raises(DataError, match=r"has 0 of the 60 markers of the fit; at least half.*chr1_M0.*M0"):
        fit.score(new.add_prefix("chr1_"), training=old)
    with pytest.warns(UserWarning, match=r"lacks 2 of the 60 markers of the fit \('M3', 'M9'\)"):
        table = fit.score(new.drop(columns=["M9", "M3"]), training=old)
    blank = fit.score(new.assign(M3=np.nan, M9=np.nan), training=old)
    pd.testing.assert_frame_equal(table, blank)
    twice = pd.concat([new, new[["M1"]]], axis=1)
    with pytest.raises(DataError, match="marker 'M1' is there twice"):
        fit.score(twice, training=old)
    both = frame.iloc[8:]
    with pytest.raises(DataError, match=r"other alleles are counted than .* at 5\d markers"):
        fit.score(2 - both, training=old)
    turned = both.assign(M4=2 - both["M4"], M5=2 - both["M5"])
    with pytest.raises(
        DataError, match=r"other alleles are counted .* at 2 markers \('M4', 'M5'\): lines of both, such as"
    ):
        fit.score(turned, training=old)
    mixed = both.rename(index={"L08": "N9", "N0": "L08"})
    with pytest.raises(
        DataError, match=r"1 lines have other genotypes than in the fit, above all 'L08', which has the same at"
    ):
        fit.score(mixed, training=old)
    slip = both.copy()
    slip.loc["L09", "M2"] = 1.0 if both.loc["L09", "M2"] != 1 else 0.0
    with pytest.warns(UserWarning, match=r"1 lines have genotypes .* differ a little from those of the fit \('L09'\)"):
        fit.score(slip, training=old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit.score(both, training=old)
        fit.score(new, training=old)


def test_alleles_by_name(data):
    """Genotypes that count the other allele are turned; other alleles are refused; unknown ones are not looked at."""
    s, frame = data
    fit = make_fit(s)
    old = Markers.from_frame(frame.iloc[:12])
    pairs = [("A", "G")] * 60
    pairs[3], pairs[4] = ("", "T"), ("C", "")
    old = replace(old, alleles=tuple(pairs))
    new = frame.iloc[10:].assign(M0=2 - frame["M0"], M3=2 - frame["M3"], M4=2 - frame["M4"])
    pairs[0], pairs[3], pairs[4], pairs[5] = ("G", "A"), ("T", ""), ("T", "C"), ("", "")
    markers = replace(Markers.from_frame(new), alleles=tuple(pairs))
    with pytest.warns(UserWarning, match=r"counts the other allele at 3 markers \('M0', 'M3', 'M4'\): turned round"):
        table = fit.score(markers, training=old)
    pd.testing.assert_frame_equal(table, fit.score(frame.iloc[10:], training=frame.iloc[:12]))
    pairs[8] = ("T", "C")
    with pytest.raises(DataError, match=r"marker 'M8' has the alleles T/C, and A/G in those of the fit"):
        fit.score(replace(markers, alleles=tuple(pairs)), training=old)
    some = np.arange(60) != 1
    assert old.select(markers=some).alleles == old.alleles[:1] + old.alleles[2:]


def test_frequencies_the_other_way_round():
    """Where no line tells, the allele frequencies do."""
    rng = np.random.default_rng(5)
    s = make_setting(new=0)
    p = rng.uniform(0.1, 0.9, 80)
    codes = pd.DataFrame(rng.binomial(2, p, size=(20, 80)).astype(float), columns=[f"M{k}" for k in range(80)])
    codes.index = [*s.lines, *(f"N{k}" for k in range(8))]
    s.G = np.array(vanraden(codes.iloc[:12]).matrix)
    fit = make_fit(s)
    with pytest.warns(UserWarning, match=r"correlate -0\.\d\d with those of the genotypes of the fit"):
        fit.score(2 - codes.iloc[12:], training=codes.iloc[:12])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit.score(codes.iloc[12:], training=codes.iloc[:12])


def test_squares_by_hand():
    """Three markers of four lines: what gaps add, of new lines, and of C, which lacks M3 in training, too."""
    old = pd.DataFrame({"M1": [0.0, 0, 2, 2], "M2": [0.0, 2, 2, 2], "M3": [0, 1, np.nan, 2]}, list("ABCD"))
    new = pd.DataFrame(
        [[0.0, 0, 0], [2, np.nan, np.nan], [np.nan] * 3, [2, 2, np.nan], [0, 2, np.nan]],
        index=["N1", "N2", "N3", "C", "B"], columns=["M1", "M2", "M3"],
    )  # fmt: skip
    training = Training(Markers.from_frame(old), tuple("ABD"), np.array([0, 1, 3]), np.ones((1, 3), bool), np.eye(3), 1)
    with pytest.warns(UserWarning, match=r"2 lines of .* fewer than half of the markers of the fit \('N2', 'N3'\)"):
        cross, squares, missing = relate_genotypes(new.to_numpy(), Markers.from_frame(new), training)
    assert squares == pytest.approx([1 + 2.25 + 1, 1 + 0.75 + 2 / 3, 1 + 0.75 + 2 / 3, 1 + 0.25, 1 + 0.25 + 2 / 3])
    assert cross[1] == pytest.approx([-1, -1, 1])  # M1 alone
    assert cross[2] == pytest.approx([0, 0, 0])
    assert missing == pytest.approx([0, 2 / 3, 1, 1 / 3, 1 / 3])


def test_less_is_known_the_more_is_missing(data):
    """Clones of the lines: sure with all markers, at last as unknown as an average line of the prior."""
    s, frame = data
    fit = make_fit(s, spread=0.0)
    old = frame.iloc[:12]
    clones = old.rename(index=lambda name: f"clone of {name}").fillna(1.0)
    order = np.random.default_rng(6).permutation(60)
    sd, reliability = [], []
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        part = clones.copy()
        part.iloc[:, order[: int(60 * share)]] = np.nan
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            table = fit.score(part, training=old, env={"E1": 1})
        assert any("12 lines of" in str(one.message) for one in caught) == (share > 0.5)
        sd.append(table.groupby("trait")["sd"].mean().to_numpy())
        reliability.append(table.groupby("trait")["reliability"].mean().to_numpy())
    assert (np.diff(sd, axis=0) > 0).all()
    assert (np.diff(reliability, axis=0) < 0).all()
    squares = total = 0.0
    for name in old:
        seen = old[name].dropna() - old[name].mean()
        squares += float((seen**2).mean())
        total += float(old[name].mean() * (1 - old[name].mean() / 2))
    prior = np.sqrt(squares / total * s.C[0, :, 0, :].diagonal())
    assert sd[-1] == pytest.approx(prior, rel=1e-8)
    assert (table["mean"].abs() < 1e-12).all()
    assert (reliability[-1] < 0.1).all()


def test_a_line_at_the_mean(data):
    """Nothing to be correlated with: its difference from the mean is rounding."""
    s, frame = data
    full = frame.iloc[:12].fillna(1.0)
    with pytest.warns(UserWarning, match="left out"):
        s = replace(s, G=np.array(vanraden(full).matrix))
    known = full.iloc[s.known]
    fit = make_fit(s)
    middle = known.mean().to_numpy() + 1e-7 * np.random.default_rng(8).normal(size=(3, 60))
    table = fit.score(pd.DataFrame(middle.clip(0, 2), ["N1", "N2", "N3"], full.columns), training=full)
    assert table["reliability"].isna().all()
    assert np.isfinite(table["sd"]).all()
