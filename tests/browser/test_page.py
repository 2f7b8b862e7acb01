"""The page in a real browser, with a model that the pipeline trained and `src/page.py` exported."""

import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from nogps.earth import geo, towns
from nogps.model.onnx_locator import OnnxLocator
from nogps.photos import images
from tests.pictures import encoded, picture
from tests.project import make_project

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="the browser tests need Debian's chromium"),
]
SIZES = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 800}}
WAIT = 60_000  # ms; nothing is measured by it
FLAGS = [
    "--no-sandbox",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("page"))
    project.stages("sample", "download", "pack", "split", "cells", "train")
    built = project.run(sys.executable, "-m", "nogps", "site", "--photos", "12", check=False)
    if "npm could not install" in built.stdout:
        pytest.skip("the packages of web/package-lock.json cannot be had here")
    assert built.returncode == 0, built.stdout
    return project


@pytest.fixture(scope="module")
def site(project) -> Path:
    return project.root / "web/site"


@pytest.fixture(scope="module")
def locator(site) -> OnnxLocator:
    return OnnxLocator.load(site / "model.onnx")


class Served:
    """A folder served as `make serve` does."""

    def __init__(self, folder: Path):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "http.server",
                "--directory",
                self.folder,
                "--bind",
                "127.0.0.1",
                str(self.port),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            try:
                with urlopen(self.url):
                    return
            except URLError:
                time.sleep(0.05)
        raise AssertionError("the server did not come up")

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def served(site):
    server = Served(site)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def launch():
    with sync_playwright() as playwright:
        yield lambda *flags: playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, *flags]
        )


@pytest.fixture(scope="module")
def chromium(launch):
    with launch() as browser:
        yield browser


@pytest.fixture
def context(chromium, served, request):
    """A visitor; whatever the test does, no request may leave the origin and no error be left."""
    size = getattr(request, "param", "phone")
    context = chromium.new_context(
        viewport=SIZES[size], has_touch=size == "phone", permissions=["camera"]
    )
    context.set_default_timeout(WAIT)
    foreign, errors = [], []
    context.on(
        "request",
        lambda each: (
            None
            if each.url.startswith((served.url, f"blob:{served.url}", "data:"))
            else foreign.append(each.url)
        ),
    )
    context.on("weberror", lambda each: errors.append(str(each.error)))
    yield context
    context.close()
    assert foreign == []
    assert errors == []


both_sizes = pytest.mark.parametrize("context", SIZES, indirect=True)


def opened(context, served, at="", state="ready") -> Page:
    page = context.new_page()
    page.goto(served.url + at)
    page.locator(f"html[data-state={state}]").wait_for()
    return page


def give(page: Page, *bodies: bytes, names=None) -> None:
    files = [
        {"name": name, "mimeType": "image/jpeg", "buffer": body}
        for name, body in zip(
            names or [f"{n}.jpg" for n in range(len(bodies))], bodies, strict=True
        )
    ]
    page.set_input_files("#files", files)


def answered(page: Page) -> str:
    page.locator("#answer[data-state=done]").wait_for()
    return page.locator("#place").inner_text()


def photos_of_game(site: Path) -> list[dict]:
    return json.loads((site / "game.json").read_text())["photos"]


def jpeg(site: Path, number: int) -> bytes:
    return (site / photos_of_game(site)[number]["file"]).read_bytes()


