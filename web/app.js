// The page: photos come in, answers are shown.

import { distanceKm, score } from "./answer.js";
import { hasCamera, shoot } from "./camera.js";
import { Game } from "./game.js";
import { circlesOf, Globe } from "./globe.js";
import { Locator } from "./locator.js";
import { canBeOffline, keep, register } from "./offline.js";
import { exactKm, megabytes, percent, points, position, sureness } from "./words.js";

const EXAMPLES = 4;
const NAMED = 5; // photos that could not be read, at most
const at = (id) => document.getElementById(id);
const page = document.documentElement;

const locator = new Locator(showProgress, failed);
const globe = new Globe(at("globe"), {
  onTap,
  onView: (text) => at("globe").setAttribute("aria-label", text),
});

let model = null; // what the worker said of it, once it is loaded
let photos = []; // { id, blob, name, state: waiting | done | failed, result, error, url, truth, pin }
let selected = null;
let joint = null; // the answer of all photos as of one place: { answer, pin }
let game = null;
let lastId = 0;

// ---- start

async function start() {
  page.dataset.state = "loading";
  at("retry").hidden = true;
  loads.clear();
  try {
    model = await locator.load();
  } catch (error) {
    return failed(error.message);
  }
  page.dataset.state = "ready";
  showFacts();
  at("learned").textContent = model.learned && `The model: ${model.learned}`;
  showStatus("Ready.");
  say("Ready.");
  workOff();
  keepAll();
}

function failed(message) {
  page.dataset.state = "failed";
  showStatus(message);
  at("retry").hidden = false;
  say(message);
}

function showStatus(text) {
  at("status").textContent = text;
  at("progress").hidden = page.dataset.state !== "loading";
}

const loads = new Map(); // what is being loaded: { loaded, total }

function showProgress({ what, loaded, total }) {
  if (page.dataset.state !== "loading") return; // late news of one file when another has failed
  if (!loaded) {
    at("progress").removeAttribute("value");
    return showStatus(`${what}.`);
  }
  loads.set(what, { loaded, total });
  const all = [...loads.values()];
  const sum = (key) => all.reduce((sofar, each) => sofar + each[key], 0);
  const known = all.every((each) => each.total >= each.loaded);
  if (known) at("progress").value = sum("loaded") / sum("total");
  else at("progress").removeAttribute("value");
  const of = known ? ` of ${megabytes(sum("total"))}` : "";
  const names = [...loads.keys()].reverse().join(" and ");
  showStatus(`Loading ${names}: ${megabytes(sum("loaded"))}${of} MB`);
}

function showFacts() {
  const runs =
    model.runtime === "webgpu"
      ? "on the graphics processor (WebGPU)"
      : "on the processor (WebAssembly)";
  const facts = {
    "Learned from": model.trainedOn,
    Network: `${model.backbone}, ${model.imageSize} × ${model.imageSize} pixels, ${points(model.classes)} places, ${megabytes(model.bytes)} MB`,
    Licence: [model.modelLicence, model.licence].filter(Boolean).join("; "),
    Runs: runs,
  };
  const rows = Object.entries(facts).filter(([, fact]) => fact);
  at("facts").replaceChildren(
    ...rows.map(([name, fact]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, String(fact))),
    ),
  );
}

/** What a visit has not needed is fetched too, so that all of it works without a network. */
async function keepAll() {
  if (!canBeOffline) {
    return showStatus("Ready. Offline use and the live camera need https or localhost.");
  }
  await gameRead;
  const rest = [
    "vendor/libheif-js/libheif-bundle.mjs",
    "game.json",
    ...listed.map(({ file }) => file),
  ];
  const kept = await keep([...model.files, ...rest]);
  if (!isReady()) return;
  showStatus(
    kept
      ? "Ready. It works offline from now on."
      : "Ready. It needs a connection: this browser has no room to keep all of it.",
  );
}

const element = (tag, given, ...children) => {
  const made = Object.assign(document.createElement(tag), given);
  made.append(...children);
  return made;
};

const say = (text) => {
  at("live").textContent = text;
};

// ---- photos come in

function add(blobs, given = {}) {
  const added = blobs.map((blob) => {
    const id = ++lastId;
    return { id, blob, name: blob.name || `Photo ${id}`, state: "waiting", pin: null, ...given };
  });
  if (!added.length) return;
  photos.push(...added);
  forgetJoint();
  if (inGame()) location.hash = "#photos";
  select(added[0]);
  workOff();
}

