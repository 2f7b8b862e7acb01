"use strict";
// The photos of the report: search, filter, order, open by id. Paths come drawn from report.py.

const { classes, photos } = JSON.parse(document.getElementById("data").textContent);
const byId = new Map(photos.map((photo) => [photo.id, photo]));
const at = (id) => document.getElementById(id);
const STEP = 24; // cards shown at a time
const NO_ANSWER = "no answer";

const token = (label) => (label < 0 ? "" : classes[label].token);
const answered = (photo) => photo.guess_label >= 0;
const right = (photo) => photo.label >= 0 && photo.label === photo.guess_label;
const number = (value, digits) =>
  value === null
    ? NO_ANSWER
    : value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const km = (value) => number(value, value < 10 ? 1 : 0);
const href = (photo) => "#" + encodeURIComponent(photo.id);

// The page lists whom to credit, photo by photo, in the order of the photos.
const credits = document.querySelectorAll(".credits li");

// What the search looks through; "taken→put" finds a pair of cells.
for (const [i, photo] of photos.entries()) {
  photo.credit = credits[i];
  const cells = token(photo.label) + "→" + token(photo.guess_label);
  const places = [photo.true_place, photo.guessed_place];
  const words = [photo.id, ...places, photo.owner, photo.credit.textContent, cells];
  photo.words = words.join("\n").toLowerCase();
}
const matches = (photo, text) => photo.words.includes(text.trim().toLowerCase());

const FILTERS = {
  all: () => true,
  right,
  wrong: (photo) => answered(photo) && !right(photo),
  near: (photo) => photo.km !== null && photo.km <= 200,
  far: (photo) => photo.km > 2500,
  outside: (photo) => photo.label < 0,
  unanswered: (photo) => !answered(photo),
};

function compare(a, b, key) {
  if (key === "id") return a.id.localeCompare(b.id, "en", { numeric: true });
  return (b[key] ?? -1) - (a[key] ?? -1); // without a value last
}

// ---- a photo's card

function path(svg, name, d, opacity = 1) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
  element.setAttribute("class", name);
  element.setAttribute("d", d ?? "");
  element.setAttribute("opacity", opacity);
  svg.append(element);
}

function drawMap(svg, photo, box) {
  svg.setAttribute("viewBox", box);
  // The square root: a tenth of the probability is still to be seen.
  for (const [label, probability] of photo.top.toReversed())
    path(svg, "disc", classes[label].disc, 0.7 * Math.sqrt(probability));
  for (const layer of ["r90", "r50"]) path(svg, layer, photo[layer]);
  path(svg, "lines", photo.line);
  path(svg, "rims", photo.truth + (photo.guess ?? ""));
  path(svg, "guesses", photo.guess);
  path(svg, "truths", photo.truth);
  const guess = answered(photo) ? `put near ${photo.guessed_place}` : NO_ANSWER;
  svg.setAttribute("aria-label", `Map: taken near ${photo.true_place}, ${guess}`);
}

function makeCard(photo) {
  const card = at("card").content.firstElementChild.cloneNode(true);
  const field = (name) => card.querySelector(`[data-field=${name}]`);
  const text = {
    id: photo.id,
    true_place: photo.true_place,
    true_position: photo.true_position,
    guessed_place: answered(photo) ? photo.guessed_place : NO_ANSWER,
    guessed_position: photo.guessed_position,
    km: km(photo.km),
    loss: photo.label < 0 ? "outside every cell" : number(photo.loss, 2),
    confidence: number(photo.confidence, 1),
    radii: answered(photo) ? `${km(photo.radius_50)} and ${km(photo.radius_90)} km` : NO_ANSWER,
    cells: [token(photo.label) || "outside", token(photo.guess_label) || NO_ANSWER].join(" → "),
    train_km: `photo ${km(photo.train_km)} km away`,
    top: photo.top
      .filter(([, probability], rank) => !rank || (rank < 3 && probability >= 0.005))
      .map(([label, probability]) => `${classes[label].name} ${number(100 * probability, 1)}\u00a0%`)
      .join("; "),
  };
  for (const [name, value] of Object.entries(text)) field(name).textContent = value;
  if (right(photo)) field("cells").textContent = token(photo.label) + ", right";
  field("id").href = href(photo);
  field("credit").append(...photo.credit.cloneNode(true).childNodes);
  const image = card.querySelector("img");
  if (photo.jpeg) {
    image.src = "data:image/jpeg;base64," + photo.jpeg;
    image.alt = `Photo ${photo.id}` + (photo.true_place && `, taken near ${photo.true_place}`);
    card.querySelector(".unread").remove();
  } else image.remove();
  drawMap(card.querySelector("svg"), photo, photo.box);
  return card;
}

