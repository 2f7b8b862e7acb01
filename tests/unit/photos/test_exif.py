import io
import math
import struct
import warnings
import zlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from nogps.photos.exif import Metadata, is_panorama, read_metadata

# Pillow remarks on damaged headers.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")

ROME = {
    GPS.GPSLatitudeRef: "N",
    GPS.GPSLatitude: (41.0, 51.18, 0.0),
    GPS.GPSLongitudeRef: "E",
    GPS.GPSLongitude: (12.0, 29.33, 0.0),
}
ROME_DEGREES = (41 + 51.18 / 60, 12 + 29.33 / 60)


def exif_block(gps=None, camera=None, main=None):
    exif = Image.Exif()
    for tag, value in (main or {}).items():
        exif[tag] = value
    if gps:
        exif[IFD.GPSInfo] = gps
    if camera:
        exif[IFD.Exif] = camera
    return exif.tobytes()


def picture(format="JPEG", **options):
    body = io.BytesIO()
    Image.new("RGB", (16, 12), "olive").save(body, format, **options)
    return body.getvalue()


def jpeg(gps=None, camera=None, main=None):
    return picture(exif=exif_block(gps, camera, main))


def with_comments(body, *comments):
    segments = b"".join(
        b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment for comment in comments
    )
    return body[:2] + segments + body[2:]


def rational(numerator, denominator=1):
    return IFDRational(numerator, denominator)


class Tags:
    """A big-endian EXIF block by hand, for what Pillow refuses to write."""

    def __init__(self, gps, main=()):
        # Main directory at 8, GPS directory after it, values at the end.
        main = [*main, (0x8825, 4, 1, None)]
        gps_at = 8 + 2 + 12 * len(main) + 4
        self.values_at = gps_at + 2 + 12 * len(gps) + 4
        self.values = b""
        main[-1] = (0x8825, 4, 1, struct.pack(">L", gps_at))
        directories = self.directory(main) + self.directory(gps)
        self.block = b"MM\0*" + struct.pack(">L", 8) + directories + self.values

    def directory(self, tags):
        entries = b""
        for tag, kind, count, value in tags:
            if len(value) > 4:
                offset = self.values_at + len(self.values)
                self.values += value
                value = struct.pack(">L", offset)
            entries += struct.pack(">HHL", tag, kind, count) + value.ljust(4, b"\0")
        return struct.pack(">H", len(tags)) + entries + bytes(4)


def raw_gps(latitude=b"N\0", longitude=b"E\0", signed=False, degrees=(45, 9)):
    """One rational each, in whole degrees."""
    kind, code = (10, ">ll") if signed else (5, ">LL")
    return [
        (1, 2, len(latitude), latitude),
        (2, kind, 1, struct.pack(code, degrees[0], 1)),
        (3, 2, len(longitude), longitude),
        (4, kind, 1, struct.pack(code, degrees[1], 1)),
    ]


def in_jpeg(block):
    return picture(exif=b"Exif\0\0" + block)


def close(position, expected):
    return position == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        ((41.0, 51.18, 0.0), (12.0, 29.33, 0.0), ROME_DEGREES),
        (
            (43.0, 28.0, 2.814),
            (11.0, 53.0, 6.456),
            (43 + 28 / 60 + 2.814 / 3600, 11 + 53 / 60 + 6.456 / 3600),
        ),
        ((41.853, 0.0, 0.0), (12.48875, 0.0, 0.0), (41.853, 12.48875)),
        ((41.0, 30.0), (12.0, 15.0), (41.5, 12.25)),
        (rational(415, 10), rational(1225, 100), (41.5, 12.25)),
        ((0.0, 0.0, 0.0), (6.0, 30.0, 0.0), (0.0, 6.5)),
        ((90.0, 0.0, 0.0), (180.0, 0.0, 0.0), (90.0, 180.0)),
    ],
)
def test_degrees_minutes_seconds(latitude, longitude, expected):
    gps = ROME | {GPS.GPSLatitude: latitude, GPS.GPSLongitude: longitude}
    assert close(read_metadata(jpeg(gps)).position, expected)


@pytest.mark.parametrize(
    ("ref_lat", "ref_lng", "sign_lat", "sign_lng"),
    [
        ("N", "E", 1, 1),
        ("S", "W", -1, -1),
        ("S", "E", -1, 1),
        ("n", "w", 1, -1),
        ("s ", " e", -1, 1),
        ("South", "West", -1, -1),
    ],
)
def test_hemispheres(ref_lat, ref_lng, sign_lat, sign_lng):
    gps = ROME | {GPS.GPSLatitudeRef: ref_lat, GPS.GPSLongitudeRef: ref_lng}
    expected = (sign_lat * ROME_DEGREES[0], sign_lng * ROME_DEGREES[1])
    assert close(read_metadata(jpeg(gps)).position, expected)