const isReady = () => page.dataset.state === "ready";
let working = false;

/** One photo after the other, so that memory stays bounded; a bad one stops no other. */
async function workOff() {
  if (working || !isReady()) return;
  working = true;
  for (let photo = nextWaiting(); photo && isReady(); photo = nextWaiting()) {
    try {
      photo.result = await locator.locate(photo.blob);
      photo.state = "done";
      if (photo.result.runtime !== model.runtime) {
        model.runtime = photo.result.runtime;
        showFacts();
      }
    } catch (error) {
      photo.error = error.message;
      photo.state = "failed";
    }
    photo.blob = null;
    if (!photos.includes(photo)) continue;
    if (photo.result) photo.url = URL.createObjectURL(photo.result.preview);
    await joinIfAsked();
    render(photo === selected || (at("together").checked && Boolean(joint)));
  }
  working = false;
  showFailed();
}

/** Among many photos, those that could not be read are easily missed. */
function showFailed() {
  const failed = photos.filter(({ state }) => state === "failed").map(({ name }) => name);
  if (!failed.length || photos.length < 2) return;
  const more = failed.length > NAMED ? ` and ${failed.length - NAMED} more` : "";
  showMessage(`Could not be read: ${failed.slice(0, NAMED).join(", ")}${more}.`);
}

const nextWaiting = () => photos.find((each) => each.state === "waiting");
const located = () => photos.filter((each) => each.state === "done");

function remove(photo) {
  const where = photos.indexOf(photo);
  photos = photos.filter((each) => each !== photo);
  if (photo.url) URL.revokeObjectURL(photo.url);
  at("messages").replaceChildren();
  forgetJoint();
  select(photos[Math.min(where, photos.length - 1)] ?? null);
  if (!photos.length) at("choose").focus(); // the button that had the focus is gone
}

function select(photo) {
  selected = photo;
  joinIfAsked().then(() => {
    render(true);
    const item = at("strip").querySelector(`[data-id="${photo?.id}"]`);
    if (item) at("strip").scrollLeft = item.offsetLeft - at("strip").clientWidth / 2;
  });
}

function forgetJoint() {
  joint = null;
  if (located().length + (nextWaiting() ? 1 : 0) < 2) at("together").checked = false;
}

async function joinIfAsked() {
  const some = located();
  if (!at("together").checked || some.length < 2) {
    joint = null;
    return;
  }
  if (joint?.count === some.length) return;
  try {
    const { answer } = await locator.together(some.map((each) => each.result.scores));
    // Meanwhile a photo may have come or gone, or the switch been turned: then another answers.
    if (!at("together").checked || String(located().map(idOf)) !== String(some.map(idOf))) return;
    joint = { answer, pin: joint?.pin ?? null, count: some.length };
  } catch (error) {
    at("together").checked = false;
    showMessage(error.message);
  }
}

const idOf = ({ id }) => id;

// ---- what is shown

/** What the answer on the page is of: the photos together, or the one selected. */
const current = () => joint ?? selected;
const answerOf = (it) => it?.answer ?? it?.result?.answer;

function render(turn) {
  if (inGame()) return;
  at("intro").hidden = photos.length > 0;
  at("results").hidden = !photos.length;
  renderStrip();
  if (!photos.length) {
    globe.show({});
    return;
  }
  renderPhoto();
  const answer = answerOf(current());
  at("located").hidden = !answer;
  at("legend").classList.toggle("on", Boolean(answer));
  if (!answer) return globe.show({});
  renderAnswer(answer);
  renderMap(answer, turn);
}

function renderStrip() {
  at("several").hidden = photos.length < 2;
  at("join").hidden = photos.filter(({ state }) => state !== "failed").length < 2;
  const active = document.activeElement?.closest?.("#strip li")?.dataset.id;
  at("strip").replaceChildren(
    ...photos.map((photo) => {
      const words = { waiting: "not yet looked at", failed: "cannot be used" }[photo.state];
      const button = element("button", { type: "button", onclick: () => select(photo) });
      button.setAttribute("aria-label", [photo.name, words].filter(Boolean).join(", "));
      button.setAttribute(
        "aria-pressed",
        String(joint ? photo.state === "done" : photo === selected),
      );
      button.dataset.state = photo.state;
      if (photo.url) button.append(element("img", { src: photo.url, alt: "" }));
      const item = element("li", {}, button);
      item.dataset.id = photo.id;
      return item;
    }),
  );
  if (active) at("strip").querySelector(`[data-id="${active}"] button`)?.focus();
}

