"""The model a user asks for, and its priors in the scaled units of the sampler."""

import json

import numpy as np
import pandas as pd
import pytest

from bmtme import BMTME, DataError, HalfT, InverseWishart, UsageError
from bmtme.model.codes import DIAGONAL, FULL, HALF_T, INVERSE_WISHART, SCALAR
from bmtme.model.scaling import Scaling, measure_traits, scale_priors

TRAITS, ENVS = ("Yield", "PH"), ("A", "B", "C")
SCALING = Scaling(centre=np.array([5.0, 200.0]), scale=np.array([0.5, 20.0]), m=4.0)


def priors(model):
    return scale_priors(model, TRAITS, ENVS, SCALING)


# --- what a model may be ------------------------------------------------------------------------------------------


def test_defaults():
    model = BMTME()
    assert (model.structure, model.means, model.units) == ("unstructured", "exchangeable", "scaled")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"structure": "unstructurd"}, ["unstructurd", "'unstructured', 'diagonal', 'standard'", "Did you mean"]),
        ({"structure": "un"}, ["'un'"]),
        ({"means": "fixed"}, ["means", "'flat'"]),
        ({"units": "kg"}, ["units", "'raw'"]),
        ({"units": "raw"}, ["units='raw'", "standard"]),
        ({"prior_t": 5.0}, ["prior_t", "HalfT", "5.0"]),
        ({"prior_E": "weak"}, ["prior_E", "weak"]),
    ],
)
def test_refused_models(arguments, words):
    with pytest.raises(UsageError) as error:
        BMTME(**arguments)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, "much"])
def test_refused_numbers(value):
    for make in (
        lambda: HalfT(nu=value),
        lambda: HalfT(scale=value),
        lambda: HalfT(scale={"Yield": value}),
        lambda: InverseWishart(df=value, scale=1.0),
    ):
        with pytest.raises(UsageError, match="positive finite number"):
            make()


# --- scales -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure, shapes", [
    ("unstructured", (FULL, DIAGONAL, FULL)),
    ("diagonal", (DIAGONAL, DIAGONAL, DIAGONAL)),
    ("standard", (SCALAR, SCALAR, SCALAR)),
])  # fmt: skip
def test_default_priors_do_not_depend_on_units(structure, shapes):
    """Scaled: 5 for Sigma_t (of a relationship of mean diagonal 1) and R_e with nu 2, 1 for Sigma_E with nu 4."""
    t, E, e = priors(BMTME(structure))
    assert tuple(prior.shape for prior in (t, E, e)) == shapes
    assert [prior.family for prior in (t, E, e)] == [HALF_T] * 3
    assert [prior.nu for prior in (t, E, e)] == [2.0, 4.0, 2.0]
    assert t.scale.tolist() == [5.0, 5.0]
    assert E.scale.tolist() == [1.0, 1.0, 1.0]
    assert e.scale.tolist() == [5.0, 5.0]


@pytest.mark.parametrize("structure", ["unstructured", "standard"])
def test_scale_left_out_is_the_default_of_its_covariance(structure):
    """Another nu with the scale left out keeps the default scale: 5 standard deviations, but 1 for Sigma_E."""
    prior = HalfT(nu=7)
    t, E, e = priors(BMTME(structure, prior_t=prior, prior_E=prior, prior_e=prior))
    assert [p.nu for p in (t, E, e)] == [7.0] * 3
    assert t.scale.tolist() == [5.0, 5.0]
    assert e.scale.tolist() == [5.0, 5.0]
    assert E.scale.tolist() == [1.0, 1.0, 1.0]


