"""A folder of adjusted means in place of a table of phenotypes."""

import json

import pytest

import bmtme
from bmtme.cli.main import main
from bmtme.errors import DataError
from tests.pipeline.test_adjusted_means import make_means

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
SHORT = ["--draws", "20", "--tune", "20", "--chains", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Means of one trait, and their relationship."""
    place = tmp_path_factory.mktemp("stage")
    means, relationship = make_means(traits=("T1",))
    means.save(place / "means")
    bmtme.write_relationship(relationship, place / "grm.csv")
    return place


def name_inputs(folder) -> list[str]:
    return [str(folder / "means"), "--relationship", str(folder / "grm.csv")]


def test_fit_check_and_cross_validation(folder, tmp_path, capsys) -> None:
    assert main(["check", *name_inputs(folder)]) == 0
    assert main(["fit", *name_inputs(folder), *SHORT, "--dry-run"]) == 0
    assert main(["fit", *name_inputs(folder), *SHORT, "--out", str(tmp_path / "run")]) == 0
    assert "(with covariances of their errors)" in capsys.readouterr().out
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(record["inputs"]["phenotypes"]["sha256"]) == {"covariances.npz", "means.csv"}
    assert record["data"]["error_covariances"] is True
    options = ["--partitions", "1", "--test-fraction", "0.3"]
    assert main(["cv", *name_inputs(folder), *SHORT, *options, "--out", str(tmp_path / "cv")]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--line", "line"], "argument --line: "),
        (["--rep", "rep"], "argument --rep: "),
        (["--se", "se"], "argument --se: "),
    ],
)
def test_options_about_a_table(folder, tmp_path, capsys, options, message) -> None:
    assert main(["fit", *name_inputs(folder), *options, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "is a folder, expected to hold adjusted means" in said


def test_some_environments_and_traits(tmp_path, capsys) -> None:
    means, relationship = make_means(traits=("T1", "T2"))
    means.save(tmp_path / "means")
    bmtme.write_relationship(relationship, tmp_path / "grm.csv")
    env, inputs = means.envs[1], name_inputs(tmp_path)
    assert main(["fit", *inputs, "--envs", env, "--traits", "T2", *SHORT, "--out", str(tmp_path / "run")]) == 0
    found = bmtme.load(tmp_path / "run").predictions()
    assert set(found["env"]) == {env}
    assert set(found["trait"]) == {"T2"}
    assert main(["check", *inputs, "--envs", "nowhere"]) == 2
    assert "no means of environment 'nowhere'" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "grm.csv"), "--line", "line", "--envs", env]) == 2
    assert "is for a folder of adjusted means" in capsys.readouterr().err


def test_a_folder_where_a_file_belongs(folder, tmp_path, capsys) -> None:
    means = str(folder / "means")
    for words in (
        ["adjust", means, "--line", "line", "--traits", "T1"],
        ["mixed", means, "--fixed", "T1 ~ 1"],
        ["fit", means, "--relationship", means, "--dry-run"],
    ):
        assert main(words) == 3
        said = capsys.readouterr().err
        assert "is a folder of adjusted means, and here a file is expected" in said
    assert main(["mixed", str(tmp_path), "--fixed", "T1 ~ 1"]) == 3
    assert "is a folder: expected a file." in capsys.readouterr().err
    with pytest.raises(DataError, match=r"holds adjusted means: bmtme.read_means\(folder\) reads them"):
        bmtme.load(means)


def test_other_folders_and_a_table_without_a_column(folder, tmp_path, capsys) -> None:
    arguments = ["--relationship", str(folder / "grm.csv"), "--out", str(tmp_path / "run")]
    assert main(["fit", str(tmp_path), *arguments]) == 3
    assert "holds no run.json: expected a folder with a saved adjustment" in capsys.readouterr().err
    assert main(["fit", str(folder / "grm.csv"), *arguments]) == 2
    assert "the following arguments are required: --line" in capsys.readouterr().err