function renderPhoto() {
  const answer = answerOf(current());
  const { state, name, url, error } = selected;
  at("photo").hidden = !url;
  if (url) at("photo").src = url;
  at("photo").alt = url ? name : "";
  at("answer").dataset.state = answer ? "done" : state;
  at("answer").setAttribute("aria-busy", String(state === "waiting"));
  if (answer) return;
  at("kicker").textContent = name;
  const waits =
    page.dataset.state === "failed" ? "The model is not loaded." : "Waiting for the model.";
  at("place").textContent = { waiting: isReady() ? "Looking at the pixels." : waits, failed: error }[
    state
  ];
  at("position").textContent = "";
  if (state === "failed") say(`${name}: ${error}`);
}

function renderAnswer(answer) {
  const { words, within } = sureness(answer, model.radiiKm);
  at("kicker").textContent = joint
    ? `Best guess, from ${joint.count} photos of one place`
    : "Best guess";
  at("place").textContent = `Near ${answer.name}`;
  at("position").textContent = position(answer.latitude, answer.longitude);
  at("sure").replaceChildren(element("b", {}, words), ` ${within}`);
  at("best").replaceChildren(
    ...answer.best.map(({ name, probability }) => {
      const bar = element("i", {});
      bar.style.setProperty("--share", `${100 * probability}%`);
      bar.setAttribute("aria-hidden", "true");
      return element(
        "li",
        {},
        element("span", {}, name),
        element("b", {}, percent(probability)),
        bar,
      );
    }),
  );
  at("apart").hidden = answer.best[0].name === answer.name;
  renderTruth(answer);
}

function renderTruth(answer) {
  const { pin, truth } = current();
  at("unpin").hidden = !pin;
  at("reveal").hidden = !truth || Boolean(pin);
  at("off").textContent = pin
    ? offBy(answer, pin)
    : truth
      ? "Tap the globe where you think it was, or let it be shown."
      : "Tap the globe there, and see how far off the guess is.";
}

function offBy(answer, pin) {
  const { constants } = model;
  const km = distanceKm(answer, pin, constants);
  const place = pin.place ? `It was in ${pin.place}. ` : "";
  return `${place}The guess is ${exactKm(km)} off: ${points(score(km, constants))} of ${points(constants.geoguessr_points)} points by GeoGuessr’s rule.`;
}

function renderMap(answer, turn) {
  const { latitude, longitude, name } = answer;
  const { pin } = current();
  const { words, within } = sureness(answer, model.radiiKm);
  const marks = [{ kind: "guess", label: pin ? "guess" : "", latitude, longitude }];
  const lines = [];
  if (pin) {
    const off = distanceKm(answer, pin, model.constants);
    marks.push({ kind: "truth", label: `${exactKm(off)} off`, ...pin });
    lines.push({ from: [latitude, longitude], to: [pin.latitude, pin.longitude] });
  }
  const said = [`Guess: near ${name}, ${position(latitude, longitude)}.`, words, within];
  if (pin) said.push(offBy(answer, pin));
  globe.show({
    glow: answer.glow,
    circles: circlesOf(answer, model.constants),
    lines,
    marks,
    words: said.join(" "),
  });
  if (turn) globe.turnTo(latitude, longitude, answer.radius90Km / model.constants.earth_radius_km);
  if (turn || pin) say(said.join(" "));
}

// ---- where it was really

function onTap(latitude, longitude) {
  if (inGame()) return game?.tap(latitude, longitude);
  setPin({ latitude, longitude });
}

function setPin(pin) {
  const answer = answerOf(current());
  if (!answer) return;
  current().pin = pin;
  renderTruth(answer);
  renderMap(answer, false);
}

// ---- examples and the game

let listed = null; // the photos of game.json, once it is read
let rules = null; // and its constants