CONTRAST = """(selector) => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const luminance = (text) => {
        const [r, g, b] = parse(text).map((c) => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const element = document.querySelector(selector);
    const clear = (each) => parse(getComputedStyle(each).backgroundColor)[3] === 0;
    let behind = element;
    while (behind.parentElement && clear(behind)) behind = behind.parentElement;
    const ink = luminance(getComputedStyle(element).color);
    const paper = luminance(getComputedStyle(behind).backgroundColor);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""


# The site


def test_the_site_is_whole_and_small_and_names_no_other_place(site):
    described = json.loads((site / "model.json").read_text())
    assert described["bytes"] == (site / "model.onnx").stat().st_size
    assert len(described["classes"]["name"]) == len(described["classes"]["token"])
    worker = (site / "sw.js").read_text()
    assert "@" not in worker
    needed = json.loads(re.search(r"FILES = (\[.*\]);", worker).group(1))
    assert all((site / name).is_file() for name in needed)
    assert {"index.html", "app.js", "worker.js", "model.json"} <= set(needed)
    assert not any(name.endswith(".wasm") for name in needed)
    for path in site.glob("*.*"):
        if path.suffix in (".html", ".css", ".js", ".json", ".webmanifest"):
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            if path.name != "game.json":
                assert "https://" not in text and "http://" not in text, path.name


def test_the_game_shows_test_photos_where_they_were_taken(project, site):
    import pandas as pd

    splits = pd.read_parquet(project.root / "data/splits.parquet")
    candidates = pd.read_parquet(project.root / "data/candidates.parquet").merge(splits)
    test = candidates[candidates["fold"] == "test"]
    known = {(row.latitude, row.longitude) for row in test.itertuples()}
    found = photos_of_game(site)
    assert len(found) == 12
    for photo in found:
        assert (photo["latitude"], photo["longitude"]) in known
        [town] = towns.nearest_town(photo["latitude"], photo["longitude"])
        assert photo["place"] == str(town)
        assert Image.open(site / photo["file"]).getexif() == {}


def test_photos_that_were_drawn_are_nobody_s(site):
    assert {photo["title"] + photo["licence"] for photo in photos_of_game(site)} == {""}
    page = (site / "credits.html").read_text()
    assert "<li>" not in page and "none but those" in page and "@" not in page
    assert 'href="credits.html"' in (site / "index.html").read_text()


def test_photos_of_the_real_world_are_shown_and_credited_as_their_licence_allows(project, tmp_path):
    copy = project.copy(tmp_path / "real")
    copy.set(world="real")
    code = """
