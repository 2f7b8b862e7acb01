import pytest

from nogps.acquire.candidate import Candidate
from nogps.acquire.exclude import Excluded
from nogps.base.errors import InputError

LIST = """photo_id,owner
# of a benchmark
123456789
23456789, 12345678@N00
87654321@N05

345678901_0123456789_123_55555555@N00.jpg
  data/im2gps3k/456789012_12e4567890_99_66666666@N07.jpg
pano-Abc_def
"""


def test_ids_owners_and_benchmark_names_are_read(tmp_path):
    path = tmp_path / "exclude.txt"
    path.write_text(LIST, encoding="utf-8-sig")
    excluded = Excluded.read(path)
    assert excluded.photo_ids == {
        "123456789",
        "23456789",
        "345678901",
        "456789012",
        "pano-Abc_def",
    }
    assert excluded.owners == {
        "12345678@N00",
        "87654321@N05",
        "55555555@N00",
        "66666666@N07",
    }


def test_nobody_is_not_an_owner():
    photo = Candidate("1", "folder", 0.0, 0.0, "", "url")
    assert Excluded(frozenset({"1"}), frozenset()).names(photo)


def test_a_photo_is_excluded_by_its_id_on_flickr_too():
    photo = Candidate("a.jpg", "folder", 0.0, 0.0, "", "url", flickr_id="17")
    assert Excluded(frozenset({"17"}), frozenset()).names(photo)
    assert not Excluded(frozenset({"18", ""}), frozenset()).names(photo)
    assert not Excluded(frozenset({""}), frozenset()).names(Candidate("1", "x", 0.0, 0.0, "", ""))


def test_a_list_of_comments_excludes_nothing(tmp_path):
    path = tmp_path / "exclude.txt"
    path.write_text("# nothing yet\n")
    assert Excluded.read(path) == Excluded(frozenset(), frozenset())


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"exclude: .*none.txt cannot be read"):
        Excluded.read(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        Excluded.read(tmp_path / "binary")


def test_a_photo_on_the_list_takes_all_others_of_its_owner_along():
    """Nobody's photos are not one person's."""
    owners = {"1": "anna", "2": "anna", "3": "ben", "4": "cleo", "5": "", "6": ""}
    found = [Candidate(name, "x", 0.0, 0.0, owner, "") for name, owner in owners.items()]
    excluded = Excluded(frozenset({"1", "5"}), frozenset({"cleo"}))
    assert [each.photo_id for each in excluded.without(found)] == ["3", "6"]
