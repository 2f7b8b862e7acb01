"""A list of photos and owners that must not be sampled, such as those of a benchmark."""

import re
from dataclasses import dataclass
from pathlib import Path

from nogps.acquire.candidate import Candidate
from nogps.base.errors import InputError

OWNER = re.compile(r"\d+@N\d+")  # as Flickr names people
FLICKR_NAME = re.compile(r"(\d+)_[0-9a-f]+_\d+_(\d+@N\d+)\.\w+")  # a file of Im2GPS3k: id, owner
HEADER = {"photo_id", "photo", "id", "owner", "file", "filename", "name"}


@dataclass(frozen=True)
class Excluded:
    """Photo ids and owners to leave out."""

    photo_ids: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> "Excluded":
        """From a text file.

        A line is a photo id, a Flickr owner (such as 12345678@N00), both in either order with a
        comma or blank between, or a file name of Im2GPS3k, `id_secret_server_owner.jpg`. Empty
        lines, those that begin with # and a header are skipped. InputError if it is not text.
        """
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise InputError(
                f"exclude: {path} cannot be read ({error.strerror}); name a text file, a photo id "
                "or owner a line"
            ) from None
        except UnicodeDecodeError:
            raise InputError(f"exclude: {path} is not UTF-8 text; save it as that") from None
        photo_ids: set[str] = set()
        owners: set[str] = set()
        for line in lines:
            words = [word for word in re.split(r"[\s,;]+", line.strip()) if word]
            if not words or words[0].startswith("#") or words[0].lower() in HEADER:
                continue
            owners.update(OWNER.findall(line))
            photo_ids.update(_photo_id(word) for word in words if not OWNER.fullmatch(word))
        return cls(frozenset(photo_ids), frozenset(owners))

    def without(self, found: list[Candidate]) -> list[Candidate]:
        """The photos that are left: a photo that the list names takes all of its owner along."""
        owners = (self.owners | {each.owner for each in found if self.names(each)}) - {""}
        return [each for each in found if not self.names(each) and each.owner not in owners]

    def names(self, candidate: Candidate) -> bool:
        """Whether the list names this photo, or the one on Flickr that it was."""
        return not self.photo_ids.isdisjoint({candidate.photo_id, candidate.flickr_id} - {""})


def _photo_id(word: str) -> str:
    name = FLICKR_NAME.fullmatch(word.rpartition("/")[2])
    return name[1] if name else word
