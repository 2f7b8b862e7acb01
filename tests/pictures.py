"""Pictures as tests want them: drawn, encoded, turned, strange."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
    b'GPano:ProjectionType="equirectangular" GPano:FullPanoWidthPixels="%d"/></rdf:RDF></x:xmpmeta>'
)


def picture(width=120, height=80, mode="RGB", seed=0, detail=6) -> Image.Image:
    """Smooth random colours, so that JPEG changes little."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, size=(detail, detail * 3 // 2, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


def stored(orientation: int, image: Image.Image) -> bytes:
    """A JPEG that is to be seen as `image`, its pixels turned as a camera turns them."""
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = image if orientation == 1 else image.transpose(turned[orientation])
    return encoded(image, exif=exif)


def sixteen_bits(image: Image.Image) -> bytes:
    """A PNG with 16 bits a channel, which Pillow does not write."""
    rows = np.asarray(image).astype(">u2") * 257
    scanlines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", *image.size, 16, 2, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(scanlines)), (b"IEND", b"")):
        check = struct.pack(">I", zlib.crc32(kind + data))
        body += struct.pack(">I", len(data)) + kind + data + check
    return body


def animated(kind: str) -> bytes:
    others = [picture(seed=each) for each in (1, 2)]
    return encoded(picture(), kind, save_all=True, append_images=others, duration=100)


STRANGE = {
    "16-bit.png": lambda: sixteen_bits(picture()),
    "animated.gif": lambda: animated("GIF"),
    "animated.webp": lambda: animated("WEBP"),
    "animated.png": lambda: animated("PNG"),
    "cmyk.jpg": lambda: encoded(picture(mode="CMYK"), quality=95),
    "cmyk.tif": lambda: encoded(picture(mode="CMYK"), "TIFF"),
    "palette.png": lambda: encoded(picture().quantize(256), "PNG"),
    "phone.heic": lambda: encoded(picture(), "HEIF"),
    "progressive.jpg": lambda: encoded(picture(), progressive=True),
}


def photo(latitude=None, longitude=None, format="JPEG", colour="olive"):
    """A photo's bytes, with northern and eastern EXIF where a position is given."""
    exif = Image.Exif()
    if latitude is not None:
        exif[IFD.GPSInfo] = {
            GPS.GPSLatitudeRef: "N",
            GPS.GPSLatitude: (float(latitude), 0.0, 0.0),
            GPS.GPSLongitudeRef: "E",
            GPS.GPSLongitude: (float(longitude), 0.0, 0.0),
            GPS.GPSImgDirectionRef: "T",
            GPS.GPSImgDirection: 90.0,
        }
        exif[IFD.Exif] = {Base.DateTimeOriginal: "2011:05:06 09:59:48"}
    body = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(body, format, exif=exif)
    return body.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
