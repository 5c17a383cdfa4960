"""Public data sets: from a folder, and from a server with checksums."""

from __future__ import annotations

import hashlib
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bmtme.datasets import fetch, list_sets, parsers, public
from bmtme.datasets.sources import SOURCES, RemoteFile
from bmtme.errors import DataError, MachineError, UsageError
from tests.helpers.discs import small_files

SETS = list(SOURCES)


# --- the list ---------------------------------------------------------------------------------------------------


def test_list_of_sets():
    table = list_sets()
    assert list(table.columns) == ["name", "title", "traits", "licence", "cite"]
    assert table["name"].tolist() == SETS
    assert table.map(bool).all(axis=None)


def test_the_package_knows_its_data_sets():
    code = "import bmtme; assert bmtme.datasets.simulate is bmtme.simulate; assert 'datasets' in dir(bmtme)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_source_is_complete():
    assert parsers.PARSERS.keys() == SOURCES.keys()
    for source in SOURCES.values():
        assert set(source.units) == set(source.traits)
        assert len({file.name for file in source.files}) == len(source.files)
        for file in source.files:
            assert re.fullmatch("[0-9a-f]{40}", file.commit)
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
    sums = [file.sha256 for source in SOURCES.values() for file in source.files]
    assert len(set(sums)) == len(sums)


# --- a folder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_real_sets(data_folder, name):
    data = fetch(name, folder=data_folder)
    trial = data.trial
    assert trial.traits == data.source.traits
    assert trial.n_records == len(data.frame)
    assert (data.relationship is not None) == (name not in ("belamkar_augmented", "gryphon", "potato_hancock"))
    assert (data.pedigree is not None) == (name in ("gryphon", "potato_hancock"))
    assert (data.markers is not None) == (name in ("barley_steptoe_morex152", "wheat599"))
    assert repr(data).startswith(f"DataSet({name}: ")


def test_plain_folder(tmp_path):
    folder = tmp_path / "toys" / "WheatToy"
    folder.mkdir(parents=True)
    (folder / "pheno.csv").write_text("line,env,note,DTHD,PTHT\n001,E,,1.5,2\nNA,E,x,NA,3\n")
    (folder / "grm.csv").write_text("line,001,NA\n001,1,0.5\nNA,0.5,1\n")
    (folder / "pedigree.csv").write_text("id,sire,dam\n001,,\n")
    np.savez(folder / "markers.npz", markers=np.array([[0, 2], [1, -128]], np.int8), line=["001", "NA"], snp=["a", "b"])
    data = fetch("toys/WheatToy", folder=tmp_path)
    assert data.trial.lines == ("001", "NA")
    assert data.frame["note"].tolist() == [None, "x"]
    assert data.relationship.lines == ("001", "NA")
    assert data.pedigree["id"].tolist() == ["001"]
    np.testing.assert_array_equal(data.markers.to_numpy(), [[0, 2], [1, np.nan]])
    (folder / "markers.npz").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"markers.npz is no NumPy archive, or a damaged one"):
        fetch("toys/WheatToy", folder=tmp_path)


def test_folder_without_the_set(tmp_path):
    with pytest.raises(DataError, match=r"holds neither toys/WheatToy/pheno.csv nor .* \('WheatToy.rda' lacking\)"):
        fetch("toys/WheatToy", folder=tmp_path)
    (tmp_path / "WheatToy.rda").write_bytes(b"another")
    found = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(DataError, match=rf"WheatToy.rda is not the file .* should be {TOY.sha256}, got {found}"):
        fetch("toys/WheatToy", folder=tmp_path)


def test_bad_arguments(tmp_path):
    with pytest.raises(UsageError, match=r"no data set 'wheat59'\. Did you mean 'wheat599'\? There are 'barley"):
        fetch("wheat59")
    with pytest.raises(UsageError, match="folder= and mirror= exclude each other"):
        fetch("wheat599", folder=tmp_path, mirror="http://localhost")


# --- a server ---------------------------------------------------------------------------------------------------


(TOY,) = SOURCES["toys/WheatToy"].files


@pytest.fixture
def toy_file(tmp_path: Path) -> bytes:
    """An R data file as that of WheatToy, with three lines and two environments."""
    rdata = pytest.importorskip("rdata")
    pytest.importorskip("pooch")
    rows = [("7", env, 1.5 + j, 10.0 - j) for j, env in enumerate(("Drip", "Bed"))] + [("12", "Drip", -1.0, 4.0)]
    pheno = pd.DataFrame(rows, columns=["Gid", "Env", "DTHD", "PTHT"]).astype({"Gid": "category", "Env": "category"})
    names = pd.Index(["7", "12"], dtype=object)
    matrix = pd.DataFrame([[1.0, 0.25], [0.25, 1.0]], index=names, columns=names)
    rdata.write_rda(tmp_path / "toy.rda", {"phenoWheatToy": pheno, "genoWheatToy": matrix})
    return (tmp_path / "toy.rda").read_bytes()


