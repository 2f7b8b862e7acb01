"""Images in folders and in zips, alike: which there are, and their bytes.

Nothing is unpacked. An address is a path below a root, in which a zip counts as a folder; behind
a # it says which bytes are meant: `a.jpg#sha256=...`, or for a member of a zip what the zip's
directory says of it, `00.zip/a.jpg#crc32=...&size=...&offset=...`, so that nobody need read it to
list it.
"""

import csv
import difflib
import hashlib
import io
import os
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from nogps.acquire.candidate import Candidate, Fetched, Status
from nogps.base.errors import InputError
from nogps.photos.exif import Metadata, read_metadata
from nogps.photos.files import image_files, is_image

TABLES = {".csv", ".txt"}  # endings
LARGEST = 100_000_000  # bytes of a zip's member; what claims to be more is not read
ENCRYPTED = 1  # a flag of a member
LOCAL_SIGNATURE = b"PK\3\4"
LOCAL_HEADER = struct.Struct("<4s4xH16xHH")  # signature, method, lengths of name and extra field
DAMAGE = (zipfile.BadZipFile, struct.error, EOFError, RuntimeError, OverflowError, ValueError)


@dataclass
class FolderCounts:
    """What a listing left out or could not read."""

    without_position: int = 0  # photos
    not_listed: int = 0  # photos that the table does not name
    not_there: int = 0  # rows whose photo is not there; of a photos.csv they are candidates
    repeated: int = 0  # rows that name a photo again
    unreadable: int = 0  # files and directories; files missing that photos.csv names, too


class Member(NamedTuple):
    """Where a file lies in a zip and what it holds, as the zip's directory says."""

    offset: int
    size: int  # unpacked, bytes
    crc32: int


