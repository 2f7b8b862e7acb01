"""A photo to a place in the browser, beside bare decoding and the bare call of the runtime.

    python bench/page.py [FOLDER] [--rounds 9]

Debian's Chromium, WebAssembly on one thread; mobilenet_v3_large with 1,776 classes at 224 pixels
and 8-bit weights, untrained; a photo of 12 megapixels, laid together from those in FOLDER or drawn.
In turn, round after round:

- nogps: `nogps.locate(blob)`, which is what the page does with a photo;
- bare decode: createImageBitmap, drawn to a canvas as large as the model's input and read back;
- bare runtime: the call of onnxruntime-web on pixels at hand.

Also how long the page was ever kept from its next frame while nogps worked, and while a person
turned the globe with the answer on it, beside an idle page.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from locate import laid_together, photos_in, print_ratio, print_table, untrained
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
PORT = 8642

MEASURE = """async ([rounds, size]) => {
  window.blob = await (await fetch("large.jpg")).blob();
  const ort = await import("./vendor/onnxruntime-web/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("vendor/onnxruntime-web/", location.href).href;
  ort.env.wasm.numThreads = 1;
  const bytes = new Uint8Array(await (await fetch("model.onnx")).arrayBuffer());
  const session = await ort.InferenceSession.create(bytes);
  const pixels = new ort.Tensor("uint8", new Uint8Array(3 * size * size), [1, size, size, 3]);
  const sides = {
    nogps: () => nogps.locate(blob),
    "bare decode": async () => {
      const canvas = new OffscreenCanvas(size, size);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      const bitmap = await createImageBitmap(blob);
      context.drawImage(bitmap, 0, 0, size, size);
      bitmap.close();
      return context.getImageData(0, 0, size, size);
    },
    "bare runtime": () => session.run({ pixels }),
  };
  const times = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = -1; round < rounds; round++)
    for (const [name, side] of Object.entries(sides)) {
      const began = performance.now();
      await side();
      if (round >= 0) times[name].push((performance.now() - began) / 1000);
    }
  return times;
}"""

WATCH = """() => {
  window.longest = 0;
  let last = performance.now();
  const tick = (now) => {
    longest = Math.max(longest, now - last);
    last = now;
    window.watching = requestAnimationFrame(tick);
  };
  window.watching = requestAnimationFrame(tick);
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        locator = untrained()
        locator.save(here / "model.pt")
        build = [sys.executable, "-m", "nogps", "site", "--photos", "0"]
        build += ["--model", here / "model.pt", "--site", here / "site"]
        subprocess.run(build, cwd=ROOT, check=True)
        laid_together(photos_in(arguments.folder, here), here / "site/large.jpg")
        found = measured(here / "site", arguments.rounds, locator.image_size)
    print_table(found["times"])
    times = found["times"]
    bare = [sum(pair) for pair in zip(times["bare decode"], times["bare runtime"], strict=True)]
    print_ratio("nogps / bare", times["nogps"], bare)
    for name, gaps in found["gaps"].items():
        print(f"longest wait for a frame, {name}: {median(gaps):.0f} ms, {max(gaps):.0f} at most")


def measured(site: Path, rounds: int, size: int) -> dict:
    """What the browser measures."""
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(PORT)]
    server = subprocess.Popen([*command, "--directory", site], stderr=subprocess.DEVNULL)
    try:
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium")
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"], timeout=60_000
            )
            page = browser.new_context(service_workers="block").new_page()
            page.goto(f"http://127.0.0.1:{PORT}/?wasm")
            page.locator("html[data-state=ready]").wait_for(timeout=120_000)
            times = page.evaluate(MEASURE, [rounds, size])
            page.set_input_files("#files", site / "large.jpg")
            page.locator("#answer[data-state=done]").wait_for()
            page.wait_for_timeout(2000)  # the globe turns to the guess
            works = {
                "idle": lambda: page.wait_for_timeout(300),
                "locating": lambda: page.evaluate("() => nogps.locate(blob)"),
                "turning the globe": lambda: turn(page),
            }
            gaps = {
                name: [longest(page, work) for _ in range(rounds)] for name, work in works.items()
            }
            return {"times": times, "gaps": gaps}
    finally:
        server.kill()


def longest(page: Page, work: Callable[[], object]) -> float:
    """The longest that the page was kept from its next frame during work, in milliseconds."""
    page.evaluate(WATCH)
    work()
    return page.evaluate("() => { cancelAnimationFrame(watching); return longest; }")


def turn(page: Page) -> None:
    """A drag over the globe, of a mouse."""
    box = page.locator("#globe").bounding_box()
    across = [box["x"] + box["width"] * share for share in (0.3, 0.7)]
    middle = box["y"] + box["height"] / 2
    page.mouse.move(across[0], middle)
    page.mouse.down()
    page.mouse.move(across[1], middle, steps=40)
    page.mouse.up()


if __name__ == "__main__":
    main()
