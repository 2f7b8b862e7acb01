"""Which files are photos, by their names."""

import os
import posixpath
from pathlib import Path, PurePosixPath

EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif", ".tif", ".tiff"}


def is_image(name: str) -> bool:
    """Whether a file of this name is a photo, and not a hidden one."""
    return not name.startswith(".") and posixpath.splitext(name)[1].lower() in EXTENSIONS


def image_files(folder: Path) -> tuple[list[str], int]:
    """Paths of all image files, relative to the folder; and how many directories are unreadable.

    Hidden files and directories are skipped; links to directories are not followed.
    """
    files: list[str] = []
    errors: list[OSError] = []
    for directory, subdirectories, names in os.walk(folder, onerror=errors.append):
        subdirectories[:] = [name for name in subdirectories if not name.startswith(".")]
        below = PurePosixPath(Path(directory).relative_to(folder).as_posix())
        files += [str(below / name) for name in names if is_image(name)]
    return files, len(errors)