@dataclass(frozen=True)
class Images:
    """The images below a folder or in a zip, and the tables directly in it."""

    root: Path
    found: dict[str, Member | None]  # by name: the path below root, which a zip's base precedes
    tables: dict[str, Member | None]
    unreadable: int = 0  # directories, and members of zips
    base: str = ""  # the one folder that all of a zip is in

    def address(self, name: str) -> str | None:
        """What `read` takes for these very bytes; None if they cannot be read."""
        member = self.found.get(name)
        if member:
            return address(self.base + name, member)
        with suppress(OSError), (self.root / name).open("rb") as photo:
            digest = hashlib.file_digest(photo, "sha256").hexdigest()
            return f"{quoted(name)}#sha256={digest}"
        return None

    def inspect(self, name: str) -> tuple[str | None, Metadata]:
        """The address of an image and what it says of itself; None if it cannot be read."""
        found = self.address(name)
        photo: Path | bytes = self.root / name
        if found and self.found.get(name):
            fetched = read(self.root, found)
            photo, found = fetched.body, found if fetched.status is Status.OK else None
        with suppress(OSError):
            if found:
                return found, read_metadata(photo)
        return None, Metadata()

    def open_table(self, name: str) -> BinaryIO:
        """A table's bytes; OSError or InputError where they cannot be had."""
        member = self.tables[name]
        if member is None:
            return (self.root / name).open("rb")
        fetched = read(self.root, address(self.base + name, member))
        if fetched.status is not Status.OK:
            raise InputError(
                f"folder.path: {name} in {self.root} is damaged, encrypted, too large or packed "
                "by bzip2 or LZMA; unpack the zip and name the folder"
            )
        return io.BytesIO(fetched.body)

    @contextmanager
    def csv_table(
        self, name: str, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
    ) -> Iterator[csv.DictReader]:
        """A table's rows; InputError where it lacks a column or is not CSV in UTF-8."""
        table = self.root / name
        try:
            with io.TextIOWrapper(self.open_table(name), "utf-8-sig", newline="") as lines:
                reader = csv.DictReader(lines, strict=True)
                _check_columns(table, reader.fieldnames or [], required, optional)
                yield reader
        except OSError as error:
            raise InputError(
                f"{table}: cannot be read ({error.strerror}); check that it is a file you may read"
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(f"{table}: is not UTF-8; save it as CSV in UTF-8") from error
        except csv.Error as error:
            raise InputError(
                f"{table}: the row after line {reader.line_num} is not CSV ({error}); "
                "check its quotes"
            ) from error


def _check_columns(
    table: Path, columns: Sequence[str], required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    unknown = {name.lower(): name for name in columns if name not in required + optional}
    for column in required:
        if column not in columns:
            near = difflib.get_close_matches(column.lower(), unknown, n=1, cutoff=0.4)
            remedy = f'rename "{unknown[near[0]]}"' if near else "add it"
            raise InputError(
                f'{table}: there is no column "{column}" among "{", ".join(columns)}"; {remedy}'
            )


def in_folder(folder: Path) -> Images:
    """All images below a folder. Hidden files and directories are skipped, links not followed."""
    files, unreadable = image_files(folder)
    tables = [each.name for each in folder.iterdir() if each.suffix.lower() in TABLES]
    return Images(folder, dict.fromkeys(files), dict.fromkeys(tables), unreadable)


def in_zip(path: Path) -> Images:
    """All images in a zip as of `members`; when it has a single folder, names begin below that."""
    photos = members(path)
    names = (*photos.found, *photos.tables)
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    base = f"{tops.pop()}/" if len(tops) == 1 and tops != {""} else ""
    found = {name.removeprefix(base): member for name, member in photos.found.items()}
    tables = {name.removeprefix(base): member for name, member in photos.tables.items()}
    tables = {name: member for name, member in tables.items() if "/" not in name}
    return Images(path, found, tables, photos.unreadable, base)


def beside(tables: Images, wanted: Iterable[str]) -> Images:
    """The images that lie in a table's folder, in folders directly in it and in zips there.

    Only those of them are looked at that hold one of the files `wanted`, which have no path:
    others that lie there are other sets'. Raises InputError as `in_zip` does.
    """
    folder, wanted, found = tables.root, frozenset(wanted), []
    inside = sorted(each for each in folder.iterdir() if each.is_dir() and each.name[0] != ".")
    for place in (folder, *inside):
        names = sorted(each.name for each in place.iterdir() if is_image(each.name))
        if not wanted.isdisjoint(names):
            found += [(place / name).relative_to(folder).as_posix() for name in names]
    return with_zips(Images(folder, dict.fromkeys(found), {}), wanted)


def with_zips(photos: Images, wanted: Iterable[str]) -> Images:
    """The images of a folder and of the zips directly in it that hold one of the files `wanted`."""
    wanted, found, unreadable = frozenset(wanted), dict(photos.found), photos.unreadable
    for path in sorted(photos.root.glob("[!.]*.zip")):
        inside = members(path)
        if not wanted.isdisjoint(PurePosixPath(name).name for name in inside.found):
            found |= {f"{path.name}/{name}": member for name, member in inside.found.items()}
            unreadable += inside.unreadable
    return replace(photos, found=found, unreadable=unreadable)


def members(path: Path) -> Images:
    """The images of a zip and its tables, by their paths in it.

    Hidden ones and macOS's own are skipped. Encrypted ones, those that claim more than LARGEST,
    those whose names lead out of the zip or are none are unreadable.
    """
    found: dict[str, Member | None] = {}
    tables: dict[str, Member | None] = {}
    unreadable, encrypted = 0, False
    for info in _directory(path):
        # Not by pathlib, which takes longer than all the rest.
        parts = [part for part in info.filename.split("/") if part not in ("", ".")]
        hidden = any(part.startswith(".") and part != ".." for part in parts)
        if info.filename.endswith("/") or hidden or "__MACOSX" in parts:
            continue
        name = "/".join(parts)
        outside = info.filename.startswith("/") or ".." in parts
        member = Member(info.header_offset, info.file_size, info.CRC)
        if not outside and posixpath.splitext(name)[1].lower() in TABLES:
            tables[name] = member
        if name and not is_image(parts[-1]):
            continue
        locked = bool(info.flag_bits & ENCRYPTED)
        encrypted |= locked
        strange = info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if not name or outside or locked or strange or info.file_size > LARGEST:
            unreadable += 1
        else:
            found[name] = member
    if encrypted and not found:
        raise InputError(
            f"folder.path: {path} is encrypted; unpack it with its password and name the folder"
        )
    return Images(path, found, tables, unreadable)


def _directory(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (OSError, *DAMAGE) as error:
        raise InputError(
            f"folder.path: {path} is no whole zip file that you may read ({error}); fetch it "
            "again, or move it away"
        ) from None


def quoted(path: str) -> str:
    """A path as it stands in an address."""
    return quote(os.fsencode(path))


def address(path: str, member: Member) -> str:
    """What `read` takes for a zip's member, given the path of it: of the zip and then in it."""
    return f"{quoted(path)}#crc32={member.crc32:08x}&size={member.size}&offset={member.offset}"


def read(root: Path, address: str) -> Fetched:
    """The bytes behind an address. Safe to call from many threads; keeps no file open.

    GONE if the file or the zip is not there; FAILED if it cannot be read or holds other bytes
    than the address says.
    """
    file, _, content = address.partition("#")
    path = root / os.fsdecode(unquote_to_bytes(file))
    says = dict(parse_qsl(content))
    try:
        if "crc32" in says:
            body = _member(path, int(says["offset"]), int(says["size"]))
        else:
            body = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Fetched(Status.GONE)
    except (OSError, zlib.error, struct.error):
        return Fetched(Status.FAILED)
    is_it = {
        "crc32": lambda: f"{zlib.crc32(body):08x}",
        "size": lambda: str(len(body)),
        "sha256": lambda: hashlib.sha256(body).hexdigest(),
    }
    same = says and all(is_it[key]() == says[key] for key in says.keys() & is_it)
    return Fetched(Status.OK, body) if same else Fetched(Status.FAILED)


def _member(path: Path, offset: int, size: int) -> bytes:
    """At most `size` unpacked bytes of the member that begins at `offset`.

    Not by zipfile, which takes the directory of each zip into memory before it reads a member:
    a hundred zips of 50,000 members are gigabytes.
    """
    archive = next((each for each in path.parents if each.is_file()), None)
    if archive is None:
        raise FileNotFoundError(path)
    with archive.open("rb") as file:
        file.seek(offset)
        header = file.read(LOCAL_HEADER.size)
        signature, method, name, extra = LOCAL_HEADER.unpack(header)
        if signature != LOCAL_SIGNATURE or size > LARGEST:
            raise OSError("there is no such member")
        file.seek(name + extra, os.SEEK_CUR)
        if method == zipfile.ZIP_STORED:
            return file.read(size)
        # Packing adds an eighth at most; 0 would be no limit to what is unpacked.
        packed = file.read(size + size // 7 + 1000)
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, max(1, size))


def on_globe(candidate: Candidate) -> bool:
    """Whether a position is one."""
    return abs(candidate.latitude) <= 90 and abs(candidate.longitude) <= 180