import json, shutil, sys
from pathlib import Path
from nogps.pipeline import site as page
site = Path("shown")
site.mkdir()
shutil.copy("web/credits.html", site)
shown = page.game(site / "game", 10_000)
page.complete_credits(site, shown)
print(json.dumps(shown))
"""
    shown = json.loads(copy.run(sys.executable, "-c", code).stdout.strip().splitlines()[-1])
    assert {photo["licence"] for photo in shown} <= {
        "CC BY 2.0",
        "CC BY-SA 2.0",
        "No known copyright restrictions",
    }
    page = (copy.root / "shown/credits.html").read_text()
    assert page.count("<li>") == len(shown) > 0
    for photo in shown:
        credit = f'<a href="{photo["page_url"]}" rel="noreferrer"><bdi>{photo["title"]}</bdi></a>'
        credit += f" by <bdi>{photo['author']}</bdi>"
        assert photo["page_url"].startswith("http://www.flickr.invalid/") and credit in page
        if photo["licence"].startswith("CC BY"):
            assert f'<a href="{photo["licence_url"]}" rel="noreferrer">' in page


def test_the_build_removes_no_folder_that_is_not_its_own(project, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    done = project.run(sys.executable, "-m", "nogps", "site", "--site", str(tmp_path), check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(f"nogps: --site: {tmp_path} holds other things")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    (tmp_path / "model.json").write_text("{}")  # as other tools call their models
    (tmp_path / "sw.js").write_text("// of another page")
    done = project.run(sys.executable, "-m", "nogps", "site", "--site", str(tmp_path), check=False)
    assert done.returncode == 1 and (tmp_path / "thesis.txt").is_file()


def test_a_site_is_built_anew_also_where_a_link_leads(project, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    build = [
        sys.executable,
        "-m",
        "nogps",
        "site",
        "--photos",
        "1",
        "--site",
        str(tmp_path / "link"),
    ]
    for _ in range(2):
        project.run(*build)
        assert (tmp_path / "link").is_symlink()
        assert len(list((tmp_path / "root/game").iterdir())) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "root"]
    assert "number from 0" in project.run(*build, "--photos", "-1", check=False).stdout


def test_without_a_model_the_build_says_what_to_do(project, tmp_path):
    done = project.run(
        sys.executable, "-m", "nogps", "site", "--model", str(tmp_path / "no.pt"), check=False
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("nogps: ") and "dvc repro" in done.stdout


# Answers


def test_photos_get_the_answer_that_python_gives(context, served, site, locator):
    page = opened(context, served)
    same, apart = 0, []
    for number in range(12):
        found = page.evaluate(
            "async (file) => nogps.locate(await (await fetch(file)).blob())",
            photos_of_game(site)[number]["file"],
        )
        python = locator.locate(jpeg(site, number))
        same += (found["latitude"], found["longitude"]) == pytest.approx(
            (python.latitude, python.longitude), abs=1e-6
        )
        apart.append(abs(found["confidence"] - python.confidence))
    assert same >= 11
    assert max(apart) < 0.05


@both_sizes
def test_a_photo_is_chosen_and_answered_in_words(context, served, site, locator):
    page = opened(context, served)
    assert "learned from" in page.locator("#learned").inner_text()
    assert "of real ones it knows nothing" in page.locator("#learned").inner_text()
    give(page, jpeg(site, 0))
    place = answered(page)
    guess = locator.locate(jpeg(site, 0))
    model = json.loads((site / "model.json").read_text())
    assert place.removeprefix("Near ") in model["classes"]["name"]
    assert page.locator("#sure b").inner_text().rstrip(".") == guess.sureness.split(":")[0]
    rows = page.locator("#best li")
    expect(rows).to_have_count(5)
    shares = [
        float(text.split()[0].strip("<")) for text in page.locator("#best li b").all_inner_texts()
    ]
    assert shares == sorted(shares, reverse=True)
    expect(page.get_by_role("application")).to_have_attribute(
        "aria-label", re.compile(re.escape(place.removeprefix("Near ")))
    )
    assert place.removeprefix("Near ") in page.locator("#live").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    small = page.evaluate(
        """[...document.querySelectorAll("main button")].filter((each) => each.offsetParent)
           .filter((each) => each.getBoundingClientRect().height < 43.5).length"""
    )
    assert small == 0
    assert "WebAssembly" in page.locator("#facts").inner_text()  # this browser has no WebGPU


def test_the_canvas_is_drawn(context, served, site):
    page = opened(context, served)

    def share(red, green, blue) -> float:
        shot = Image.open(io.BytesIO(page.locator("#globe").screenshot())).convert("RGB")
        off = np.abs(np.asarray(shot).astype(int) - (red, green, blue)).max(axis=2)
        return float((off < 12).mean())

    land, guess = (0xF7, 0xF3, 0xEA), (0xD5, 0x5E, 0x00)
    expect(page.get_by_role("application")).to_have_attribute("aria-label", re.compile("in "))
    assert share(*land) > 0.02 and share(*guess) == 0
    give(page, jpeg(site, 0))
    answered(page)
    page.wait_for_timeout(1500)  # it turns there
    assert share(*guess) > 0.0005


@both_sizes
def test_several_photos_of_one_place_are_answered_as_one(context, served, site, locator):
    page = opened(context, served)
    bodies = [jpeg(site, number) for number in range(3)]
    give(page, *bodies)
    expect(page.locator("#strip button[data-state=done]")).to_have_count(3)
    page.get_by_role("switch", name="These photos show one place").check()
    expect(page.locator("#kicker")).to_contain_text("3 photos of one place")
    guess = locator.locate(bodies, together=True)
    assert page.locator("#sure b").inner_text().rstrip(".") == guess.sureness.split(":")[0]
    page.get_by_role("switch", name="These photos show one place").uncheck()
    expect(page.locator("#kicker")).to_have_text("Best guess")
    page.evaluate("together.click(); together.click()")  # off again before the answer comes
    page.evaluate(
        "async (file) => nogps.locate(await (await fetch(file)).blob())",  # after that one
        photos_of_game(site)[0]["file"],
    )
    expect(page.locator("#kicker")).to_have_text("Best guess")
    page.locator("#strip button").nth(1).click()
    page.get_by_role("button", name="Remove this photo").click()
    expect(page.locator("#strip button")).to_have_count(2)


def test_a_photo_is_pasted_and_one_is_dropped(context, served, site):
    page = opened(context, served)
    for count, kind in enumerate(("paste", "drop"), start=1):
        page.evaluate(
            """async ([kind, file]) => {
                const blob = await (await fetch(file)).blob();
                const transfer = new DataTransfer();
                transfer.items.add(new File([blob], `${kind}.jpg`, { type: "image/jpeg" }));
                const event = kind === "paste"
                    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
                    : new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
                document.body.dispatchEvent(event);
            }""",
            [kind, photos_of_game(site)[count]["file"]],
        )
        expect(page.locator("#strip button[data-state=done]")).to_have_count(count)
        answered(page)


@both_sizes
def test_a_picture_is_taken_with_the_camera(context, served):
    page = opened(context, served)
    page.get_by_role("button", name="Take a photo").click()
    page.locator("video").wait_for()
    page.get_by_role("button", name="Take the photo").click()
    assert answered(page).startswith("Near ")


def test_a_double_tap_opens_one_camera_and_leaves_none_on(context, served):
    context.add_init_script(
        "window.streams = []; const given = navigator.mediaDevices?.getUserMedia;"
        "if (given) navigator.mediaDevices.getUserMedia = async (...how) => {"
        " const stream = await given.apply(navigator.mediaDevices, how);"
        " streams.push(stream); return stream; };"
    )
    page = opened(context, served)
    page.evaluate("shoot.click(); shoot.click()")
    page.get_by_role("button", name="Cancel").click()
    live = "streams.filter((each) => each.getTracks().some((one) => one.readyState === 'live'))"
    assert page.evaluate(f"[streams.length, {live}.length]") == [1, 0]
    assert page.locator("#messages").inner_text() == ""


def test_a_camera_that_comes_after_it_was_closed_does_not_stay_on(context, served):
    context.add_init_script(
        "window.streams = []; const given = navigator.mediaDevices?.getUserMedia;"
        "if (given) navigator.mediaDevices.getUserMedia = async (...how) => {"
        " const stream = await given.apply(navigator.mediaDevices, how);"
        " streams.push(stream); await window.held; return stream; };"
    )
    page = opened(context, served)
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_role("button", name="Turn round").wait_for()
    page.evaluate(
        "() => { window.held = new Promise((resolve) => { window.release = resolve; }); }"
    )
    page.get_by_role("button", name="Turn round").click()
    page.evaluate("async () => { while (streams.length < 2) await new Promise(setTimeout); }")
    expect(page.get_by_role("button", name="Take the photo")).to_be_disabled()
    page.get_by_role("button", name="Cancel").click()
    page.evaluate("release()")
    live = "streams.some((each) => each.getTracks().some((one) => one.readyState === 'live'))"
    page.evaluate(f"async () => {{ while ({live}) await new Promise(setTimeout); }}")
    assert not page.locator("#camera").is_visible()


def test_a_refused_camera_has_a_sentence(chromium, served):
    context = chromium.new_context(viewport=SIZES["phone"])
    context.set_default_timeout(WAIT)
    context.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => {"
        " throw new DOMException('no', 'NotAllowedError'); };"
    )
    page = opened(context, served)
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator("#messages")).to_contain_text("The camera was refused")
    context.close()


# Where it really was, and the game


@both_sizes
def test_a_tap_says_how_far_off_the_guess_is(context, served, site):
    page = opened(context, served)
    give(page, jpeg(site, 0))
    answered(page)
    page.wait_for_timeout(1500)  # the globe turns to the guess
    box = page.locator("#globe").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#off")).to_contain_text("of 5,000 points")
    km, points = figures(page.locator("#off").inner_text())
    assert km < 400  # the globe is centred on the guess
    assert points == pytest.approx(float(geo.geoguessr_score(km)), abs=3)
    page.get_by_role("button", name="Remove the pin").click()
    expect(page.locator("#off")).to_contain_text("Tap the globe")


def figures(text: str) -> tuple[float, int]:
    km, points = re.search(r"is ([\d,.]+) km off: ([\d,]+) of", text).groups()
    return float(km.replace(",", "")), int(points.replace(",", ""))


def test_the_keyboard_does_what_a_finger_does(context, served, site):
    page = opened(context, served)
    give(page, jpeg(site, 0))
    answered(page)
    page.wait_for_timeout(1500)
    globe = page.locator("#globe")
    globe.focus()
    globe.press("Enter")
    before = figures(page.locator("#off").inner_text())[0]
    for _ in range(6):
        globe.press("ArrowLeft")
    globe.press("Enter")
    after = figures(page.locator("#off").inner_text())[0]
    assert before < 400 < after


def test_skipping_the_globe_stays_in_the_game(context, served):
    page = opened(context, served, "#game")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip the globe")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#panel")).to_be_focused()
    assert page.url.endswith("#game") and page.locator("#view-game").is_visible()


def test_many_photos_move_the_page_for_nobody_and_bad_ones_are_named(context, served, site):
    page = opened(context, served)
    long = "x" * 180 + ".jpg"
    names = [f"{number}.jpg" for number in range(12)] + [long]
    give(page, jpeg(site, 0), names=names[:1])
    answered(page)
    give(page, *[jpeg(site, number) for number in range(11)], b"nothing", names=names[1:])
    page.evaluate("scrollTo(0, 500)")
    before = page.evaluate("scrollY")
    expect(page.locator("#strip button[data-state=done]")).to_have_count(12)
    expect(page.locator("#messages")).to_contain_text(f"Could not be read: {long}.")
    assert page.evaluate("scrollY") == pytest.approx(before, abs=120)  # the list of the bad ones
    page.locator("#strip button[data-state=failed]").click()
    expect(page.locator("#kicker")).to_have_text(long)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@both_sizes
def test_a_game_goes_five_rounds_and_adds_up(context, served, site):
    page = opened(context, served, "#game")
    page.get_by_role("button", name="Play").click()
    seen, you, model = [], 0, 0
    for number in range(1, 6):
        expect(page.locator("#game-title")).to_have_text("Where is this?")
        seen.append(page.locator("#game-photo").get_attribute("src"))
        page.wait_for_timeout(700)
        box = page.locator("#globe").bounding_box()
        page.mouse.click(
            box["x"] + box["width"] * (0.35 + 0.05 * number), box["y"] + box["height"] * 0.45
        )
        page.get_by_role("button", name="Guess here").click()
        expect(page.locator("#game-table tbody tr")).to_have_count(2)
        assert page.evaluate("document.activeElement.id") == "game-go"
        for row in page.locator("#game-table tbody tr").all():
            cells = row.locator("td").all_inner_texts()
            km, points = (float(re.sub(r"[^\d.]", "", cell)) for cell in cells)
            assert points == pytest.approx(float(geo.geoguessr_score(km)), abs=3)
            if row.locator("th").inner_text() == "You":
                you += points
            else:
                model += points
        shown = page.locator("#game-score").inner_text().replace(",", "")
        assert f"Round {number} of 5 · you {you:.0f} · model {model:.0f}" == shown
        page.locator("#game-go").click()
    assert len(set(seen)) == 5
    text = page.locator("#game-text").inner_text().replace(",", "")
    assert text == f"You have {you:.0f} points the model {model:.0f} of 25000."
    page.get_by_role("button", name="Play again").click()
    expect(page.locator("#game-score")).to_contain_text("Round 1 of 5 · you 0 · model 0")


def test_a_round_ends_with_the_photo_s_credit(context, served, site):
    told = {"title": "<b>\u202eStreet", "author": "Ann", "licence": "CC BY 2.0"}
    told |= {"page_url": "javascript:alert(1)", "licence_url": "https://example.org/by"}
    photos = [photo | told for photo in photos_of_game(site)]
    game = json.loads((site / "game.json").read_text()) | {"photos": photos}
    context.route("**/game.json", lambda route: route.fulfill(status=200, json=game))
    page = opened(context, served, "#game")
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#game-title")).to_have_text("Where is this?")
    page.locator("#globe").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Guess here").click()
    credit = page.locator("#game-credit")
    expect(credit).to_have_text("Photo: <b>\u202eStreet by Ann, CC BY 2.0, resized")
    links = credit.locator("a").evaluate_all("all => all.map((a) => a.href)")
    assert links == ["https://example.org/by"]


def test_without_photos_to_show_there_is_no_game(context, served):
    context.route("**/game.json", lambda route: route.fulfill(status=404, body=""))
    page = opened(context, served, "#game")
    expect(page.locator("#game-text")).to_contain_text("no photos to play with")


# Files that are not what they seem


def heic() -> bytes:
    body = io.BytesIO()
    pillow_heif.from_pillow(picture(320, 240)).save(body, quality=80)
    return body.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(200, 300), exif=exif)


def animated() -> bytes:
    body = io.BytesIO()
    first, *others = (picture(120, 90, seed=each) for each in range(3))
    first.save(body, "GIF", save_all=True, append_images=others)
    return body.getvalue()


def deep() -> bytes:
    body = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 65535, (80, 120), dtype=np.uint16)
    Image.fromarray(values).save(body, "PNG")
    return body.getvalue()


def vast() -> bytes:
    body = io.BytesIO()
    picture(800, 625).resize((8000, 6250)).save(body, "JPEG", quality=60)
    return body.getvalue()


BAD = {
    "nothing": (b"", "empty"),
    "no-image": (b"hello, I am a letter", "not an image"),
    "cut": (encoded(picture(300, 200))[:4000], None),
    "dot": (encoded(picture(1, 1)), "too small"),
    "strip": (encoded(picture(640, 20)), None),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_has_a_sentence_and_stops_no_other(context, served, site, kind):
    body, says = BAD[kind]
    page = opened(context, served)
    give(page, body, jpeg(site, 0))
    expect(page.locator("#strip button[data-state=failed]")).to_have_count(1)
    expect(page.locator("#strip button[data-state=done]")).to_have_count(1)
    text = page.locator("#place").inner_text()
    assert text.endswith(".") and len(text.splitlines()) == 1 and "wrong (" not in text
    if says:
        assert says in text.lower()


def turned_large() -> bytes:
    """As a phone stores it: the browser decodes it at a fraction of its size."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(240, 160).resize((2400, 1600)), exif=exif)