@pytest.fixture
def serve(tmp_path: Path, toy_file: bytes) -> Iterator[Callable[[bytes], str]]:
    """Serve a content at the place of WheatToy.rda on this machine, and give the address."""
    root = tmp_path / "root"

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, *given: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def put(content: bytes) -> str:
        path = root / TOY.repository / TOY.commit / TOY.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield put
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, toy_file: bytes) -> None:
    """The checksum of the made-up file in place of the real one."""
    source = SOURCES["toys/WheatToy"]
    file = RemoteFile(TOY.repository, TOY.commit, TOY.path, hashlib.sha256(toy_file).hexdigest())
    monkeypatch.setitem(public.SOURCES, "toys/WheatToy", replace(source, files=(file,)))


@pytest.mark.usefixtures("known")
def test_fetched_from_a_mirror_and_kept(serve, toy_file, tmp_path, capsys):
    mirror = serve(toy_file)
    data = fetch("toys/WheatToy", mirror=mirror + "/", cache=tmp_path / "cache")
    assert data.trial.lines == ("7", "12")
    assert data.trial.envs == ("Drip", "Bed")
    np.testing.assert_array_equal(data.trial.values, [[1.5, 10], [2.5, 9], [-1, 4]])
    assert data.relationship.lines == ("7", "12")
    assert data.relationship.matrix[0, 1] == 0.25
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"{TOY.commit[:12]}-WheatToy.rda"]
    serve(b"changed since")
    again = fetch("toys/WheatToy", mirror=mirror, cache=tmp_path / "cache")  # from the cache
    pd.testing.assert_frame_equal(again.frame, data.frame)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("known")
def test_wrong_checksum_is_refused_and_not_kept(serve, tmp_path):
    mirror = serve(b"something else")
    with pytest.raises(DataError, match=r"http://127.*/WheatToy.rda is not the file that was expected: its SHA-256"):
        fetch("toys/WheatToy", mirror=mirror, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.usefixtures("known")
def test_a_cache_that_cannot_be_written_is_not_blamed_on_the_connection(serve, toy_file, tmp_path):
    mirror = serve(toy_file)
    words = r"cannot be kept in .*/cache: File too large\. Name "
    with small_files(100), pytest.raises(MachineError, match=words) as full:
        fetch("toys/WheatToy", mirror=mirror, cache=tmp_path / "cache")
    assert "could not be fetched" not in str(full.value)
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be kept in .*/file"):
        fetch("toys/WheatToy", mirror=mirror, cache=tmp_path / "file" / "cache")


def test_server_that_has_no_such_file_or_is_not_there(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("BMTME_DATA_CACHE", str(tmp_path / "cache"))
    mirror = serve(b"x")
    words = r"could not be fetched from http://127.*name a mirror=, or put the file into a folder"
    with pytest.raises(DataError, match=r"Gryphon.RData " + words):
        fetch("gryphon", mirror=mirror)
    with pytest.raises(DataError, match=r"Gryphon.RData " + words):
        fetch("gryphon", mirror="http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(DataError, match=r"Gryphon.RData could not be fetched from nowhere/cran"):
        fetch("gryphon", mirror="nowhere")
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []


def test_file_that_is_not_of_r(tmp_path):
    pytest.importorskip("rdata")
    (tmp_path / "x.rda").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"x.rda is no R data file"):
        parsers.read_r(tmp_path / "x.rda")
    with pytest.raises(DataError, match=r"none.rda cannot be read: No such file"):
        parsers.read_r(tmp_path / "none.rda")


# --- parsers ----------------------------------------------------------------------------------------------------


def matrix(values: object, rows: list[str] | None, columns: list[str] | None) -> xr.DataArray:
    """As rdata gives a matrix with names."""
    names = {"dim_0": rows, "dim_1": columns}
    coords = {dim: name for dim, name in names.items() if name is not None}
    return xr.DataArray(np.asarray(values, dtype=float), dims=["dim_0", "dim_1"], coords=coords)


def test_libraries_that_are_not_installed(monkeypatch, tmp_path):
    for module in ("rdata", "pooch"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=r"reading x.rda needs the Python library rdata.*bmtme\[datasets\]"):
        parsers.read_r(tmp_path / "x.rda")
    with pytest.raises(UsageError, match=r"fetching data needs the Python library pooch.*bmtme\[datasets\]"):
        fetch("gryphon")
