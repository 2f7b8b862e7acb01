"""What became of a photo: the word that stands in the indexes of photos."""

from enum import StrEnum


class Status(StrEnum):
    """What became of a photo. Each ends in exactly one, when it is fetched and when packed."""

    OK = "ok"
    GONE = "gone"  # the source says it no longer exists; final
    PLACEHOLDER = "placeholder"  # a picture that says there is no picture
    NOT_AN_IMAGE = "not_an_image"
    TOO_SMALL = "too_small"
    DUPLICATE = "duplicate"  # the same bytes as another photo
    FAILED = "failed"  # could not be had this time; tried again next time
    UNREADABLE = "unreadable"  # fetched, and found damaged when it was packed