@both_sizes
@pytest.mark.parametrize("make", [heic, turned, turned_large, animated, deep, vast])
def test_unusual_files_are_answered(context, served, locator, make):
    page = opened(context, served)
    body = make()
    give(page, body, names=[make.__name__])
    assert answered(page).startswith("Near ")
    if make is heic:  # the page's thread has no decoder for it, the worker has
        return
    seen = page.evaluate(
        """async (body) => {
            const { read } = await import("./pixels.js");
            const model = await (await fetch("model.json")).json();
            const bytes = Uint8Array.from(atob(body), (each) => each.charCodeAt(0));
            const { pixels } = await read(new Blob([bytes]), model, null);
            return [...pixels];
        }""",
        b64encode(body).decode(),
    )
    expected = images.square(body, locator.image_size).ravel().astype(int)
    assert np.abs(np.array(seen) - expected).mean() < 1.5


def test_the_page_answers_while_a_vast_photo_is_read(context, served):
    """A click right after the photo came is handled before the worker is done."""
    page = opened(context, served)
    found = page.evaluate(
        """async (body) => {
            const bytes = Uint8Array.from(atob(body), (each) => each.charCodeAt(0));
            const done = nogps.locate(new Blob([bytes])).then(() => "done");
            document.querySelector("a[href='#game']").click();
            for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
            const open = !document.getElementById("view-game").hidden;
            return [open, await Promise.race([done, "still at it"]), await done];
        }""",
        b64encode(vast()).decode(),
    )
    assert found == [True, "still at it", "done"]