@pytest.mark.parametrize("missing", list(ROME))
def test_half_a_position_is_none(missing):
    assert read_metadata(jpeg(ROME)).position is not None
    gps = {tag: value for tag, value in ROME.items() if tag != missing}
    assert read_metadata(jpeg(gps)).position is None


@pytest.mark.parametrize("reference", ["\0", "X", "E", " "])
def test_an_unknown_hemisphere_is_no_position(reference):
    gps = ROME | {GPS.GPSLatitudeRef: reference}
    assert read_metadata(jpeg(gps)).position is None


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        ((rational(41), rational(51, 0), rational(0)), (12.0, 29.0, 0.0)),
        ((rational(0, 0),) * 3, (rational(0, 0),) * 3),
        ((41.0, 51.0, 0.0), (rational(12), rational(29), rational(0, 0))),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((91.0, 0.0, 0.0), (12.0, 0.0, 0.0)),
        ((90.0, 0.0, 0.1), (12.0, 0.0, 0.0)),
        ((41.0, 0.0, 0.0), (180.0, 1.0, 0.0)),
        ((41.0, 1.0, 1.0, 1.0), (12.0, 0.0, 0.0)),
    ],
)
def test_no_position(latitude, longitude):
    gps = ROME | {GPS.GPSLatitude: latitude, GPS.GPSLongitude: longitude}
    assert read_metadata(jpeg(gps)).position is None


def test_signed_degrees_keep_their_sign():
    signed = Tags(raw_gps(signed=True, degrees=(-33, -70)))
    assert read_metadata(in_jpeg(signed.block)).position == (-33, -70)
    both = Tags(raw_gps(b"S\0", b"W\0", signed=True, degrees=(-33, -70)))
    assert read_metadata(in_jpeg(both.block)).position == (-33, -70)


@given(
    latitude=st.fractions(-90, 90, max_denominator=10**6),
    longitude=st.fractions(-180, 180, max_denominator=10**6),
)
@settings(max_examples=60)
def test_round_trip(latitude, longitude):
    def split(angle: Fraction):
        degrees, rest = divmod(abs(angle), 1)
        minutes, rest = divmod(rest * 60, 1)
        return (
            rational(int(degrees)),
            rational(int(minutes)),
            rational(round(rest * 60 * 10**6), 10**6),
        )

    gps = {
        GPS.GPSLatitudeRef: "S" if latitude < 0 else "N",
        GPS.GPSLatitude: split(latitude),
        GPS.GPSLongitudeRef: "W" if longitude < 0 else "E",
        GPS.GPSLongitude: split(longitude),
    }
    position = read_metadata(jpeg(gps)).position
    if max(abs(latitude), abs(longitude)) * 3600 * 10**6 < 1:
        assert position is None
    else:
        assert close(position, (float(latitude), float(longitude)))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "HEIF", "TIFF", "MPO"])
def test_formats_by_content_from_bytes_and_paths(format, tmp_path):
    block = exif_block(ROME, {Base.DateTimeOriginal: "2011:05:06 09:59:48"})
    body = picture(format, exif=block)
    path = tmp_path / "called.jpg"
    path.write_bytes(body)
    for photo in (body, path):
        found = read_metadata(photo)
        assert close(found.position, ROME_DEGREES)
        assert found.taken_at == "2011-05-06T09:59:48"


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_png_with_exif_behind_the_pixels():
    plain = picture("PNG")
    end = plain.index(b"IEND") - 4
    late = plain[:end] + png_chunk(b"eXIf", exif_block(ROME)[6:]) + plain[end:]
    assert close(read_metadata(late).position, ROME_DEGREES)


def test_png_with_a_raw_exif_profile():
    block = exif_block(ROME)
    profile = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    chunk = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))
    plain = picture("PNG")
    assert close(read_metadata(plain[:33] + chunk + plain[33:]).position, ROME_DEGREES)


@pytest.mark.parametrize("exif", [{}, {"exif": exif_block(ROME)}])
def test_pixels_of_a_png_are_never_decoded(exif, monkeypatch):
    def refuse(self):
        pytest.fail("decoded the pixels")

    body = picture("PNG", **exif)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    assert (read_metadata(body).position is None) == (not exif)