// ---- the list

let found = [];

function list() {
  const text = at("search").value;
  const filter = FILTERS[at("filter").value];
  found = photos.filter((photo) => filter(photo) && matches(photo, text));
  found.sort((a, b) => compare(a, b, at("order").value));
  at("cards").replaceChildren();
  at("count").textContent = `${number(found.length, 0)} of ${number(photos.length, 0)} photos`;
  showMore();
}

function showMore() {
  const shown = at("cards").childElementCount;
  for (const photo of found.slice(shown, shown + STEP)) {
    const item = document.createElement("li");
    item.append(makeCard(photo));
    at("cards").append(item);
  }
  at("more").hidden = at("cards").childElementCount >= found.length;
}

function search(text) {
  at("search").value = text;
  at("filter").value = "all";
  list();
  at("photos").scrollIntoView();
  at("search").focus({ preventScroll: true });
}

// ---- one photo, opened by the address: report.html#ID

function idOfAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1); // typed by hand, with a lone %
  }
}

function openAddress() {
  const id = idOfAddress();
  const photo = byId.get(id);
  if (photo) open(photo);
  else {
    at("opened").close();
    if (id && !at(id)) search(id);
  }
}

function open(photo) {
  at("opened-id").textContent = photo.id;
  const card = makeCard(photo);
  const whole = document.querySelector("main .map svg").getAttribute("viewBox");
  if (whole !== photo.box) {
    const svg = document.importNode(at("card").content.querySelector("svg"), true);
    drawMap(svg, photo, whole);
    card.querySelector("svg").after(svg);
  }
  at("opened-card").replaceChildren(card);
  if (!at("opened").open) at("opened").showModal();
  at("opened").scrollTop = 0;
}

function step(by) {
  const photo = found[found.indexOf(byId.get(idOfAddress())) + by];
  if (photo) location.replace(href(photo));
}

if (photos.length) {
  for (const link of document.querySelectorAll("a.photo")) {
    const { jpeg } = byId.get(link.dataset.photo);
    if (!jpeg) continue;
    const image = new Image();
    image.src = "data:image/jpeg;base64," + jpeg;
    image.alt = "";
    link.closest("li").prepend(image);
  }
  for (const button of document.querySelectorAll("button.find")) {
    const count = photos.filter((photo) => matches(photo, button.dataset.find)).length;
    button.hidden = !count;
    button.textContent = `${count} shown`;
    button.addEventListener("click", () => search(button.dataset.find));
  }
  at("search").addEventListener("input", list);
  at("filter").addEventListener("change", list);
  at("order").addEventListener("change", list);
  at("more").addEventListener("click", showMore);
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("close").addEventListener("click", () => at("opened").close());
  at("opened").addEventListener("close", () => {
    if (byId.has(idOfAddress())) history.replaceState(null, "", location.pathname + location.search);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT)$/.test(event.target.tagName);
    if (at("opened").open) {
      if (event.key === "ArrowLeft") step(-1);
      if (event.key === "ArrowRight") step(1);
    } else if (event.key === "/" && !typing) {
      event.preventDefault();
      at("search").focus();
    }
  });
  addEventListener("hashchange", openAddress);
  list();
  openAddress();
}
