import hashlib
import io
import os
import re
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nogps.acquire.candidate import Candidate, Fetched, Status
from nogps.acquire.sources.folder import Folder
from nogps.base.errors import InputError
from nogps.photos.exif import read_metadata
from tests.pictures import photo, write


def ids(folder: Folder) -> list[str]:
    return [candidate.photo_id for candidate in folder.candidates()]


def message(folder: Folder) -> str:
    """The InputError's one sentence."""
    with pytest.raises(InputError) as caught:
        folder.candidates()
    text = str(caught.value)
    assert "\n" not in text
    assert "; " in text, "says what to do"
    return text


def table(tmp_path: Path, *rows: str, header="file,latitude,longitude") -> Folder:
    for name in ("a.jpg", "b.jpg"):
        write(tmp_path / name, photo())
    write(tmp_path / "photos.csv", "\n".join([header, *rows]) + "\n")
    return Folder(tmp_path)


# photos.csv


def test_rows_become_candidates(tmp_path):
    body = write(tmp_path / "sub" / "x #1%.jpg", photo()).read_bytes()
    folder = table(
        tmp_path,
        '"b.jpg",-45.5,9.25,ann,-90,2020-01-02T03:04:05,CC0,https://example.org/b,ignored',
        "./sub//x #1%.jpg, 90 , -180 ,,,,,,",
        header="file,latitude,longitude,owner,heading,taken_at,licence,page_url,remark",
    )
    first, second = folder.candidates()
    assert first == Candidate(
        photo_id="b.jpg",
        source="folder",
        latitude=-45.5,
        longitude=9.25,
        owner="ann",
        url="b.jpg#sha256=" + hashlib.sha256(photo()).hexdigest(),
        taken_at="2020-01-02T03:04:05",
        heading=270,
        licence="CC0",
        page_url="https://example.org/b",
    )
    assert second == Candidate(
        photo_id="sub/x #1%.jpg",
        source="folder",
        latitude=90,
        longitude=-180,
        owner="",
        url="sub/x%20%231%25.jpg#sha256=" + hashlib.sha256(body).hexdigest(),
    )
    assert folder.read(second.url) == Fetched(Status.OK, body)


def test_the_table_wins_over_exif_and_counts_what_it_leaves_out(tmp_path):
    folder = table(tmp_path, "sub/c.jpg,1,2")
    write(tmp_path / "sub" / "c.jpg", photo(45, 9))
    write(tmp_path / "notes.txt", "no image")
    (candidate,) = folder.candidates()
    assert (candidate.latitude, candidate.longitude) == (1, 2)
    assert (folder.counts.not_listed, folder.counts.unreadable, folder.counts.without_position) == (
        2,
        0,
        0,
    )


def test_order_is_that_of_photo_ids(tmp_path):
    assert ids(table(tmp_path, "b.jpg,1,2", "a.jpg,1,2")) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_text_encodings_and_line_ends(tmp_path, encoding, newline):
    write(tmp_path / "Zürich.jpg", photo())
    text = newline.join(["file,latitude,longitude,owner", "Zürich.jpg,47.4,8.5,Äbi", "", ""])
    write(tmp_path / "photos.csv", text.encode(encoding))
    (candidate,) = Folder(tmp_path).candidates()
    assert (candidate.photo_id, candidate.owner) == ("Zürich.jpg", "Äbi")
    assert candidate.url.startswith("Z%C3%BCrich.jpg#")


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ("a.jpg,91,2", "latitude", "91"),
        ("a.jpg,-90.001,2", "latitude", "-90.001"),
        ("a.jpg,n/a,2", "latitude", "n/a"),
        ("a.jpg,,2", "latitude", ""),
        ("a.jpg,nan,2", "latitude", "nan"),
        ("a.jpg,1,180.5", "longitude", "180.5"),
        ("a.jpg,1,inf", "longitude", "inf"),
        ("a.jpg,1", "longitude", ""),
        ("a.jpg,1,2,north", "heading", "north"),
        ("a.jpg,1,2,nan", "heading", "nan"),
    ],
)
def test_bad_numbers_stop_with_their_line(tmp_path, row, column, value):
    folder = table(tmp_path, "b.jpg,1,2", row, header="file,latitude,longitude,heading")
    assert f'photos.csv line 3: {column} "{value}" is not a number' in message(folder)