async function loadGame() {
  try {
    const response = await fetch("game.json");
    const json = response.ok ? await response.json() : {};
    const fits = (each) =>
      typeof each.file === "string" && isFinite(each.latitude) && isFinite(each.longitude);
    rules = json.constants;
    listed = rules ? json.photos.filter(fits) : [];
  } catch {
    listed = []; // the same as none
  }
  const [list] = at("examples").getElementsByTagName("ul");
  list.replaceChildren(
    ...listed.slice(0, EXAMPLES).map((photo, i) => {
      const image = element("img", { src: photo.file, alt: "", width: 96, height: 96 });
      const button = element("button", { type: "button", onclick: () => tryExample(photo) }, image);
      button.setAttribute("aria-label", `Try example ${i + 1}`);
      return element("li", {}, button);
    }),
  );
  at("examples").hidden = !listed.length;
  if (listed.length)
    game = new Game({
      globe,
      photos: listed,
      constants: rules,
      locate: async (url) => {
        const blob = await blobOf(url);
        await started;
        return (await locator.locate(blob)).answer;
      },
      say,
    });
  if (inGame()) openView();
}

async function blobOf(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error("The photo could not be loaded.");
  return response.blob();
}

async function tryExample({ file, latitude, longitude, place }) {
  try {
    add([await blobOf(file)], { name: "Example", truth: { latitude, longitude, place } });
  } catch {
    showMessage("The example could not be loaded.");
  }
}

const inGame = () => location.hash === "#game";

function openView() {
  at("view-game").hidden = !inGame();
  at("view-photos").hidden = inGame();
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.hash === (inGame() ? "#game" : "#photos")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  at("legend").classList.toggle("on", !inGame() && Boolean(answerOf(current())));
  if (!inGame()) return render(true);
  at("game-go").hidden = !game;
  if (game) return game.enter();
  at("game-text").textContent = listed
    ? "This site has no photos to play with, so there is no game."
    : "Looking for photos to play with.";
  globe.show({});
}

// ---- what the person does

function showMessage(text) {
  at("messages").replaceChildren(element("li", {}, text));
  say(text);
}

async function takePhoto() {
  at("messages").replaceChildren();
  if (!hasCamera()) return at("capture").click();
  try {
    const photo = await shoot();
    if (photo) add([photo], { name: "From the camera" });
  } catch (error) {
    showMessage(error.message);
  }
}

const filesIn = (transfer) => [...(transfer?.files ?? [])];

function listen() {
  at("shoot").addEventListener("click", takePhoto);
  at("choose").addEventListener("click", () => at("files").click());
  for (const id of ["files", "capture"])
    at(id).addEventListener("change", ({ target }) => {
      add([...target.files]);
      target.value = ""; // the same file may be chosen again
    });
  at("together").addEventListener("change", () => select(selected));
  at("remove").addEventListener("click", () => remove(selected));
  at("reveal").addEventListener("click", () => {
    setPin(current().truth);
    at("globe").scrollIntoView({ block: "nearest" });
    globe.turnToAll(
      [answerOf(current()), current().truth].map((each) => [each.latitude, each.longitude]),
    );
    at("unpin").focus({ preventScroll: true });
  });
  at("unpin").addEventListener("click", () => {
    setPin(null);
    at("globe").focus();
  });
  at("retry").addEventListener("click", () => {
    start();
    at("panel").focus();
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address says which view is open
    at("panel").focus();
  });
  at("zoom-in").addEventListener("click", () => globe.zoomBy(1.6));
  at("zoom-out").addEventListener("click", () => globe.zoomBy(1 / 1.6));
  at("zoom-reset").addEventListener("click", () => globe.reset());
  addEventListener("hashchange", openView);
  addEventListener("paste", ({ clipboardData }) => add(filesIn(clipboardData)));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    page.classList.add("dragging");
  });
  addEventListener(
    "dragleave",
    (event) => event.relatedTarget || page.classList.remove("dragging"),
  );
  addEventListener("drop", (event) => {
    event.preventDefault();
    page.classList.remove("dragging");
    add(filesIn(event.dataTransfer));
  });
}

/** For tests and the curious. */
window.nogps = {
  locate: async (blob) => (await locator.locate(blob)).answer,
};

listen();
openView();
globe
  .load("coarse", "vendor/world-atlas/countries-110m.json")
  .then(() => globe.load("fine", "vendor/world-atlas/countries-50m.json"))
  .catch(() => showMessage("The map could not be loaded whole; answers still come."));
const gameRead = loadGame();
const started = register((replace) => {
  at("update").hidden = false;
  at("update").onclick = replace;
}).then(start);