def test_a_header_that_claims_a_huge_picture_is_read():
    body = bytearray(jpeg(ROME))
    frame = body.index(b"\xff\xc0")
    body[frame + 5 : frame + 9] = struct.pack(">HH", 30000, 30000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert close(read_metadata(bytes(body)).position, ROME_DEGREES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2008:10:22 16:28:39", "2008-10-22T16:28:39"),
        (" 2008:10:22 16:28:39 ", "2008-10-22T16:28:39"),
        ("0000:00:00 00:00:00", ""),
        ("    :  :     :  :  ", ""),
        ("2008:13:22 16:28:39", ""),
        ("2008", ""),
    ],
)
def test_taken_at(text, expected):
    assert read_metadata(jpeg(camera={Base.DateTimeOriginal: text})).taken_at == expected


@pytest.mark.parametrize(
    ("direction", "reference", "expected"),
    [
        (177.5, "T", 177.5),
        (177.5, "t", 177.5),
        (0.0, "T", 0.0),
        (360.0, "T", 0.0),
        (361.0, "T", None),
        (rational(0, 0), "T", None),
        (46.5, "M", None),
        (46.5, "\0", None),
        (46.5, None, None),
        (None, "T", None),
    ],
)
def test_heading_is_true_north(direction, reference, expected):
    tags = {GPS.GPSImgDirection: direction, GPS.GPSImgDirectionRef: reference}
    gps = ROME | {tag: value for tag, value in tags.items() if value is not None}
    found = read_metadata(jpeg(gps))
    assert found.heading == expected
    assert close(found.position, ROME_DEGREES)


# Broken on purpose. `offset` counts from the start of the EXIF block ("MM" or "II").


def test_a_wrong_offset_loses_only_its_own_tag():
    far = struct.pack(">L", 0x7FFFFFF0)
    description = (0x010E, 2, 40, far)
    assert read_metadata(in_jpeg(Tags(raw_gps(), [description]).block)).position == (45, 9)
    datum = (18, 2, 40, far)
    tags = raw_gps()
    assert read_metadata(in_jpeg(Tags([*tags[:1], datum, *tags[1:]]).block)).position == (45, 9)
    latitude = (2, 5, 1, far)
    assert read_metadata(in_jpeg(Tags([tags[0], latitude, *tags[2:]]).block)).position is None


def test_degrees_that_are_text_are_no_position():
    latitude = (2, 2, 8, b"45 deg N")
    tags = raw_gps()
    assert read_metadata(in_jpeg(Tags([tags[0], latitude, *tags[2:]]).block)).position is None


def test_a_directory_that_claims_too_many_tags_is_read_as_far_as_it_goes():
    block = bytearray(Tags(raw_gps()).block)
    gps_at = 8 + 2 + 12 + 4
    block[gps_at : gps_at + 2] = b"\x7f\xff"
    assert read_metadata(in_jpeg(bytes(block))).position == (45, 9)


@pytest.mark.parametrize("order", [b"XX\0*", b"II\0*", b"\0\0\0\0", b""])
def test_a_wrong_byte_order_is_no_position(order):
    block = Tags(raw_gps()).block
    assert read_metadata(in_jpeg(order + block[4:])) == Metadata()


@pytest.mark.parametrize("pointer", [0, 8, 10**6, 2**32 - 1])
def test_a_gps_pointer_into_nowhere_is_no_position(pointer):
    block = bytearray(Tags(raw_gps()).block)
    block[18:22] = struct.pack(">L", pointer)
    assert read_metadata(in_jpeg(bytes(block))).position is None


def test_a_broken_camera_directory_leaves_the_position():
    pointer = (0x8769, 9, 1, struct.pack(">l", -1))
    body = in_jpeg(Tags(raw_gps(), [pointer]).block)
    assert read_metadata(body) == Metadata(position=(45, 9))


def test_truncated_or_garbled_exif_never_raises():
    block = exif_block(ROME, {Base.DateTimeOriginal: "2011:05:06 09:59:48"})
    whole = read_metadata(picture(exif=block)).position
    seen = set()
    for length in range(6, len(block)):
        position = read_metadata(picture(exif=block[:length])).position
        assert position is None or all(map(math.isfinite, position))
        seen.add(position)
    assert None in seen
    for at in range(6, len(block)):
        garbled = block[:at] + bytes([block[at] ^ 0xFF]) + block[at + 1 :]
        position = read_metadata(picture(exif=garbled)).position
        seen.add(position)
    assert whole in seen


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_noise_never_raises(noise):
    assert read_metadata(noise).position is None
    read_metadata(picture(exif=b"Exif\0\0MM\0*" + noise))


