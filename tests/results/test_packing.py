"""Files of a checkpoint: what was written comes back; what is damaged, foreign or cut off is refused by name."""

import hashlib
import os

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import DataError, MachineError, UsageError
from bmtme.results.encoding import decode, encode
from bmtme.results.packing import read_pack, write_pack
from tests.helpers.discs import contents, small_files
from tests.helpers.trials import make_trial, same

ARRAYS = {
    "numbers": np.arange(6.0).reshape(2, 3).T,
    "none": np.empty((0, 4)),
    "one": np.array(np.nan),
    "truth": np.array([True, False]),
    "codes": np.array([-1, 2**62]),
}
VALUES = {"generator": 2**127 + 1, "text": "é\n", "list": [1, [2.5, None]]}


def test_what_was_written_comes_back(tmp_path):
    digest = write_pack(tmp_path / "pack", "chain", VALUES, ARRAYS)
    raw = (tmp_path / "pack").read_bytes()
    assert digest == hashlib.sha256(raw[:-32]).hexdigest() == raw[-32:].hex()
    values, arrays = read_pack(tmp_path / "pack", "chain", digest)
    assert values == VALUES
    assert arrays.keys() == ARRAYS.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
        np.testing.assert_array_equal(array, ARRAYS[name])
    assert contents(tmp_path) == ["pack"]


def test_every_changed_byte_is_found(tmp_path):
    path = tmp_path / "pack"
    write_pack(path, "chain", {"a": 1}, {"x": np.arange(3.0)})
    raw = path.read_bytes()
    for k in range(len(raw)):
        path.write_bytes(raw[:k] + bytes([raw[k] ^ 1]) + raw[k + 1 :])
        with pytest.raises(DataError, match=r"pack (is damaged|is no file|has schema)"):
            read_pack(path, "chain")
    for cut in (raw[:0], raw[:10], raw[:30], raw[:-1], raw + b"x"):
        path.write_bytes(cut)
        with pytest.raises(DataError, match=r"pack (is damaged|is no file)"):
            read_pack(path, "chain")


def test_files_of_others_are_refused_by_name(tmp_path):
    path = tmp_path / "pack"
    with pytest.raises(DataError, match="pack is missing"):
        read_pack(path, "chain")
    path.write_bytes(b"\x80\x04\x95 a pickle")
    with pytest.raises(DataError, match="is no file of a checkpoint"):
        read_pack(path, "chain")
    path.write_bytes(b"bmtme checkpoint 7\n{}")
    with pytest.raises(DataError, match="schema 7, of a newer version"):
        read_pack(path, "chain")
    other = write_pack(path, "block", {}, {})
    with pytest.raises(DataError, match="not the file that was written there"):
        read_pack(path, "chain")
    write_pack(path, "block", {"b": 1}, {})
    with pytest.raises(DataError, match="not the file that was written there"):
        read_pack(path, "block", other)


@pytest.mark.parametrize("size", [0, 10, 100])
def test_a_full_disc_leaves_the_file_before(tmp_path, size):
    write_pack(tmp_path / "pack", "chain", {"a": 1}, {})
    with small_files(size), pytest.raises(MachineError, match=r"cannot write .*pack: File too large"):
        write_pack(tmp_path / "pack", "chain", {"a": 2}, {"x": np.zeros(10_000)})
    assert contents(tmp_path) == ["pack"]
    assert read_pack(tmp_path / "pack", "chain")[0] == {"a": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError, match="Permission denied"):
        write_pack(tmp_path / "pack", "chain", {}, {})


def give_back(value):
    arrays = {}
    return decode(encode(value, arrays), arrays)


def test_what_is_asked_for_comes_back():
    trial, relationship = make_trial(seed=2)
    given = give_back(trial)
    assert type(given) is bmtme.Trial
    assert same(given, trial)
    assert not given.values.flags.writeable
    again = give_back(relationship)
    assert again.lines == relationship.lines
    np.testing.assert_array_equal(again.matrix, relationship.matrix)
    assert give_back(bmtme.Relationship.identity(["a", "b"])).is_identity
    model = bmtme.BMTME(
        genetic=bmtme.Separable(), residual="scaled", prior_e=bmtme.HalfT(4, {"T1": 2.0}), line_effect=True
    )
    assert give_back(model) == model
    assert give_back(bmtme.SingleTrait(model)) == bmtme.SingleTrait(model)
    prior = bmtme.InverseWishart(5, pd.DataFrame(np.eye(2), ["T1", "T2"], ["T1", "T2"]))
    pd.testing.assert_frame_equal(give_back(prior).scale, prior.scale)


def test_tables_come_back():
    frame = pd.DataFrame(
        {"name": ["001", None, "NA"], "x": [1.5, np.nan, -np.inf], "n": [1, 2, 3], "b": [True, False, True]},
        index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["l", "k"]),
    )
    pd.testing.assert_frame_equal(give_back(frame), frame)
    kinds = pd.DataFrame(
        {
            "site": pd.Categorical(["N", None, "S"], ["S", "N", "W"], ordered=True),
            "row": pd.Series(["1", None, "2"], dtype="string"),
            "n": pd.Series([1, None, 3], dtype="Int64"),
        }
    )
    pd.testing.assert_frame_equal(give_back(kinds), kinds)
    empty = pd.DataFrame({"x": np.empty(0), "name": np.empty(0, object)})
    pd.testing.assert_frame_equal(give_back(empty), empty, check_index_type=False)
    series = pd.Series({"L1": "f", "L2": "g"}, name=None)
    pd.testing.assert_series_equal(give_back(series), series)
    assert give_back({"a": (1, [2.0, float("inf")], frozenset({"x", "y"})), 3: None}) == {
        "a": (1, [2.0, float("inf")], frozenset({"x", "y"})), 3: None,
    }  # fmt: skip


def test_inverse_of_a_pedigree_comes_back():
    frame = pd.DataFrame({"id": ["c", "d"], "sire": ["a", "a"], "dam": ["b", "c"]})
    inverse = bmtme.pedigree_inverse(frame, separate_sexes=False)
    again = give_back(inverse)
    assert (again.lines, again.log_determinant) == (inverse.lines, inverse.log_determinant)
    np.testing.assert_array_equal(again.inbreeding, inverse.inbreeding)
    assert type(again.matrix) is type(inverse.matrix)
    np.testing.assert_array_equal(again.matrix.toarray(), inverse.matrix.toarray())


def test_what_is_of_the_user_is_refused():
    with pytest.raises(UsageError, match="the model holds a object, which is none of bmtme's own"):
        encode({"a": object()}, {}, "the model")


@pytest.mark.parametrize(
    "content",
    [
        {"object": ["os", "system", {}]},
        {"object": ["bmtme.pipeline", "fit", {}]},
        {"object": ["bmtme.data.relationship.matrix", "Relationship", {}]},
        {"pickle": ["bmtme.pipeline", "fit", {}]},
    ],
)
def test_nothing_else_is_made_of_a_file(content):
    with pytest.raises(ValueError, match="nothing that a checkpoint holds"):
        decode(content, {})
