"""The command `nogps`: which command is run, and `locate`, `export`, `evaluate` and `sets`."""

import io
import json
import math
import os
import re
import subprocess
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from PIL.ExifTags import GPS, IFD

import nogps
from nogps.cli import export, files, locate, main
from nogps.model.export import Parity
from nogps.model.guess import BEST
from nogps.model.onnx_locator import OnnxLocator
from tests.locators import CALIBRATION, seeing
from tests.pictures import STRANGE, encoded, picture, stored
from tests.project import ROOT

PARIS = (48.8566, 2.3522)


def called(*arguments) -> SimpleNamespace:
    """What a command prints and its exit code, in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main.main([str(each) for each in arguments])
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
    if isinstance(code, str):  # as Python does when it ends
        code, _ = 1, err.write(code + "\n")
    told, complained = (stream.buffer.getvalue().decode() for stream in (out, err))
    return SimpleNamespace(code=code, out=told, err=complained)


def command(*arguments, code="from nogps.cli.main import main; main()", **how):
    """The command in a process of its own; its output is bytes."""
    source = str(Path(nogps.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": source, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        **how,
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Photos and two files that are none, as `nogps export --check` is given."""
    folder = tmp_path_factory.mktemp("photos")
    for each in range(6):
        (folder / f"{each}.jpg").write_bytes(encoded(picture(120, 90, seed=each)))
    (folder / "broken.jpg").write_bytes(b"nothing")
    (folder / "notes.txt").write_bytes(b"rain")
    return folder


@pytest.fixture(scope="module")
def saved(photos, tmp_path_factory) -> SimpleNamespace:
    """A model as .pt, and as `nogps export` wrote it."""
    folder = tmp_path_factory.mktemp("model")
    locator = seeing(calibration=CALIBRATION)
    locator.save(folder / "model.pt")
    (folder / "exported").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(export.SAME_TOP_CELL, True, 100.5)  # of the small one, more than there can be
        exported = called(
            "export",
            *("--model", folder / "model.pt"),
            *("--to", folder / "exported"),
            *("--check", photos),
        )
    return SimpleNamespace(
        locator=locator,
        pt=folder / "model.pt",
        onnx=folder / "exported/model.onnx",
        small=folder / "exported/model.small.onnx",
        export=exported,
    )


@pytest.fixture(params=["pt", "onnx"])
def model(saved, request) -> Path:
    return getattr(saved, request.param)


def one_sentence(text: str) -> str:
    """The line, without its end; fails if it is more, or what a program says to programmers."""
    assert text.startswith("nogps: ") and text.endswith("\n") and text.count("\n") == 1, text
    assert "Traceback" not in text and "object at 0x" not in text
    return text[:-1]