def test_no_image_is_empty_and_no_file_raises(tmp_path):
    assert read_metadata(b"") == read_metadata(b"<html>") == Metadata()
    assert read_metadata(picture()) == Metadata()
    with pytest.raises(OSError, match="absent"):
        read_metadata(tmp_path / "absent.jpg")


FIELDS = [
    b"photo: 97344248",
    b"owner: 19543165@N00",
    b"title: Caf\xe9: le soir",
    b"latitude: 48.853",
    b"longitude: -2.3488",
    b"accuracy: 16",
]


@pytest.mark.parametrize(
    "comments",
    [
        FIELDS,
        [b"\n".join(FIELDS)],
        [b"\r\n".join(FIELDS) + b"\r\n\0"],
        [field + b"\0" for field in FIELDS],
        [field + b"\0\x80\x01latitude: 1\0longitude: 1" for field in FIELDS],
        [field.replace(b": ", b" :  ").upper() for field in FIELDS],
        ["title: Z\u00fcrich \u65e5\u672c".encode(), *FIELDS],
    ],
)
def test_comments_of_im2gps(comments):
    found = read_metadata(with_comments(picture(), *comments))
    assert found == Metadata(position=(48.853, -2.3488), owner="19543165@N00")


def test_the_comment_wins_if_it_has_a_whole_position():
    found = read_metadata(with_comments(jpeg(ROME), *FIELDS))
    assert found.position == (48.853, -2.3488)


@pytest.mark.parametrize(
    "comments",
    [
        [b"latitude: 48.853"],
        [b"latitude: 48.853", b"longitude: n/a"],
        [b"latitude: 0.0", b"longitude: 0"],
        [b"latitude: nan", b"longitude: 1"],
        [b"latitude: 91", b"longitude: 1"],
        [b"Created with GIMP"],
        [b""],
    ],
)
def test_without_a_whole_position_in_the_comment_exif_speaks(comments):
    assert close(read_metadata(with_comments(jpeg(ROME), *comments)).position, ROME_DEGREES)


def test_comments_behind_broken_exif_still_count():
    body = with_comments(in_jpeg(b"XXXXXXXX"), *FIELDS)
    assert read_metadata(body).position == (48.853, -2.3488)


# Panoramas


def with_xmp(fields: str, format="JPEG") -> bytes:
    description = (
        f'<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" {fields}'
    )
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{description}</rdf:RDF></x:xmpmeta>'
    if format == "PNG":
        chunk = PngInfo()
        chunk.add_itxt("XML:com.adobe.xmp", xmp)
        return picture(format, pnginfo=chunk)
    if format == "TIFF":
        return picture(format, tiffinfo={700: xmp.encode()})
    return picture(format, xmp=xmp.encode())


SPHERE = 'GPano:ProjectionType="equirectangular"'
ELEMENTS = """>
  <GPano:UsePanoramaViewer>True</GPano:UsePanoramaViewer>
  <GPano:ProjectionType> equirectangular </GPano:ProjectionType>
  <GPano:FullPanoWidthPixels>{}</GPano:FullPanoWidthPixels>
  <GPano:CroppedAreaImageWidthPixels>{}</GPano:CroppedAreaImageWidthPixels>
  </rdf:Description>"""


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "HEIF", "TIFF"])
def test_a_panorama_is_one_in_every_format(format):
    assert is_panorama(with_xmp(f"{SPHERE}/>", format))
    assert not is_panorama(picture(format))


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ("GPano:ProjectionType = 'Equirectangular'/>", True),
        (ELEMENTS.format(5376, 5376), True),
        (ELEMENTS.format(9000, 2700), False),  # a phone's, of 108 degrees
        (f'{SPHERE} GPano:FullPanoWidthPixels="9000"/>', True),
        (
            f'{SPHERE} GPano:FullPanoWidthPixels="9000" GPano:CroppedAreaImageWidthPixels="900"/>',
            False,
        ),
        (f'{SPHERE} GPano:CroppedAreaImageHeightPixels="900"/>', True),
        ('GPano:ProjectionType="cylindrical"/>', False),
        ('GPano:StitchingSoftware="equirectangular"/>', False),
        ("/>", False),
    ],
)
def test_a_panorama_is_what_its_xmp_calls_one(fields, answer):
    assert is_panorama(with_xmp(fields)) is answer


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_damaged_xmp_is_as_good_as_none(at, byte):
    body = bytearray(with_xmp(f"{SPHERE}/>"))
    body[at % len(body)] = byte
    assert is_panorama(bytes(body)) in (True, False)
    assert is_panorama(bytes(body[: at % 200])) is False