def test_half_t_scales_are_for_what_is_reported():
    """A sqrt(m) / s_l inside for Sigma_t, A / s_l for R_e, A itself for Sigma_E."""
    t, E, e = priors(
        BMTME(
            prior_t=HalfT(scale={"PH": 10.0, "Yield": 0.1}),
            prior_E=HalfT(scale={"C": 3.0, "A": 1.0, "B": 2.0}),
            prior_e=HalfT(scale=2.0),
        )
    )
    np.testing.assert_allclose(t.scale, [0.1 * 2 / 0.5, 10.0 * 2 / 20.0])
    np.testing.assert_allclose(E.scale, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(e.scale, [2.0 / 0.5, 2.0 / 20.0])


def test_standard_model():
    """Unitless in scaled units; in raw units one number in the data's unit."""
    t, E, e = priors(BMTME("standard", prior_t=HalfT(scale=0.3), prior_E=HalfT(scale=0.2), prior_e=HalfT(scale=0.4)))
    assert (t.scale[0], E.scale[0], e.scale[0]) == (0.3, 0.2, 0.4)
    pooled = Scaling(SCALING.centre, np.full(2, 10.0), 4.0)
    t, _, e = scale_priors(
        BMTME("standard", prior_t=HalfT(scale=0.3), prior_e=HalfT(scale=0.4), units="raw"), TRAITS, ENVS, pooled
    )
    np.testing.assert_allclose((t.scale[0], e.scale[0]), (0.3 * 2 / 10.0, 0.4 / 10.0))


def test_inverse_wishart_scales():
    """Matched by name where they have names, divided by the units."""
    frame = pd.DataFrame([[400.0, 2.0], [2.0, 1.0]], index=["PH", "Yield"], columns=["PH", "Yield"])
    t, E, e = priors(
        BMTME(
            prior_t=InverseWishart(df=5, scale=frame),
            prior_E=InverseWishart(df=4, scale={"B": 2.0, "A": 1.0, "C": 3.0}),
            prior_e=InverseWishart(df=6, scale=2.0),
        )
    )
    assert (t.family, t.df) == (INVERSE_WISHART, 5.0)
    units = SCALING.scale
    np.testing.assert_allclose(t.matrix, np.array([[1.0, 2.0], [2.0, 400.0]]) * 4.0 / np.outer(units, units))
    np.testing.assert_allclose(E.matrix, np.diag([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(e.matrix, np.diag(2.0 / units**2))


@pytest.mark.parametrize(
    "model, words",
    [
        (BMTME(prior_t=HalfT(scale={"Yield": 1.0})), ["prior_t", "missing: 'PH'"]),
        (BMTME(prior_e=HalfT(scale={"Yield": 1.0, "PH": 1.0, "ASI": 1.0})), ["prior_e", "unknown: 'ASI'"]),
        (BMTME("standard", prior_t=HalfT(scale={"Yield": 1.0, "PH": 2.0})), ["prior_t", "one number"]),
        (BMTME("standard", prior_t=InverseWishart(df=5, scale=np.diag([1.0, 2.0]))), ["prior_t", "one number"]),
        (BMTME(prior_t=InverseWishart(df=5, scale=np.eye(3))), ["prior_t", "2 x 2", "(3, 3)"]),
        (BMTME(prior_t=InverseWishart(df=1, scale=1.0)), ["prior_t", "above 1"]),
        (BMTME(prior_t=InverseWishart(df=5, scale=[[1.0, 2.0], [2.0, 1.0]])), ["prior_t", "positive definite"]),
        (BMTME(prior_t=InverseWishart(df=5, scale=[[1.0, 0.2], [0.1, 1.0]])), ["prior_t", "symmetric"]),
        (BMTME(prior_t=InverseWishart(df=5, scale=pd.DataFrame(np.eye(2)))), ["prior_t", "'Yield', 'PH'"]),
        (BMTME(prior_t=InverseWishart(df=5, scale=[[1.0, 0.2], [0.1]])), ["prior_t"]),
        (BMTME(prior_t=InverseWishart(df=5, scale=[["a", "b"], ["b", "c"]])), ["prior_t"]),
    ],
)
def test_refused_scales(model, words):
    with pytest.raises(UsageError) as error:
        priors(model)
    for word in words:
        assert word in str(error.value)


def test_diagonal_covariances_take_the_diagonal_of_an_inverse_wishart_scale():
    """IG(df/2, S_ii/2) for every entry: the same prior serves all structures."""
    t, _, _ = priors(BMTME("diagonal", prior_t=InverseWishart(df=5, scale=[[1.0, 0.5], [0.5, 2.0]])))
    np.testing.assert_allclose(np.diag(t.matrix), np.array([1.0, 2.0]) * 4.0 / SCALING.scale**2)


def test_user_units_and_back():
    S = np.array([[1.0, 0.5], [0.5, 2.0]])
    np.testing.assert_allclose(SCALING.restore_residual(S), [[0.25, 5.0], [5.0, 800.0]])
    np.testing.assert_allclose(SCALING.restore_genetic(S), np.array([[0.25, 5.0], [5.0, 800.0]]) / 4.0)


# --- traits -------------------------------------------------------------------------------------------------------


def test_centre_and_scale_of_recorded_values():
    values = np.array([[1.0, np.nan], [2.0, 10.0], [6.0, 30.0], [np.nan, 20.0]])
    centre, scale = measure_traits(values, TRAITS, pooled=False)
    np.testing.assert_allclose(centre, [3.0, 20.0])
    np.testing.assert_allclose(scale, [np.std([1, 2, 6], ddof=1), 10.0])
    _, pooled = measure_traits(values, TRAITS, pooled=True)
    np.testing.assert_allclose(pooled, np.sqrt((scale**2).mean()))


@pytest.mark.parametrize("column", [[1e9, 1e9, 1e9], [4.0, np.nan, np.nan], [0.0, 0.0, 0.0]])
def test_trait_without_variation(column):
    with pytest.raises(DataError, match="'PH' has the same value"):
        measure_traits(np.column_stack([[1.0, 2.0, 3.0], column]), TRAITS, pooled=False)


def test_small_variation_on_a_large_mean_is_variation():
    centre, scale = measure_traits(np.column_stack([[1.0, 2, 3], [1e9 - 1, 1e9, 1e9 + 1]]), TRAITS, pooled=False)
    np.testing.assert_allclose((centre[1], scale[1]), (1e9, 1.0))


# --- description --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prior",
    [
        None,
        HalfT(),
        HalfT(nu=np.int64(3), scale=np.float32(0.5)),
        HalfT(scale={"Yield": np.float32(1.0), "PH": 2}),
        InverseWishart(df=np.int64(5), scale=np.eye(2)),
        InverseWishart(df=5, scale={"Yield": np.float32(1.0), "PH": 2.0}),
        InverseWishart(df=5, scale=pd.DataFrame(np.eye(2), index=TRAITS, columns=TRAITS)),
    ],
)
def test_description_is_plain(prior):
    """Whatever a user may give survives a run folder: NumPy's numbers too."""
    described = BMTME(prior_t=prior).describe()
    assert json.loads(json.dumps(described)) == described
    assert (described["prior_t"] == "default") == (prior is None)
