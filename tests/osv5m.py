"""OpenStreetView-5M as it is handed out, made small."""

import csv
import zipfile
from pathlib import Path


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path


HEADER = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,lon_bin,region,"
    "creator_username,creator_id"
)


def row(number, latitude="-22.5", longitude="17.25", **more) -> dict[str, str]:
    """A row of OSV-5M, in Namibia."""
    return {
        "id": str(number),
        "latitude": latitude,
        "longitude": longitude,
        "thumb_original_url": "",
        "country": "NA",
        "sequence": f"walk-{number}",
        "captured_at": "1667558866000",
        "lon_bin": "(0, 8)",
        "region": "",
        "creator_username": "roadroid",
        "creator_id": "111336221091714.0",
    } | more


def osv(root: Path, rows: list[dict], columns=HEADER, name="train") -> Path:
    table = root / f"{name}.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, columns.split(","), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return table
