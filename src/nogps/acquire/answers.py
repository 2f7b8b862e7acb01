"""Answers that are kept on the disk, each in a small file, so that nothing is asked twice."""

import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from nogps.base.files import replacing


class AnswerCache:
    """Values of JSON by what was asked; in memory is none of them. Without a folder, nothing."""

    def __init__(self, folder: Path | None):
        self._folder = folder

    def get(self, asked: Any) -> Any:
        """What was answered, or None."""
        if self._folder is None:
            return None
        try:
            return json.loads(gzip.decompress(self._path(asked).read_bytes()))
        except (OSError, EOFError, zlib.error, ValueError):
            return None  # never, or half of it reached the disk before the power went

    def put(self, asked: Any, answered: Any) -> None:
        """Keep an answer."""
        if self._folder is None:
            return
        text = json.dumps(answered, separators=(",", ":"))
        with replacing(self._path(asked), durable=False) as temporary:
            temporary.write_bytes(gzip.compress(text.encode(), mtime=0))

    def _path(self, asked: Any) -> Path:
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest[:32]}.json.gz"
