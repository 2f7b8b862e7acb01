"""Sets in the layouts in which they are handed out, made small here."""

import asyncio
import struct
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nogps.acquire.candidate import Candidate, Fetched, Status
from nogps.acquire.exclude import Excluded
from nogps.acquire.sources import archive, osv5m, sets
from nogps.acquire.sources.folder import Folder, name_of
from nogps.base.errors import InputError
from nogps.photos import images
from nogps.pipeline import benchmarks
from tests.osv5m import HEADER, osv, row, zipped
from tests.pictures import encoded, photo, picture, write


def by_id(folder: Folder) -> dict[str, Candidate]:
    found = list(folder.candidates())
    assert len({each.photo_id for each in found}) == len(found)
    return {each.photo_id: each for each in found}


def counted(folder: Folder) -> dict[str, int]:
    """The counts that are not 0."""
    return {key: count for key, count in folder.counted().items() if count}


def message(path: Path) -> str:
    """The InputError's one sentence."""
    with pytest.raises(InputError) as caught:
        list(Folder(path).candidates())
    text = str(caught.value)
    assert "\n" not in text and "; " in text
    return text


def commented(latitude: float, longitude: float, **more: str) -> bytes:
    """A JPEG with a position in its comment, as those of Im2GPS have."""
    fields = {"latitude": latitude, "longitude": longitude} | more
    comment = "\n".join(f"{key}: {value}" for key, value in fields.items()).encode()
    body = photo()
    return body[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + body[2:]


def body_of(number: int) -> bytes:
    return photo(colour=(number % 256, number // 256 % 256, 7))


# OSV-5M


BIG = 3859149887465501
OTHER = 9007199254740993  # which no float holds


@pytest.fixture
def train(tmp_path) -> Path:
    """Rows of which one is in a zip's folder, one at a zip's top, one extracted, one nowhere."""
    below = tmp_path / "osv5m/images/train"
    zipped(below / "00.zip", {f"00/{BIG}.jpg": body_of(1), "00/77.jpg": body_of(2)})
    zipped(below / "01.zip", {f"{OTHER}.jpg": body_of(3)}, zipfile.ZIP_STORED)
    write(below / "02/5.jpg", body_of(4))
    return osv(tmp_path / "osv5m", [row(6), row(OTHER), row(BIG), row("005"), row(OTHER + 1)])


def test_the_rows_of_osv5m_whose_picture_is_there(train):
    folder = Folder(train)
    found = by_id(folder)
    assert list(found) == [str(OTHER), str(BIG), "5"], "in the order of the table"
    assert counted(folder) == {"not_there": 2, "not_listed": 1}
    one = found[str(BIG)]
    crc = f"{zlib.crc32(body_of(1)):08x}"
    assert one == Candidate(
        photo_id=str(BIG),
        source="folder",
        latitude=-22.5,
        longitude=17.25,
        owner="111336221091714",
        url=f"images/train/00.zip/00/{BIG}.jpg#crc32={crc}&size={len(body_of(1))}&offset=0",
        taken_at="2022-11-04T10:47:46Z",
        licence="CC BY-SA 4.0",
        page_url=f"https://www.mapillary.com/app/?pKey={BIG}",
        author="roadroid",
        licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
        sequence=f"walk-{BIG}",
    )
    bodies = [asyncio.run(folder.fetch(each.url, None)) for each in found.values()]
    assert bodies == [Fetched(Status.OK, body_of(number)) for number in (3, 1, 4)]
    assert list(folder.candidates()) == list(found.values())
    assert counted(folder) == {"not_there": 2, "not_listed": 1}, "of one run, not of all"


def test_columns_go_by_their_names_and_may_be_missing(tmp_path):
    zipped(tmp_path / "images/test/00.zip", {f"00/{each}.jpg": body_of(each) for each in (1, 2)})
    table = osv(
        tmp_path, [row(1), row(2)], "country,longitude,creator_username,id,latitude", "test"
    )
    found = by_id(Folder(table))
    assert [each.owner for each in found.values()] == ["roadroid", "roadroid"]
    assert (found["1"].latitude, found["1"].longitude) == (-22.5, 17.25)
    assert (found["1"].sequence, found["1"].taken_at) == ("", "")
    for column in ("id", "latitude", "longitude"):
        left = ",".join(each for each in HEADER.split(",") if each != column)
        assert f'no column "{column}"' in message(osv(tmp_path, [row(1)], left, "test"))


def test_texts_stay_texts(tmp_path):
    zipped(tmp_path / "images/train/00.zip", {f"{each}.jpg": b"x" for each in range(1, 8)})
    rows = [
        row(1, creator_username="NA", creator_id="NA", sequence="null"),
        row(2, creator_username="nan", creator_id=""),
        row(3, creator_username="", creator_id=""),
        row(4, creator_id="1.0336221091714124e+16", captured_at="1667558866000.0"),
        row(5, creator_username="Ja, wirklich\nzwei Zeilen", captured_at="yesterday"),
        row(6, creator_id="12345678901234567"),
        row(7, creator_id="nan"),
    ]
    found = by_id(Folder(osv(tmp_path, rows)))
    assert [each.owner for each in found.values()] == [
        *("NA", "nan", "", "10336221091714124", "111336221091714", "12345678901234567"),
        "roadroid",
    ]
    assert (found["1"].author, found["1"].sequence) == ("NA", "null")
    assert (found["5"].author, found["5"].taken_at) == ("Ja, wirklich\nzwei Zeilen", "")
    assert found["4"].taken_at == found["1"].taken_at


def test_every_row_and_every_picture_of_osv5m_is_accounted_for(tmp_path):
    below = tmp_path / "images/train"
    zipped(below / "00.zip", {f"00/{each}.jpg": b"x" for each in range(1, 7)} | {"00/a.jpg": b"x"})
    zipped(below / "01.zip", {"1.jpg": b"other", "01.jpg": b"x", "__MACOSX/._1.jpg": b"x"})
    rows = [
        row(1, latitude=""),
        row(2, latitude="90.5"),
        row(3, longitude="NaN"),
        row(4),
        row(4, latitude="1"),
        row("x"),
        row(""),
        row(10**30),
        row(5),
    ]
    folder = Folder(osv(tmp_path, rows))
    found = by_id(folder)
    assert list(found) == ["4", "5"] and found["4"].latitude == -22.5
    assert counted(folder) == {
        "without_position": 3,
        "repeated": 1,
        "not_there": 3,
        "not_listed": 4,  # 6, a, 01 and the second 1
    }


def test_a_table_longer_than_a_part_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(osv5m, "BLOCK", 2000)
    zipped(tmp_path / "images/train/00.zip", {f"{each}.jpg": b"x" for each in range(0, 300, 3)})
    lines = "a\nb" * 100  # so that parts end between them, too
    rows = [row(each, latitude=str(each / 10), creator_username=lines) for each in range(300)]
    table = osv(tmp_path, rows)
    found = by_id(Folder(table))
    assert {int(key): each.latitude for key, each in found.items()} == {
        each: each / 10 for each in range(0, 300, 3)
    }


def test_listing_osv5m_opens_no_picture(train, monkeypatch):
    def read(*_):
        raise AssertionError("a picture was read")

    monkeypatch.setattr(archive, "read", read)
    monkeypatch.setattr(archive, "_member", read)
    monkeypatch.setattr(zipfile.ZipFile, "open", read)
    assert len(by_id(Folder(train))) == 3


def test_what_is_wrong_with_osv5m_has_a_sentence(train, tmp_path):
    assert "name its train.csv or its test.csv" in message(train.parent)
    assert "lists none of the 4 pictures" in message(osv(train.parent, [row(6)]))
    assert "lists none of the 4 pictures" in message(osv(train.parent, []))
    bare = osv(tmp_path / "bare", [row(1)])
    assert "there are no pictures in" in message(bare)
    assert "no column" in message(write(tmp_path / "a.csv", ""))
    assert "save it as CSV in UTF-8" in message(write(tmp_path / "b.csv", b"\xff\xfe\0"))
    for text in (f"{HEADER}\n1,2,3\n", f"{HEADER}\n5,north{',' * 9}\n"):
        train.write_text(text)
        assert "train.csv: is damaged" in message(train)


def test_a_zip_of_osv5m_that_is_not_whole_is_named(train):
    zips = train.parent / "images/train"
    (zips / "01.zip").write_bytes((zips / "00.zip").read_bytes()[:-30])
    assert "01.zip is no whole zip file" in message(train)


def test_a_picture_that_is_another_one_by_now_fails(train):
    folder = Folder(train)
    found = by_id(folder)
    below = train.parent / "images/train"
    zipped(below / "00.zip", {f"00/{BIG}.jpg": body_of(9), "00/77.jpg": body_of(2)})
    (below / "01.zip").unlink()
    write(below / "02/5.jpg", body_of(4) + b"more")
    became = {key: folder.read(each.url) for key, each in found.items()}
    assert became == {
        str(BIG): Fetched(Status.FAILED),
        str(OTHER): Fetched(Status.GONE),
        "5": Fetched(Status.FAILED),
    }
    before = found[str(BIG)].url
    assert by_id(folder)[str(BIG)].url != before


@given(st.integers(1, 10**16))
def test_creators_that_pandas_wrote_as_floats(number):
    assert osv5m._whole(repr(float(number))) == str(int(float(number)))
    assert osv5m._whole(str(number)) == str(number)


# Im2GPS and Im2GPS3k

FIRST = "1000269685_e60e9cdfb4_1125_78841376@N00.jpg"
SECOND = "1000300_0a9e9cdfb4_12_88841376@N01.jpg"
THIRD = "99_ff_1_1@N02.jpg"


def test_im2gps_in_a_zip_as_in_the_folder_it_holds(tmp_path):
    files = {
        f"im2gps/{FIRST}": commented(32.3, -64.7, owner="somebody", title="x"),
        f"im2gps/more/{SECOND}": commented(-1, 2),
        "im2gps/plain.jpg": photo(45, 9),
        "im2gps/nowhere.jpg": photo(),
        "im2gps/notes.txt": b"no image",
        f"__MACOSX/im2gps/._{FIRST}": b"mac",
        "im2gps/.hidden.jpg": photo(1, 1),
    }
    packed = Folder(zipped(tmp_path / "im2gps.zip", files))
    for name, body in files.items():
        write(tmp_path / name, body)
    found, extracted = by_id(packed), by_id(Folder(tmp_path / "im2gps"))
    assert list(found) == list(extracted) == [FIRST, f"more/{SECOND}", "plain.jpg"]
    assert counted(packed) == {"without_position": 1}
    assert found[FIRST].url.startswith("im2gps/1000269685_e60e9cdfb4_1125_78841376%40N00.jpg#crc32")
    for key, each in found.items():
        same = Candidate(
            **{name: getattr(each, name) for name in Candidate.__slots__ if name != "url"},
            url=extracted[key].url,
        )
        assert same == extracted[key]
        assert packed.read(each.url) == Folder(tmp_path / "im2gps").read(extracted[key].url)
    assert (found[FIRST].owner, found[FIRST].flickr_id) == ("somebody", "1000269685")
    assert found[FIRST].page_url == "https://www.flickr.com/photos/78841376@N00/1000269685/"
    assert (found[f"more/{SECOND}"].owner, found["plain.jpg"].owner) == ("88841376@N01", "")
    assert (found["plain.jpg"].flickr_id, found["plain.jpg"].page_url) == ("", "")


def places(path: Path, *rows: str, header="IMG_ID,AUTHOR,LAT,LON,S3_Label") -> Path:
    return write(path, "\n".join([header, *rows]) + "\n")


ROWS = (
    f"{FIRST},78841376@N00,32.325436,-64.764404,1",
    f"{SECOND},,-33.9,151.2,2",
    "missing_0a_1_5@N00.jpg,5@N00,1,2,3",
)


@pytest.mark.parametrize("where", ["", "images/", "im2gps3ktest/", "im2gps3ktest.zip"])
@pytest.mark.parametrize("named", [True, False], ids=["table", "folder"])
def test_a_table_of_im2gps3k_beside_the_photos(tmp_path, where, named, capsys):
    files = {FIRST: photo(), SECOND: photo(colour="navy"), THIRD: photo(1, 1)}
    if where.endswith("zip"):
        zipped(tmp_path / where, {f"im2gps3ktest/{name}": body for name, body in files.items()})
    else:
        for name, body in files.items():
            write(tmp_path / where / name, body)
    zipped(tmp_path / "other.zip", {"1.jpg": b"another set's", "2.jpg": b"x"})
    table = places(tmp_path / "im2gps3k_places365.csv", *ROWS)
    folder = Folder(table if named else tmp_path)
    found = by_id(folder)
    assert list(found) == [FIRST, SECOND]
    assert counted(folder) == {"not_there": 1, "not_listed": 1}
    assert (found[FIRST].latitude, found[FIRST].longitude) == (32.325436, -64.764404)
    assert (found[FIRST].owner, found[SECOND].owner) == ("78841376@N00", "88841376@N01")
    assert (found[SECOND].flickr_id, found[SECOND].latitude) == ("1000300", -33.9)
    assert [folder.read(each.url) for each in found.values()] == [
        Fetched(Status.OK, files[name]) for name in found
    ]
    assert capsys.readouterr().err == ""


def test_a_table_in_the_zip_of_its_photos(tmp_path):
    path = zipped(
        tmp_path / "set.zip",
        {
            "set/im2gps3k_places365.csv": f"IMG_ID,LAT,LON\n{FIRST},1,2\n".encode(),
            f"set/images/{FIRST}": photo(),
            f"set/images/{SECOND}": photo(),
        },
    )
    folder = Folder(path)
    (one,) = folder.candidates()
    assert (one.photo_id, one.latitude, one.owner) == (FIRST, 1, "78841376@N00")
    assert folder.read(one.url) == Fetched(Status.OK, photo())
    assert counted(folder) == {"not_listed": 1}


def test_latitudes_that_are_longitudes_are_noticed(tmp_path, capsys):
    write(tmp_path / FIRST, photo())
    write(tmp_path / SECOND, photo())
    table = places(tmp_path / "t.csv", *ROWS, header="IMG_ID,AUTHOR,LON,LAT,S3_Label")
    found = by_id(Folder(table))
    assert (found[FIRST].latitude, found[FIRST].longitude) == (32.325436, -64.764404)
    assert (found[SECOND].latitude, found[SECOND].longitude) == (-33.9, 151.2)
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert f"{table}: its LAT and LON are exchanged" in said.err


@pytest.mark.parametrize("header", ["IMG_ID,LAT,LON", "IMG_ID,LON,LAT"])
@pytest.mark.parametrize("comments", [True, False])
def test_where_the_range_proves_nothing_the_photos_do(tmp_path, header, comments, capsys):
    truth = {f"{each}_a_1_1@N00.jpg": (40 + each, -60 + each) for each in range(8)}
    for name, (latitude, longitude) in truth.items():
        write(tmp_path / name, commented(latitude, longitude) if comments else photo())
    rows = [f"{name},{latitude},{longitude}" for name, (latitude, longitude) in truth.items()]
    found = by_id(Folder(places(tmp_path / "t.csv", *rows, header=header)))
    right = comments or header == "IMG_ID,LAT,LON"
    assert right == all(
        (each.latitude, each.longitude) == truth[key] for key, each in found.items()
    )
    assert ("exchanged" in capsys.readouterr().err) == (comments and header == "IMG_ID,LON,LAT")


def test_rows_of_a_table_are_accounted_for(tmp_path):
    for name in (FIRST, SECOND, THIRD):
        write(tmp_path / name, photo())
    table = places(
        tmp_path / "t.csv",
        *(f"{FIRST},a,1,2,3", f"{FIRST},a,3,4,3", f"{SECOND},a,n/a,2,3", f"{THIRD},a,1,999,3"),
    )
    folder = Folder(table)
    assert list(by_id(folder)) == [FIRST]
    assert counted(folder) == {"repeated": 1, "without_position": 2}


def test_photos_named_by_their_flickr_id(tmp_path):
    zipped(tmp_path / "yfcc4k.zip", {"123.jpg": photo()})
    (one,) = Folder(places(tmp_path / "yfcc4k_places365.csv", "123.jpg,7@N00,1,2,x")).candidates()
    assert (one.photo_id, one.flickr_id, one.owner) == ("123.jpg", "123", "7@N00")
    assert one.page_url == "https://www.flickr.com/photos/7@N00/123/"


def test_what_is_wrong_with_such_a_table_has_a_sentence(tmp_path):
    table = places(tmp_path / "a_places365.csv", *ROWS)
    assert "of the 3 photos it lists none is there" in message(table)
    places(tmp_path / "b_places365.csv", *ROWS)
    assert "a_places365.csv and b_places365.csv; name the one" in message(tmp_path)
    assert 'no column "LON"' in message(places(table, *ROWS, header="IMG_ID,AUTHOR,LAT,LNG,x"))
    assert "none is there" in message(places(table))
    assert "not CSV" in message(places(table, '"open,1,2'))


# YFCC4k


def yfcc(number: int, longitude="17.25", latitude="-22.5", columns=20) -> str:
    values = {
        1: str(number),
        3: "39089491%40N00",
        4: "Ann+%26+Ben",
        5: "2004-07-04 23:29:51.0",
        8: "Caf%C3%A9+%3Cb%3E%09x",
        12: longitude,
        13: latitude,
        15: f"http://www.flickr.com/photos/39089491@N00/{number}/",
        17: "Attribution-NonCommercial-ShareAlike License",
        18: "http://creativecommons.org/licenses/by-nc-sa/2.0/",
    }
    return "\t".join(values.get(each, "") for each in range(columns))


def test_yfcc4k(tmp_path):
    for number in (5, 6, 7, 8):
        write(tmp_path / f"images/{number}.jpg", body_of(number))
    write(
        tmp_path / "info.txt",
        "\n".join([yfcc(5), yfcc(6, columns=14), yfcc(7, latitude=""), yfcc(5), yfcc(99), ""]),
    )
    folder = Folder(tmp_path)
    found = by_id(folder)
    assert list(found) == ["5", "6"]
    assert counted(folder) == dict.fromkeys(
        ("without_position", "not_listed", "not_there", "repeated"), 1
    )
    one = found["5"]
    assert (one.latitude, one.longitude, one.owner) == (-22.5, 17.25, "39089491@N00")
    assert (one.author, one.title) == ("Ann & Ben", "Café <b> x")
    assert (one.licence, one.flickr_id) == ("CC BY-NC-SA 2.0", "5")
    assert one.licence_url == "http://creativecommons.org/licenses/by-nc-sa/2.0/"
    assert one.page_url == "http://www.flickr.com/photos/39089491@N00/5/"
    assert one.taken_at == "2004-07-04T23:29:51"
    assert found["6"].licence == found["6"].page_url == ""
    assert folder.read(one.url) == Fetched(Status.OK, body_of(5))
    assert Excluded(frozenset({"5"}), frozenset()).names(one)


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc", "Z")), min_size=1))
def test_texts_of_yfcc_are_decoded(text):
    row = yfcc(1).split("\t")
    row[sets.TITLE] = quote_plus(text)
    assert sets._yfcc_candidate(row).title == " ".join(text.split())


def test_photos_of_yfcc4k_may_be_in_a_zip(tmp_path):
    write(tmp_path / "info.txt", yfcc(5) + "\n")
    zipped(tmp_path / "yfcc4k.zip", {"yfcc4k/5.jpg": body_of(5)})
    folder = Folder(tmp_path)
    (one,) = folder.candidates()
    assert folder.read(one.url) == Fetched(Status.OK, body_of(5))
    zipped(tmp_path / "all.zip", {"x/info.txt": yfcc(5).encode(), "x/images/5.jpg": body_of(5)})
    folder = Folder(tmp_path / "all.zip")
    (one,) = folder.candidates()
    assert folder.read(one.url) == Fetched(Status.OK, body_of(5))


def test_another_info_txt_is_left_alone(tmp_path):
    write(tmp_path / "info.txt", "Holidays\tof 2011\n")
    write(tmp_path / "a.jpg", photo(45, 9))
    assert list(by_id(Folder(tmp_path))) == ["a.jpg"]


def test_a_damaged_row_of_yfcc4k_is_named(tmp_path):
    write(tmp_path / "info.txt", f"{yfcc(5)}\n5\t6\n")
    write(tmp_path / "images/5.jpg", photo())
    assert "info.txt line 2: is no row of YFCC100M" in message(tmp_path)


# Zips of photos


def test_a_zip_with_photos_csv(tmp_path):
    table = b"file,latitude,longitude,owner\na.jpg,1,2,ann\nno.jpg,3,4,ann\nb/c.jpg,5,6,ben\n"
    files = {
        "album/photos.csv": table,
        "album/a.jpg": photo(),
        "album/b/c.jpg": photo(colour="navy"),
        "album/other.jpg": photo(45, 9),
    }
    folder = Folder(zipped(tmp_path / "album.zip", files))
    found = by_id(folder)
    assert [(key, each.owner, each.latitude) for key, each in found.items()] == [
        ("a.jpg", "ann", 1),
        ("b/c.jpg", "ben", 5),
        ("no.jpg", "ann", 3),
    ]
    assert counted(folder) == {"not_listed": 1, "unreadable": 1}
    assert folder.read(found["b/c.jpg"].url).body == files["album/b/c.jpg"]
    assert folder.read(found["no.jpg"].url) == Fetched(Status.GONE)
    zipped(tmp_path / "album.zip", {"photos.csv": b"file,latitude,longitude\na.jpg,1\n"})
    assert 'photos.csv line 2: longitude ""' in message(tmp_path / "album.zip")


def marked(path: Path, encrypted=False, **directory: int) -> Path:
    """The zip with its directory's (or all) entries changed, as a hostile or damaged one has."""
    body = bytearray(path.read_bytes())
    at = -1
    while (at := body.find(b"PK\x01\x02", at + 1)) >= 0:
        if encrypted:
            body[at + 8] |= 1
        for name, value in directory.items():
            offset = {"crc": 16, "size": 24, "offset": 42}[name]
            struct.pack_into("<L", body, at + offset, value)
    path.write_bytes(body)
    return path


def test_an_encrypted_zip_has_a_sentence(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.jpg": photo(45, 9), "b.jpg": photo(45, 9)})
    assert "a.zip is encrypted; unpack it" in message(marked(path, encrypted=True))


def test_what_is_no_zip_has_a_sentence(tmp_path):
    assert "no whole zip file" in message(write(tmp_path / "a.zip", b"no zip"))
    assert "no whole zip file" in message(write(tmp_path / "b.zip", b""))
    whole = zipped(tmp_path / "c.zip", {f"{each}.jpg": photo(45, 9) for each in range(9)})
    for length in range(0, whole.stat().st_size, 97):
        path = write(tmp_path / "d.zip", whole.read_bytes()[:length])
        assert "no whole zip file" in message(path)
    assert "is not a directory" in message(tmp_path / "absent.zip")
    empty = zipped(tmp_path / "e.zip", {})
    assert "no photos with a position" in message(empty)


@given(st.integers(0, 10**6), st.integers(0, 255))
@example(5268, 0)  # a name that ends before it begins
def test_a_damaged_zip_gives_a_sentence_or_what_it_held(tmp_path_factory, at, value):
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    held = {"a.jpg": photo(45, 9), "b/c.jpg": photo(46, 10, colour="navy")}
    body = bytearray(zipped(path, held).read_bytes())
    body[at % len(body)] = value
    path.write_bytes(body)
    folder = Folder(path)
    try:
        found = list(folder.candidates())
    except InputError as error:
        assert "\n" not in str(error)
        return
    for each in found:
        assert folder.read(each.url).body in held.values()


def test_a_damaged_member_is_counted_and_the_others_are_used(tmp_path):
    body = photo(45, 9)
    path = zipped(tmp_path / "a.zip", {"a.jpg": body, "b.jpg": body}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.find(body) + 300] ^= 1
    path.write_bytes(content)
    folder = Folder(path)
    assert list(by_id(folder)) == ["b.jpg"]
    assert counted(folder) == {"unreadable": 1}


@pytest.mark.parametrize("name", ["", ".", "./.", "//"])
def test_a_member_without_a_name_is_unreadable(tmp_path, name):
    path = zipped(tmp_path / "a.zip", {"a.jpg": photo(45, 9)})
    with zipfile.ZipFile(path, "a") as more:
        more.writestr(zipfile.ZipInfo("Y"), b"")
        more.filelist[-1].filename = name
    folder = Folder(path)
    assert list(by_id(folder)) == ["a.jpg"]
    assert counted(folder) == ({} if name == "//" else {"unreadable": 1}), "// is a directory"


def test_names_that_lead_out_of_a_zip_do_no_harm(tmp_path):
    secret = write(tmp_path / "secret.jpg", photo(45, 9))
    files = {"../secret.jpg": photo(1, 1), str(secret): photo(1, 1), "a/../../x.jpg": photo(1, 1)}
    folder = Folder(zipped(tmp_path / "in/a.zip", files | {"b.jpg": photo(46, 10)}))
    assert list(by_id(folder)) == ["b.jpg"]
    assert counted(folder) == {"unreadable": 3}
    assert secret.read_bytes() == photo(45, 9)


def test_a_member_that_grows_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 50_000)
    path = zipped(tmp_path / "a.zip", {"bomb.jpg": bytes(10_000_000), "a.jpg": photo(45, 9)})
    folder = Folder(path)
    assert list(by_id(folder)) == ["a.jpg"] == list(archive.in_zip(path).found)
    assert counted(folder) == {"unreadable": 1}
    # One that lies about its size is unpacked no further than that.
    path = zipped(tmp_path / "b.zip", {"bomb.jpg": bytes(10_000_000)})
    inflated = archive._member(marked(path, size=1000) / "bomb.jpg", 0, 1000)
    assert inflated == bytes(1000)
    assert "no photos with a position" in message(path)
    assert archive.read(path, "bomb.jpg#crc32=0&size=99999&offset=0") == Fetched(Status.FAILED)


def test_members_are_read_from_many_threads_at_once(tmp_path):
    files = {f"{each}.jpg": encoded(picture(60, 40, seed=each)) for each in range(40)}
    path = zipped(tmp_path / "a.zip", files)
    found = archive.in_zip(path)
    folder = Folder(path)

    async def all_of_them() -> list[Fetched]:
        urls = [found.address(name) for name in files] * 5
        return await asyncio.gather(*(folder.fetch(url, None) for url in urls))

    assert [each.body for each in asyncio.run(all_of_them())] == list(files.values()) * 5


def test_a_zip_behind_other_bytes_and_with_other_methods(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.jpg": photo(45, 9)})
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    (one,) = Folder(path).candidates()
    assert Folder(path).read(one.url) == Fetched(Status.OK, photo(45, 9))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_BZIP2) as more:
        more.writestr("b.jpg", photo(45, 9))
    folder = Folder(path)
    assert list(by_id(folder)) == ["a.jpg"]
    assert counted(folder) == {"unreadable": 1}


# Of all


def test_a_file_of_another_kind_has_a_sentence(tmp_path):
    assert "is not a directory" in message(write(tmp_path / "info.txt", yfcc(1)))
    table = write(tmp_path / "photos.csv", "file,latitude,longitude\na.jpg,1,2\n")
    assert message(table).endswith("or a folder")


def test_names_of_sets(tmp_path):
    for name in ("osv5m/test.csv", "im2gps3ktest.zip", "im2gps3k_places365.csv"):
        write(tmp_path / name, "")
    (tmp_path / "photos.zip").mkdir()
    names = ("osv5m/test.csv", "im2gps3ktest.zip", "im2gps3k_places365.csv", "osv5m", "photos.zip")
    assert [name_of(tmp_path / name) for name in names] == [
        *("osv5m", "im2gps3ktest", "im2gps3k", "osv5m", "photos.zip")
    ]


def test_a_set_is_packed_as_a_benchmark(tmp_path):
    files = {f"00/{each}.jpg": encoded(picture(90, 60, seed=each)) for each in range(1, 5)}
    files["00/3.jpg"] = files["00/3.jpg"][:500]
    zipped(tmp_path / "osv5m/images/test/00.zip", files)
    table = osv(tmp_path / "osv5m", [row(each) for each in range(1, 9)], name="test")
    packed = benchmarks.read_folder(table, tmp_path / "packed", images.pack_side(32))
    assert packed["photo_id"].tolist() == ["1", "2", "3", "4"]
    assert packed["status"].tolist() == ["ok", "ok", "unreadable", "ok"]
    assert set(packed["owner"]) == {"111336221091714"}
    assert (packed["width"] > 0).sum() == 3