# The network and what may be missing


def test_a_graphics_processor_answers_alike_and_may_be_lost(launch, served, site, locator):
    """WebGPU, reckoned by the processor: SwiftShader."""
    flags = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    with launch(*flags, "--enable-features=Vulkan,WebGPU") as browser:
        context = browser.new_context(viewport=SIZES["phone"])
        context.set_default_timeout(WAIT)
        page = opened(context, served)
        if "WebGPU" not in page.locator("#facts").inner_text():
            pytest.skip("this chromium has no WebGPU")
        ask = "async (file) => nogps.locate(await (await fetch(file)).blob())"
        for number in range(3):
            found = page.evaluate(ask, photos_of_game(site)[number]["file"])
            python = locator.locate(jpeg(site, number))
            assert found["confidence"] == pytest.approx(python.confidence, abs=0.05)
        expect(page.locator("#status")).to_contain_text("offline")
        context.set_offline(True)
        page.workers[0].evaluate(
            "import('./vendor/onnxruntime-web/ort.webgpu.min.mjs')"
            ".then(async (ort) => (await ort.env.webgpu.device).destroy())"
        )
        give(page, jpeg(site, 0))
        answered(page)
        guess = locator.locate(jpeg(site, 0))
        assert page.locator("#sure b").inner_text().rstrip(".") == guess.sureness.split(":")[0]
        assert "WebAssembly" in page.locator("#facts").inner_text()