def jsons(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


# Bad input


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> dict[Path, str]:
    """Files that are no photos, and what is to be said about each."""
    folder = tmp_path_factory.mktemp("bad")
    body = encoded(picture(400, 300))
    content = {
        "text.jpg": (b"hello\n", "not an image"),
        "empty.jpg": (b"", "empty, 0 bytes"),
        "page.png": (b"<html>429</html>", "not an image"),
        "dot.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), "1 x 1 pixels are too few"),
        "strip.png": (encoded(Image.new("RGB", (900, 20)), "PNG"), "900 x 20 pixels are a strip"),
        "cut.jpg": (body[: len(body) // 2], "cannot be decoded"),
    }
    for name, (each, _) in content.items():
        (folder / name).write_bytes(each)
    with (folder / "large.jpg").open("wb") as large:
        large.truncate(100_000_000)
    said = {folder / name: says for name, (_, says) in content.items()}
    return said | {
        folder / "large.jpg": "not an image",
        folder / "none.jpg": "No such file",
        folder / "no" / "folder.jpg": "No such file",
    }


@pytest.fixture(scope="module")
def strange(tmp_path_factory) -> list[Path]:
    """Photos that not every program can read."""
    folder = tmp_path_factory.mktemp("strange")
    for name, body in STRANGE.items():
        (folder / name).write_bytes(body())
    (folder / "turned.jpg").write_bytes(stored(6, picture()))
    large = picture(128, 96).resize((8192, 6144), Image.Resampling.NEAREST)
    (folder / "50-megapixels.jpg").write_bytes(encoded(large))
    return sorted(folder.iterdir())


def test_each_bad_photo_has_a_sentence_and_the_others_are_located(model, bad, strange):
    given = [each for pair in zip(bad, strange, strict=False) for each in pair]
    given += [each for each in strange if each not in given]
    done = called("locate", *given, "--model", model, "--json")
    assert done.code == locate.SOME_FAILED
    for line, (path, says) in zip(done.err.splitlines(), bad.items(), strict=True):
        assert one_sentence(line + "\n").startswith(f"nogps: {path}: {says}")
    answers = jsons(done.out)
    assert [each["photo"] for each in answers] == [str(each) for each in given]
    for each in answers:
        if Path(each["photo"]) in bad:
            assert each.keys() == {"photo", "error"}
            assert each["error"].startswith(bad[Path(each["photo"])])
        else:
            assert -90 <= each["latitude"] <= 90 and len(each["cells"]) == BEST


def test_only_bad_photos_leave_nothing_else(saved, bad, tmp_path):
    done = called("locate", *bad, "--model", saved.pt, "--map", tmp_path / "map.html")
    assert (done.code, done.out, len(done.err.splitlines())) == (3, "", len(bad))
    assert not (tmp_path / "map.html").exists()
    done = called("locate", *bad, "--model", saved.pt, "--geojson", "--together")
    assert (done.code, json.loads(done.out)) == (3, {"type": "FeatureCollection", "features": []})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_has_a_sentence(saved, photos, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(encoded(picture()))
    (tmp_path / "secret.jpg").chmod(0)
    done = called("locate", tmp_path / "secret.jpg", photos / "0.jpg", "--model", saved.pt)
    assert one_sentence(done.err).endswith("secret.jpg: Permission denied")
    assert done.code == 3 and "0.jpg" in done.out


def other_models(saved, folder: Path) -> dict[str, str]:
    """Files that are no models of this version, and what is to be said of each."""
    torch.save({"format": 0}, folder / "old.pt")
    (folder / "text.pt").write_bytes(b"nothing")
    (folder / "text.onnx").write_bytes(b"nothing")
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "folder.pt").mkdir()
    (folder / "torchs.onnx").write_bytes(saved.pt.read_bytes())
    (folder / "onnxs.pt").write_bytes(saved.onnx.read_bytes())
    return {
        "none.pt": "is not there",
        "none.onnx": "is not there",
        "old.pt": "another version of nogps",
        "text.pt": "is no nogps model",
        "text.onnx": "is no ONNX model",
        "empty.onnx": "is no ",
        "folder.pt": "is no nogps model",
        "torchs.onnx": "is no ONNX model",
        "onnxs.pt": "is no nogps model",
    }


def test_what_is_no_model_has_a_sentence(saved, photos, tmp_path):
    for name, says in other_models(saved, tmp_path).items():
        done = called("locate", photos / "0.jpg", "--model", tmp_path / name)
        assert (done.code, done.out) == (1, "")
        assert f"{tmp_path / name} {says}" in one_sentence(done.err).replace("was made by ", ""), (
            name
        )


def test_without_a_model_it_says_where_one_comes_from(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = called("locate", photos / "0.jpg")
    assert done.code == 1
    said = "nogps: models/model.pt is not there; name a model, or train one with `dvc repro`"
    assert one_sentence(done.err) == said


def test_a_folder_without_photos_has_a_sentence(saved, photos, tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"rain")
    (tmp_path / ".hidden.jpg").write_bytes(encoded(picture()))
    done = called("locate", tmp_path, "--model", saved.pt)
    assert (done.code, done.out) == (1, "")
    assert one_sentence(done.err).startswith(f"nogps: {tmp_path}: holds no photos; give")
    done = called("locate", tmp_path, "", photos / "0.jpg", "--model", saved.onnx)
    assert done.code == 3 and done.out.startswith(f"{photos / '0.jpg'}: ")
    said = [one_sentence(line + "\n") for line in done.err.splitlines()]
    assert len(said) == 2 and said[0].startswith(f"nogps: {tmp_path}: holds no photos; give")


def test_a_photo_may_come_through_a_pipe_and_its_name_be_anything(saved, photos, tmp_path):
    forged = tmp_path / "a\n\x1b[31mnogps: b.jpg: not there.jpg"
    forged.write_bytes((photos / "0.jpg").read_bytes())
    os.mkfifo(tmp_path / "pipe.jpg")
    with subprocess.Popen(["cp", photos / "1.jpg", tmp_path / "pipe.jpg"]):
        page = tmp_path / "map.html"
        done = called("locate", tmp_path, "--model", saved.onnx, "--map", page)
    assert done.code == 0 and len(done.out.splitlines()) == 2 * 3
    assert "\x1b" not in done.out and r"a\n\x1b[31mnogps" in done.out
    assert page.read_text("utf-8").count("<img ") == 2


def test_a_map_that_cannot_be_written_is_said_before_any_work(saved, photos, tmp_path):
    for where, says in (
        (tmp_path / "none/map.html", f"--map: {tmp_path / 'none'} is no directory"),
        (tmp_path, f"--map: {tmp_path} is a directory"),
    ):
        done = called("locate", photos / "0.jpg", "--model", saved.pt, "--map", where)
        assert (done.code, done.out) == (1, "")
        assert says in one_sentence(done.err)


@pytest.mark.parametrize(
    "arguments", [[], ["locate"], ["locate", "a.jpg", "--json", "--geojson"], ["nothing"]]
)
def test_a_wrong_command_line_ends_with_two(arguments):
    done = called(*arguments)
    assert (done.code, done.out) == (2, "") and "usage: nogps" in done.err


def test_without_a_command_it_says_which_there_are():
    assert "locate    say where photos were taken" in called().err
    assert called("--version").out == f"nogps {nogps.__version__}\n"


def test_a_command_that_is_misspelt_has_a_suggestion():
    assert "evalute is no command; did you mean evaluate?" in called("evalute").err
    assert "xyz is no command; there are locate, export," in called("xyz").err


def test_a_wrong_option_shows_the_usage_of_its_command():
    photo = {"locate": ["a.jpg"], "evaluate": ["photos"]}
    for name in main.COMMANDS:
        done = called(name, "--nothing", *photo.get(name, []))
        assert done.code == 2
        assert done.err.startswith(f"usage: nogps {name} ") and "--nothing" in done.err


def test_help_lists_every_command_and_each_has_a_module():
    done = called("--help")
    assert done.code == 0
    for name, (module, told) in main.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(told)}$", done.out, re.M)
        assert find_spec(module), name


@pytest.mark.parametrize(("missing", "extra"), [("torch", "torch"), ("optuna", "pipeline")])
def test_what_is_not_installed_is_named_with_its_extra(monkeypatch, missing, extra):
    def main_():
        raise ModuleNotFoundError(f"No module named '{missing}'", name=f"{missing}.nn")

    monkeypatch.setattr(main, "import_module", lambda _: SimpleNamespace(main=main_))
    done = called("tune")
    assert done.code == 1
    assert one_sentence(done.err) == (
        f"nogps: tune needs {missing}, which is not installed; run pip install 'nogps[{extra}]'"
    )


def test_a_module_of_ours_that_is_missing_is_our_mistake(monkeypatch):
    monkeypatch.setitem(main.COMMANDS, "tune", ("nogps.pipeline.no_such_module", ""))
    with pytest.raises(ModuleNotFoundError):
        main.main(["tune"])


def test_an_onnx_model_is_not_exported_again(saved, tmp_path):
    done = called("export", "--to", tmp_path, "--model", saved.onnx)
    assert (done.code, done.out) == (1, "")
    assert f"{saved.onnx} is exported already" in one_sentence(done.err)


def test_an_onnx_model_is_evaluated_as_the_one_it_came_from(saved, photos, tmp_path):
    (tmp_path / "0.jpg").write_bytes((photos / "0.jpg").read_bytes())
    (tmp_path / "photos.csv").write_text("file,latitude,longitude,owner\n0.jpg,1,2,\n")
    found = []
    for path in (saved.pt, saved.onnx):
        done = called("evaluate", tmp_path, "--model", path, "--workers", "0", "--json")
        assert done.code == 0, done.err
        [rows] = json.loads(done.out).values()
        found.append(rows["model"])
    assert found[1]["median_km"] == pytest.approx(found[0]["median_km"])
    assert found[1]["radius_50_km"] == pytest.approx(found[0]["radius_50_km"], rel=1e-3)


def test_a_zip_is_evaluated_as_its_folder(saved, photos, tmp_path):
    rows = [f"{each}.jpg,{each},{each}" for each in range(6)]
    table = "\n".join(["file,latitude,longitude", *rows])
    with zipfile.ZipFile(tmp_path / "holiday.zip", "w") as packed:
        packed.writestr("holiday/photos.csv", table)
        for each in range(6):
            packed.write(photos / f"{each}.jpg", f"holiday/{each}.jpg")
    with zipfile.ZipFile(tmp_path / "holiday.zip") as packed:
        packed.extractall(tmp_path)
    given = ("--model", saved.onnx, "--json", "--workers", 0)
    done = called("evaluate", tmp_path / "holiday.zip", *given)
    assert done.code == 0 and done.out == called("evaluate", tmp_path / "holiday", *given).out
    assert json.loads(done.out)["holiday"]["model"]["n"] == 6


def test_the_sets_are_told_with_what_to_type():
    done = called("sets")
    assert (done.code, done.err) == (0, "")
    for name in ("OSV-5M", "Im2GPS:", "Im2GPS3k", "YFCC4k", "MP-16", "YFCC100M", "exclude.txt"):
        assert name in done.out
    assert max(map(len, done.out.splitlines())) <= 100
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for setting in re.findall(r"-S '?([a-z_.]+)=", done.out):
        section = params
        for key in setting.split("."):
            section = section[key]
    arguments = re.findall(r"^.*?(nogps [a-z]+ /\S+)", done.out, re.M)
    assert {line.split()[1] for line in arguments} == {"evaluate"} and len(arguments) == 4


def test_names_in_any_encoding_are_told(saved, tmp_path):
    """A file's name is bytes, which need not be UTF-8, as after unpacking an old archive."""
    body = encoded(picture())
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb") as photo:  # noqa: PTH123
        photo.write(body)
    (tmp_path / "plain.jpg").write_bytes(body)
    page = tmp_path / "map.html"
    for how in (["--map", page], ["--json"]):
        done = called("locate", tmp_path, "--model", saved.onnx, *how)  # UTF-8 in any case
        assert done.code == 0 and "Traceback" not in done.err
        assert "caf" in done.out and "plain.jpg" in done.out
    assert "plain.jpg" in page.read_text("utf-8")


# In a process of its own


def test_a_map_takes_the_place_of_no_photo(saved, photos):
    before = (photos / "0.jpg").read_bytes()
    done = called("locate", "--map", photos / "0.jpg", photos / "1.jpg", "--model", saved.onnx)
    assert done.code == 1 and "give one that ends in .html" in one_sentence(done.err)
    assert (photos / "0.jpg").read_bytes() == before


def test_a_name_that_is_too_long_stops_no_other(saved, photos):
    done = called("locate", "x" * 300, photos / "0.jpg", "--model", saved.onnx)
    assert done.code == 3 and "File name too long" in one_sentence(done.err)
    assert "0.jpg" in done.out
    empty = called("locate", "", "--model", saved.onnx)
    assert (empty.code, one_sentence(empty.err)) == (
        1,
        "nogps: '': no name; give a file, a folder or -",
    )


def test_a_file_larger_than_memory_stops_no_other(saved, photos, tmp_path):
    with (tmp_path / "endless.jpg").open("wb") as file:
        file.truncate(2**40)
    done = called("locate", tmp_path / "endless.jpg", photos / "0.jpg", "--model", saved.onnx)
    assert done.code == 3 and "larger than the memory" in one_sentence(done.err)
    assert "0.jpg" in done.out


def test_closed_streams_have_a_sentence(saved, photos, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    done = called("locate", "-", "--model", saved.onnx)
    assert done.code == 1
    assert one_sentence(done.err) == "nogps: -: the standard input is closed; name a file"
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit, match=r"^nogps: the standard output is closed"):
        main.main(["locate", str(photos / "0.jpg")])


def test_neither_help_nor_an_onnx_model_imports_torch(saved, photos):
    code = """
import sys
from nogps.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print([name for name in sys.modules if name.split(".")[0] in ("torch", "torchvision")])
"""
    for arguments in (["--help"], ["locate", photos / "0.jpg", "--model", saved.onnx, "--json"]):
        done = command(*arguments, code=code, check=True)
        assert done.stdout.decode().splitlines()[-1] == "[]"
        assert len(done.stdout.splitlines()) > 1


def test_a_photo_on_the_standard_input(saved, photos, tmp_path, monkeypatch):
    body = (photos / "1.jpg").read_bytes()
    done = command(
        *("locate", "-", photos / "2.jpg", "--model", saved.onnx, "--json"),
        *("--map", tmp_path / "map.html"),
        input=body,
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (0, 1)
    one, other = jsons(done.stdout.decode())
    assert (one["photo"], other["photo"]) == ("-", str(photos / "2.jpg"))
    expected = OnnxLocator.load(saved.onnx).locate(body)
    assert one["latitude"] == expected.latitude and one["place"] == expected.place
    assert "2.jpg" in (tmp_path / "map.html").read_text("utf-8")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    nothing = called("locate", "-", "--model", saved.onnx)
    assert (nothing.code, nothing.out) == (3, "")
    assert one_sentence(nothing.err) == "nogps: -: empty, 0 bytes"


def test_the_exit_codes_are_those_of_the_help(saved, photos, tmp_path):
    def code(*arguments) -> int:
        return called("locate", *arguments, "--model", saved.onnx).code

    assert code(photos / "0.jpg") == 0
    assert code(tmp_path) == 1
    assert code(photos) == 3
    told = " ".join(called("locate", "--help").out.split())
    assert "exit codes: 0 every photo was located; 1 nothing could be done; 2 a wrong" in told
    assert "3 some photo could not be read" in told


@pytest.mark.parametrize("how", [[], ["--geojson"]])
def test_a_reader_that_has_had_enough_sees_no_traceback(saved, photos, how):
    read, write = os.pipe()
    os.close(read)
    buffered = {"PYTHONUNBUFFERED": ""}  # as a shell has it
    try:
        done = subprocess.run(
            [sys.executable, "-m", "nogps", "locate", photos, "--model", saved.onnx, *how],
            env=os.environ | buffered | {"PYTHONPATH": str(Path(nogps.__file__).parents[1])},
            stdout=write,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(write)
    assert done.returncode == 1
    if how:  # its one line comes at the end
        said = one_sentence(done.stderr.decode())
        assert said.startswith(f"nogps: {photos / 'broken.jpg'}: not an image")
    else:  # it stops at the first
        assert done.stderr == b""


# What is told


def test_every_answer_is_that_of_the_locator(model, photos):
    names = [photos / f"{each}.jpg" for each in range(6)]
    guesses = files.load(model).locate(names)
    assert len({each.place for each in guesses}) > 3
    answers = jsons(called("locate", *names, "--model", model, "--json").out)
    for name, guess, found in zip(names, guesses, answers, strict=True):
        about = {"photo": str(name), "gps": None, "off_km": None}
        assert found == json.loads(json.dumps(about | guess.to_dict()))
    [line] = called("locate", *names, "--model", model, "--geojson").out.splitlines()
    collection = json.loads(line)
    assert collection["type"] == "FeatureCollection"
    for name, guess, found in zip(names, guesses, collection["features"], strict=True):
        assert found["geometry"]["coordinates"] == [guess.longitude, guess.latitude]
        assert found["properties"]["photo"] == str(name)
        assert found["properties"]["place"] == guess.place
    done = called("locate", *names, "--model", model)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) == 3 * 6
    for name, guess, *told in zip(names, guesses, *(lines[k::3] for k in range(3)), strict=True):
        where = f"({guess.latitude:.4f}, {guess.longitude:.4f})"
        assert told[0] == f"{name}: {guess.place} {where}"
        assert told[1] == f"  {guess.sureness}"
        best = guess.cells[0]
        cells = "  Most probable cells, by the nearest town: "
        assert told[2].startswith(f"{cells}{best.place} {100 * best.probability:.1f} %")
        assert told[2].count(" %") == BEST


def test_people_are_told_what_a_model_learned_from(photos, tmp_path):
    seeing(about={"trained_on": "7 photos (flickr, simulated)"}).save(tmp_path / "drawn.pt")
    seeing(about={"trained_on": "7 photos (folder)"}).save(tmp_path / "real.pt")
    real = called("locate", photos / "0.jpg", "--model", tmp_path / "real.pt")
    assert real.err == "The model: it learned from 7 photos (folder).\n"
    asked = ("locate", photos / "0.jpg", "--model", tmp_path / "drawn.pt")
    assert (
        "They are drawn" in called(*asked).err
        and "of real ones it knows nothing" in called(*asked).err
    )
    assert called(*asked, "--json").err == "" == called(*asked, "--geojson").err


def test_photos_together_have_one_answer(saved, photos):
    names = [str(photos / name) for name in ("2.jpg", "broken.jpg", "0.jpg", "1.jpg")]
    done = called("locate", *names, "--model", saved.pt, "--together", "--json")
    assert done.code == 3 and len(done.err.splitlines()) == 1
    error, answer = jsons(done.out)
    assert error["photo"] == names[1]
    read = [names[0], names[2], names[3]]
    guess = saved.locator.locate(read, together=True)
    about = {"photos": read, "gps": None, "off_km": None}
    assert answer == json.loads(json.dumps(about | guess.to_dict()))
    told = called("locate", *names, "--model", saved.pt, "--together").out
    assert told.startswith(f"{', '.join(read)}: {guess.place} (")


def test_a_folder_is_its_photos_and_those_in_its_folders(saved, tmp_path):
    kept = ["B.JPG", "a.png", "deep/er/c.webp", "z.heic"]
    kinds = dict(zip(kept, ["JPEG", "PNG", "WEBP", "HEIF"], strict=True))
    for name in [*kept, ".hidden.jpg", ".folder/d.jpg", "deep/.e.jpg", "notes.txt", "deep/f.csv"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(picture(), kinds.get(name, "JPEG")))
    done = called("locate", tmp_path, tmp_path / "a.png", "--model", saved.pt, "--json")
    assert (done.code, done.err) == (0, "")
    found = [each["photo"] for each in jsons(done.out)]
    assert found == [str(tmp_path / name) for name in [*sorted(kept), "a.png"]]


def test_a_map_is_written_beside_any_output(saved, photos, tmp_path):
    page = tmp_path / "map.html"
    for how in ([], ["--json"], ["--geojson"], ["--together"]):
        done = called("locate", photos, "--model", saved.pt, "--map", page, *how)
        assert done.code == 3 and done.out
        assert done.err.splitlines()[1:] == [f"The map to look at: {page}"]
        html = page.read_text("utf-8")
        assert html.count("<img ") == (1 if "--together" in how else 6)
        assert "5.jpg" in html and "broken.jpg" not in html
        page.unlink()


# GPS


def with_gps(image: Image.Image, latitude: float, longitude: float) -> bytes:
    exif = Image.Exif()
    exif[IFD.GPSInfo] = {
        GPS.GPSLatitudeRef: "N" if latitude >= 0 else "S",
        GPS.GPSLatitude: (abs(latitude), 0.0, 0.0),
        GPS.GPSLongitudeRef: "E" if longitude >= 0 else "W",
        GPS.GPSLongitude: (abs(longitude), 0.0, 0.0),
    }
    return encoded(image, exif=exif)


def angle_km(one, other) -> float:
    """By the spherical law of cosines."""
    (a, b), (c, d) = ([math.radians(each) for each in where] for where in (one, other))
    cosine = math.sin(a) * math.sin(c) + math.cos(a) * math.cos(c) * math.cos(b - d)
    return 6371.0088 * math.acos(cosine)


@pytest.mark.parametrize("there", [PARIS, (-41.2865, 174.7762), (21.3069, -157.8583)])
def test_gps_is_shown_and_not_used(saved, there, tmp_path):
    with_, without = tmp_path / "with.jpg", tmp_path / "without.jpg"
    with_.write_bytes(with_gps(picture(), *there))
    without.write_bytes(encoded(picture()))
    assert saved.locator.locate(with_) == saved.locator.locate(without)
    one, other = jsons(called("locate", with_, without, "--model", saved.pt, "--json").out)
    assert (one["latitude"], one["longitude"]) == (other["latitude"], other["longitude"])
    assert one["cells"] == other["cells"]
    assert (other["gps"], other["off_km"]) == (None, None)
    assert list(one["gps"].values()) == pytest.approx(there, abs=1e-4)
    off = angle_km(there, (one["latitude"], one["longitude"]))
    assert one["off_km"] == pytest.approx(off, rel=1e-4)
    [feature] = json.loads(called("locate", with_, "--model", saved.pt, "--geojson").out)[
        "features"
    ]
    assert feature["properties"]["off_km"] == one["off_km"]
    said = f"Its GPS says {there[0]:.4f}, {there[1]:.4f}: {off:,.0f} km from the guess."
    assert called("locate", with_, "--model", saved.pt).out.splitlines()[-1].strip() == said
    assert "GPS" not in called("locate", without, "--model", saved.pt).out


def test_photos_together_show_the_first_gps_there_is(saved, tmp_path):
    bodies = [encoded(picture()), with_gps(picture(seed=1), *PARIS), with_gps(picture(), 1.0, 2.0)]
    names = [tmp_path / f"{each}.jpg" for each in range(3)]
    for name, body in zip(names, bodies, strict=True):
        name.write_bytes(body)
    [answer] = jsons(called("locate", *names, "--model", saved.pt, "--together", "--json").out)
    assert list(answer["gps"].values()) == pytest.approx(PARIS, abs=1e-4)


# nogps export


def test_export_writes_both_files_and_says_how_they_answer(saved, photos):
    assert saved.export.code == export.DIFFERENT
    squares = [saved.locator.square(photos / f"{each}.jpg") for each in range(6)]
    asked = [saved.locator.scores(each) for each in squares]
    lines = saved.export.out.splitlines()
    for line, path in zip(lines, (saved.onnx, saved.small), strict=True):
        found = [OnnxLocator.load(path).scores(each) for each in squares]
        pairs = list(zip(asked, found, strict=True))
        alike = np.mean([one.argmax() == other.argmax() for one, other in pairs])
        guesses = [[saved.locator.guess([each]) for each in pair] for pair in pairs]
        there = np.mean([one.latitude == other.latitude for one, other in guesses])
        assert line.startswith(f"{path}: {path.stat().st_size / 1e6:.1f} MB; of 6 photos ")
        assert f"{100 * alike:.1f} % have the same top cell" in line
        assert f"{100 * there:.1f} % the same place, scores differ by " in line
        off = max(np.abs(one - other).max() for one, other in pairs)
        assert float(line.split("differ by ")[1].split()[0]) == pytest.approx(off, rel=0.06)
    said = one_sentence(saved.export.err)
    assert said.startswith(f"nogps: {saved.small}: 100.5 % of the top cells should be the same")


def test_export_is_content_with_what_is_alike(saved, photos, tmp_path, monkeypatch):
    """By default beside the model, and asked made-up pictures."""
    about = {"model_licence": "CC BY-SA 4.0 (share-alike)"}
    seeing(calibration=CALIBRATION, about=about).save(tmp_path / "model.pt")

    def copied(locator, path, small):  # it takes seconds to write them anew
        path.write_bytes(saved.onnx.read_bytes())

    monkeypatch.setattr("nogps.model.export.export", copied)
    done = called("export", "--model", tmp_path / "model.pt")
    assert (done.code, done.err) == (0, "")
    assert done.out.count(f"of {export.BLOTS} made-up pictures") == 2
    assert done.out.endswith(f"by its photos: {about['model_licence']}\n")
    assert "must carry" not in saved.export.out  # which knows of none
    assert {each.name for each in tmp_path.iterdir()} == {
        "model.pt",
        "model.onnx",
        "model.small.onnx",
    }
    done = called("export", "--model", tmp_path / "model.pt", "--check", photos)
    assert (done.code, done.err) == (0, "")


def test_export_judges_the_full_file_also_by_made_up_pictures(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "nogps.model.export.export", lambda locator, path, small: path.write_bytes(b"")
    )
    monkeypatch.setattr(OnnxLocator, "load", lambda path: None)
    monkeypatch.setattr("nogps.model.export.compare", lambda *both: Parity(32, 0, 0, 1.0))
    done = called("export", "--model", saved.pt, "--to", tmp_path)
    assert done.code == export.DIFFERENT
    assert one_sentence(done.err).startswith(f"nogps: {tmp_path / 'model.onnx'}: 99.5 %")


def test_what_is_asked_without_photos_is_a_picture_each(saved):
    squares = list(export._pictures(saved.locator, None))
    assert {each.shape for each in squares} == {(64, 64, 3)}
    assert len({each.tobytes() for each in squares}) == len(squares) == export.BLOTS
    assert min(each.std() for each in squares) > 30


def test_export_says_what_is_missing(saved, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.jpg").write_bytes(b"nothing")
    for arguments, says in (
        (["--to", tmp_path / "none"], f"--to: {tmp_path / 'none'} is no directory; make it first"),
        (["--check", tmp_path / "none"], f"--check: {tmp_path / 'none'} is no directory"),
        (["--check", tmp_path / "empty"], f"{tmp_path / 'empty'} holds no photos"),
        (["--check", tmp_path / "broken"], "--check: not one photo in"),
        (["--model", tmp_path / "none.pt", "--to", tmp_path], "none.pt is not there"),
    ):
        done = called("export", *("--model", saved.pt), *("--to", tmp_path), *arguments)
        assert (done.code, done.out) == (1, "")
        assert says in one_sentence(done.err)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["broken", "empty"]