@pytest.mark.parametrize(
    "file", ["../a.jpg", "sub/../../a.jpg", "..", ".", "", "/etc/passwd", "a\0"]
)
def test_paths_that_leave_the_folder_stop(tmp_path, file):
    text = message(table(tmp_path, "b.jpg,1,2", f"{file},1,2"))
    assert f'line 3: file "{file}" is not a path below the folder' in text


@pytest.mark.parametrize("again", ["a.jpg", "./a.jpg", "sub/../a.jpg"])
def test_a_file_listed_twice_stops(tmp_path, again):
    assert "line 4: a.jpg is there twice" in message(
        table(tmp_path, "a.jpg,1,2", "b.jpg,1,2", f"{again},3,4")
    )


@pytest.mark.parametrize(
    ("header", "missing", "remedy"),
    [
        ("file,lat,lng", "latitude", 'rename "lat"'),
        ("file,latitude,lon", "longitude", 'rename "lon"'),
        ("file,LATITUDE,longitude", "latitude", 'rename "LATITUDE"'),
        ("filename,latitude,longitude", "file", 'rename "filename"'),
        ("file,longitude,owner", "latitude", "add it"),
        ("file;latitude;longitude", "file", "add it"),
        ("", "file", "add it"),
    ],
)
def test_a_missing_column_names_the_nearest(tmp_path, header, missing, remedy):
    text = message(table(tmp_path, "a.jpg,1,2", header=header))
    assert f'no column "{missing}"' in text
    assert text.endswith(remedy)


def test_an_unquoted_comma_stops(tmp_path):
    assert "line 2: more values than columns" in message(table(tmp_path, "a.jpg,45,5,9,1"))


def test_an_open_quote_stops(tmp_path):
    assert "the row after line 2 is not CSV" in message(table(tmp_path, "a.jpg,1,2", '"b.jpg,1,2'))


@pytest.mark.parametrize(
    "body", [b"\xff\xfef\0i\0l\0e\0", b"file,latitude,longitude\nZ\xfc.jpg,1,2"]
)
def test_other_encodings_stop(tmp_path, body):
    write(tmp_path / "photos.csv", body)
    assert "not UTF-8" in message(Folder(tmp_path))


def test_a_table_that_cannot_be_read_stops(tmp_path):
    (tmp_path / "photos.csv").mkdir()
    assert "photos.csv: cannot be read" in message(Folder(tmp_path))


def test_a_table_without_rows_stops(tmp_path):
    assert "lists no photos" in message(table(tmp_path))


def test_a_listed_file_that_is_missing_is_gone(tmp_path):
    folder = table(tmp_path, "a.jpg,1,2", "no.jpg,1,2", "a.jpg/no.jpg,1,2")
    candidates = {candidate.photo_id: candidate for candidate in folder.candidates()}
    assert sorted(candidates) == ["a.jpg", "a.jpg/no.jpg", "no.jpg"]
    assert folder.counts.unreadable == 2
    folder.candidates()
    assert folder.counts.unreadable == 2, "counts of one run, not of all"
    assert candidates["no.jpg"].url == "no.jpg"
    assert folder.read(candidates["a.jpg"].url).status is Status.OK
    for missing in ("no.jpg", "a.jpg/no.jpg"):
        assert folder.read(candidates[missing].url) == Fetched(Status.GONE)
    write(tmp_path / "no.jpg", photo())
    assert folder.read("no.jpg") == Fetched(Status.FAILED), "not the candidate that was listed"