def test_the_worker_can_reach_no_other_place(chromium, served):
    context = chromium.new_context(viewport=SIZES["phone"])
    context.set_default_timeout(WAIT)
    with opened(context, served) as first:
        # The worker has its policy from the service worker, which may come late to a first visit.
        expect(first.locator("#status")).to_contain_text("offline")
    [worker] = opened(context, served).workers
    reach = "(url) => fetch(url, { mode: 'no-cors' }).then(() => 'reached', () => 'refused')"
    assert worker.evaluate(reach, served.url) == "reached"
    other = served.url.replace("127.0.0.1", "localhost")
    with urlopen(other):
        assert worker.evaluate(reach, other) == "refused"
    context.close()


def test_without_room_it_does_not_claim_to_work_offline(chromium, site):
    server = Served(site)  # an origin of its own
    context = chromium.new_context(viewport=SIZES["phone"])
    context.set_default_timeout(WAIT)
    page = context.new_page()
    room = {"origin": server.url, "quotaSize": 2_500_000}
    context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", room)
    page.goto(server.url)
    page.locator("html[data-state=ready]").wait_for()
    wasm = "vendor/onnxruntime-web/ort-wasm-simd-threaded.wasm"
    keep = "(url) => import('./offline.js').then(({ keep }) => keep([url]))"
    assert page.evaluate(keep, wasm) is False
    expect(page.locator("#status")).to_contain_text("It needs a connection")
    context.close()
    server.stop()