def test_a_table_of_missing_files_only_stops(tmp_path):
    assert "none of the 2 files" in message(table(tmp_path, "x/a.jpg,1,2", "x/b.jpg,1,2"))


# Without photos.csv


def test_positions_from_the_cameras(tmp_path):
    body = write(tmp_path / "b" / "2.JPG", photo(45, 9)).read_bytes()
    write(tmp_path / "a.png", photo(46, 10, "PNG"))
    write(tmp_path / "b" / "c" / "3.heic", photo(47, 11, "HEIF"))
    write(tmp_path / "z.jpeg", photo(48, 12, "PNG"))
    write(tmp_path / "none.jpg", photo())
    write(tmp_path / "broken.tif", b"II*\0nonsense")
    write(tmp_path / "text.txt", photo(1, 1))
    write(tmp_path / ".hidden.jpg", photo(1, 1))
    write(tmp_path / ".thumbnails" / "t.jpg", photo(1, 1))
    folder = Folder(tmp_path)
    candidates = list(folder.candidates())
    assert [(c.photo_id, c.latitude, c.longitude) for c in candidates] == [
        ("a.png", 46, 10),
        ("b/2.JPG", 45, 9),
        ("b/c/3.heic", 47, 11),
        ("z.jpeg", 48, 12),
    ]
    assert (folder.counts.without_position, folder.counts.unreadable) == (2, 0)
    assert candidates[1] == Candidate(
        photo_id="b/2.JPG",
        source="folder",
        latitude=45,
        longitude=9,
        owner="",
        url="b/2.JPG#sha256=" + hashlib.sha256(body).hexdigest(),
        taken_at="2011-05-06T09:59:48",
        heading=90,
    )
    assert folder.read(candidates[1].url) == Fetched(Status.OK, body)


@pytest.mark.parametrize(
    "name", ["jpg", "jpeg", "jpe", "png", "webp", "heic", "heif", "tif", "tiff", "Jpg", "TIFF"]
)
def test_extensions(tmp_path, name):
    write(tmp_path / f"photo.{name}", photo(45, 9))
    assert ids(Folder(tmp_path)) == [f"photo.{name}"]


def test_owner_from_a_comment(tmp_path):
    comment = b"owner: ann\nlatitude: 1.5\nlongitude: 2.5"
    body = photo()
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    write(tmp_path / "a.jpg", body[:2] + segment + body[2:])
    (candidate,) = Folder(tmp_path).candidates()
    assert (candidate.owner, candidate.latitude, candidate.longitude) == ("ann", 1.5, 2.5)


def test_damaged_headers_are_counted_without_a_word(tmp_path, recwarn):
    write(tmp_path / "good.jpg", photo(45, 9))
    too_long = struct.pack(">4sLHHHLLL", b"MM\0*", 8, 1, 0x010E, 2, 10**6, 26, 0)
    damaged = io.BytesIO()
    Image.new("RGB", (8, 6)).save(damaged, "JPEG", exif=b"Exif\0\0" + too_long)
    write(tmp_path / "bad.jpg", damaged.getvalue())
    with pytest.warns(UserWarning):
        read_metadata(tmp_path / "bad.jpg")
    recwarn.clear()
    folder = Folder(tmp_path)
    assert ids(folder) == ["good.jpg"]
    assert folder.counts.without_position == 1
    assert not recwarn.list


def test_nothing_located_stops(tmp_path):
    assert "(0 images)" in message(Folder(tmp_path))
    write(tmp_path / "a.jpg", photo())
    text = message(Folder(tmp_path))
    assert text.startswith(f"folder.path: no photos with a position under {tmp_path} (1 images)")


def test_a_missing_folder_stops(tmp_path):
    assert "folder.path" in message(Folder(tmp_path / "absent"))
    assert "is not a directory" in message(Folder(write(tmp_path / "file", "")))