def test_it_works_without_a_network_after_one_visit(chromium, site):
    server = Served(site)
    context = chromium.new_context(viewport=SIZES["phone"])
    context.set_default_timeout(WAIT)
    try:
        page = opened(context, server)
        expect(page.locator("#status")).to_contain_text("offline")
        server.stop()
        with pytest.raises(URLError):
            urlopen(server.url)
        page.goto(server.url)
        page.locator("html[data-state=ready]").wait_for()
        give(page, heic(), jpeg(site, 0))
        expect(page.locator("#strip button[data-state=done]")).to_have_count(2)
        page.goto(server.url + "#game")
        page.get_by_role("button", name="Play").click()
        expect(page.locator("#game-title")).to_have_text("Where is this?")
        assert page.evaluate("document.getElementById('game-photo').decode().then(() => true)")
    finally:
        server.stop()
        context.close()


@pytest.mark.parametrize(
    ("missing", "says"),
    [("model.onnx", "model"), ("model.json", "model"), ("*.wasm", "runtime")],
)
def test_a_missing_file_has_a_sentence_and_another_try(chromium, served, missing, says):
    context = chromium.new_context(viewport=SIZES["desktop"], service_workers="block")
    context.set_default_timeout(WAIT)
    context.route(f"**/{missing}", lambda route: route.fulfill(status=404, body="no"))
    page = opened(context, served, state="failed")
    assert says in page.locator("#status").inner_text()
    context.unroute(f"**/{missing}")
    page.get_by_role("button", name="Try again").click()
    page.locator("html[data-state=ready]").wait_for()
    context.close()


def test_a_model_of_another_build_has_a_sentence(chromium, served, site):
    context = chromium.new_context(service_workers="block")
    context.set_default_timeout(WAIT)
    other = bytearray((site / "model.onnx").read_bytes())
    other[-1000] ^= 1
    context.route("**/model.onnx", lambda route: route.fulfill(body=bytes(other)))
    page = opened(context, served, state="failed")
    assert "not the one that model.json describes" in page.locator("#status").inner_text()
    context.close()


def test_a_model_that_is_none_has_a_sentence(chromium, served, site):
    context = chromium.new_context(service_workers="block")
    context.set_default_timeout(WAIT)
    body = os.urandom(1000)
    described = json.loads((site / "model.json").read_text())
    described |= {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    context.route("**/model.onnx", lambda route: route.fulfill(body=body))
    context.route("**/model.json", lambda route: route.fulfill(json=described))
    page = opened(context, served, state="failed")
    assert "could not be started" in page.locator("#status").inner_text()
    context.close()


def test_light_and_dark_are_both_readable(chromium, served):
    """Contrast of text on its background, WCAG AA."""
    for scheme in ("light", "dark"):
        context = chromium.new_context(viewport=SIZES["desktop"], color_scheme=scheme)
        context.set_default_timeout(WAIT)
        page = opened(context, served)
        for selector in ("#status", "#learned", "#intro p", "footer p", "header nav a"):
            ratio = page.evaluate(CONTRAST, selector)
            assert ratio >= 4.5, (scheme, selector)
        context.close()