def test_a_locked_folder_stops(tmp_path):
    locked = write(tmp_path / "locked" / "photos" / "a.jpg", photo(45, 9)).parent.parent
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("this user, such as root, may read every directory")
    try:
        for path in (locked, locked / "photos"):
            assert "not a directory that you may read" in message(Folder(path))
    finally:
        locked.chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf8(tmp_path):
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/Z\xfcrich.jpg")), photo(45, 9))
    folder = Folder(tmp_path)
    (candidate,) = folder.candidates()
    assert candidate.photo_id == r"Z\xfcrich.jpg"
    assert folder.read(candidate.url).body == photo(45, 9)


# fetch


def test_a_photo_that_changes_fails_and_is_another_candidate(tmp_path):
    write(tmp_path / "a.jpg", photo(45, 9))
    folder = Folder(tmp_path)
    (before,) = folder.candidates()
    write(tmp_path / "a.jpg", photo(45, 9, colour="navy"))
    assert folder.read(before.url) == Fetched(Status.FAILED)
    (after,) = folder.candidates()
    assert after.url != before.url
    assert folder.read(after.url).status is Status.OK
    (tmp_path / "a.jpg").unlink()
    assert folder.read(after.url) == Fetched(Status.GONE)


def test_what_is_no_image_is_left_to_others(tmp_path):
    folder = table(tmp_path, "a.jpg,1,2")
    write(tmp_path / "a.jpg", "<html>")
    (candidate,) = folder.candidates()
    assert folder.read(candidate.url) == Fetched(Status.OK, b"<html>")


def test_a_directory_in_place_of_a_photo_fails(tmp_path):
    folder = table(tmp_path, "a.jpg,1,2", "c.jpg,1,2")
    (tmp_path / "c.jpg").mkdir()
    assert ids(folder) == ["a.jpg", "c.jpg"]
    assert folder.counts.unreadable == 1
    assert folder.read("c.jpg") == Fetched(Status.FAILED)


def test_without_permission(tmp_path):
    write(tmp_path / "a.jpg", photo(45, 9))
    locked = write(tmp_path / "b.jpg", photo(45, 9))
    folder = Folder(tmp_path)
    urls = {candidate.photo_id: candidate.url for candidate in folder.candidates()}
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("this user, such as root, may read every file")
    assert folder.read(urls["b.jpg"]) == Fetched(Status.FAILED)
    assert ids(folder) == ["a.jpg"]
    assert (folder.counts.unreadable, folder.counts.without_position) == (1, 0)


def test_a_locked_directory_is_counted(tmp_path):
    write(tmp_path / "a.jpg", photo(45, 9))
    locked = write(tmp_path / "locked" / "b.jpg", photo(45, 9)).parent
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("this user, such as root, may read every directory")
    folder = Folder(tmp_path)
    try:
        assert ids(folder) == ["a.jpg"]
    finally:
        locked.chmod(0o700)
    assert folder.counts.unreadable == 1


def test_a_link_into_nowhere_is_unreadable(tmp_path):
    write(tmp_path / "a.jpg", photo(45, 9))
    (tmp_path / "b.jpg").symlink_to(tmp_path / "absent.jpg")
    folder = Folder(tmp_path)
    assert ids(folder) == ["a.jpg"]
    assert (folder.counts.unreadable, folder.counts.without_position) == (1, 0)


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_coordinates_in_the_table_come_out_exactly(tmp_path_factory, latitude, longitude):
    path = tmp_path_factory.mktemp("photos")
    write(path / "a.jpg", b"x")
    write(path / "photos.csv", f"file,latitude,longitude\na.jpg,{latitude!r},{longitude!r}\n")
    (candidate,) = Folder(path).candidates()
    assert (candidate.latitude, candidate.longitude) == (latitude, longitude)
    assert re.fullmatch(r"a\.jpg#sha256=[0-9a-f]{64}", candidate.url)
