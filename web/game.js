// Five rounds against the model: who places a photo nearer to where it was taken?

import { distanceKm, score } from "./answer.js";
import { circlesOf } from "./globe.js";
import { exactKm, points } from "./words.js";

const ROUNDS = 5;
const APART_KM = 300; // between the photos of a game, if there are so many
const at = (id) => document.getElementById(id);

export class Game {
  /**
   * `photos` and `constants` as in game.json, `locate(url)` asks the model, `say(text)` tells who
   * cannot see.
   */
  constructor({ globe, photos, constants, locate, say }) {
    Object.assign(this, { globe, photos, constants, locate, say });
    Object.assign(this, { stage: "intro", rounds: [], pin: null });
    at("game-go").addEventListener("click", () => this.go());
    this.enter();
  }

  /** Draws what is going on; also when the person comes back to the game. */
  enter() {
    ({
      intro: () => this.intro(),
      round: () => this.show(),
      truth: () => this.reveal(),
      end: () => this.end(),
    })[this.stage]();
  }

  get round() {
    return this.rounds.at(-1);
  }

  totals() {
    const sum = (who) =>
      this.rounds.reduce((all, each) => all + Math.round(each[who]?.score ?? 0), 0);
    return { you: sum("you"), model: sum("model") };
  }

  go() {
    if (!this.ready) return;
    if (this.stage === "intro" || this.stage === "end") return this.start();
    if (this.stage === "round") return this.judge();
    if (this.rounds.length < this.deck.length) return this.next();
    this.stage = "end";
    this.end();
  }

  start() {
    this.rounds = [];
    const shuffled = this.photos.map((photo) => ({ photo, key: Math.random() }));
    shuffled.sort((a, b) => a.key - b.key);
    const photos = shuffled.map(({ photo }) => photo);
    this.deck = farApart(photos, this.constants).slice(0, ROUNDS);
    this.next();
  }

  next() {
    const photo = this.deck[this.rounds.length];
    const answer = this.locate(photo.file);
    answer.catch(() => {}); // judge() says so
    this.rounds.push({ photo, answer });
    this.pin = null;
    this.stage = "round";
    this.globe.reset();
    this.show();
  }

  tap(latitude, longitude) {
    if (this.stage !== "round" || this.judging) return;
    this.pin = { latitude, longitude };
    this.mark();
    this.setReady(true);
    at("game-text").textContent = "Move your square with another tap, or settle for it.";
    this.say("Your guess is marked.");
  }

  mark() {
    const marks = this.pin ? [{ kind: "you", label: "you", ...this.pin }] : [];
    this.globe.show({ marks, words: this.pin ? "Your guess is marked." : "" });
  }

  async judge() {
    const { round, pin } = this;
    this.judging = true;
    this.setReady(false);
    at("game-text").textContent = "The model looks at the photo.";
    const rate = ({ latitude, longitude }) => {
      const km = distanceKm({ latitude, longitude }, round.photo, this.constants);
      return { latitude, longitude, km, score: score(km, this.constants) };
    };
    try {
      round.located = await round.answer;
      round.model = rate(round.located);
    } catch (error) {
      round.failed = error.message;
    }
    this.judging = false;
    round.you = rate(pin);
    this.stage = "truth";
    this.setReady(true);
    if (!at("view-game").hidden) this.reveal();
  }

  /** Whether the button does something; a disabled one would lose the focus. */
  setReady(ready) {
    this.ready = ready;
    at("game-go").setAttribute("aria-disabled", String(!ready));
  }

  // ---- what is seen

  frame({ title, text, photo, button, ready = true }) {
    const totals = this.totals();
    const number = `Round ${this.rounds.length} of ${this.deck?.length}`;
    at("game-score").textContent = this.rounds.length
      ? `${number} · you ${points(totals.you)} · model ${points(totals.model)}`
      : `${Math.min(ROUNDS, this.photos.length)} rounds`;
    at("game-title").textContent = title;
    at("game-text").textContent = text;
    at("view-game").dataset.stage = this.stage;
    at("legend").classList.toggle("on", this.stage === "truth");
    at("game-photo").hidden = !photo;
    if (photo) at("game-photo").src = photo.file;
    at("game-go").textContent = button;
    this.setReady(ready);
    at("game-table").replaceChildren();
    at("game-credit").replaceChildren();
  }

  intro() {
    const title = "You against the model";
    const text =
      "A photo, a globe: tap where you think it was taken. Then you see the truth, and where the " +
      `model put it. The nearer, the more points: ${points(this.constants.geoguessr_points)} at most. ` +
      "It has not seen these photos before.";
    this.frame({ title, text, button: "Play" });
    this.globe.show({});
  }

  show() {
    const title = "Where is this?";
    const text = "Tap the globe where you think this was taken. Zoom in to be exact.";
    this.frame({
      title,
      text,
      photo: this.round.photo,
      button: "Guess here",
      ready: Boolean(this.pin) && !this.judging,
    });
    this.mark();
    this.say(`Round ${this.rounds.length}. ${text}`);
  }

  reveal() {
    const { photo, you, model, located, failed } = this.round;
    const last = this.rounds.length === this.deck.length;
    const text = failed
      ? `The model has no answer: ${failed}`
      : Math.abs(you.km - model.km) < 0.5
        ? "Equally near."
        : you.km < model.km
          ? "You were nearer."
          : "The model was nearer.";
    const title = photo.place || "Here it was";
    this.frame({ title, text, photo, button: last ? "See who won" : "Next round" });
    const rows = [
      ["You", you],
      ["Model", model],
    ].filter(([, each]) => each);
    at("game-table").append(
      table(
        ["", "Off by", "Points"],
        rows.map(([who, each]) => [who, exactKm(each.km), points(each.score)]),
      ),
    );
    this.credit(photo);
    const truth = [photo.latitude, photo.longitude];
    const said = rows.map(
      ([who, each]) => `${who}: ${exactKm(each.km)} off, ${points(each.score)} points.`,
    );
    const lines = rows.map(([who, each]) => ({
      from: [each.latitude, each.longitude],
      to: truth,
      kind: who === "You" ? "you" : "guess",
    }));
    const marks = [{ kind: "you", label: "you", ...this.pin }];
    if (model) marks.push({ kind: "guess", label: "model", ...model });
    marks.push({ kind: "truth", label: "truth", latitude: truth[0], longitude: truth[1] });
    const words = `${title}. ${text} ${said.join(" ")}`;
    this.globe.show({
      glow: located?.glow,
      circles: located ? circlesOf(located, this.constants) : [],
      lines,
      marks,
      words,
    });
    this.globe.turnToAll(marks.map(({ latitude, longitude }) => [latitude, longitude]));
    this.say(words);
  }

  end() {
    const { you, model } = this.totals();
    const by = points(Math.abs(you - model));
    const title =
      you === model
        ? "A draw"
        : you > model
          ? `You won by ${by} points`
          : `The model won by ${by} points`;
    const most = this.constants.geoguessr_points * this.deck.length;
    const text = `You have ${points(you)} points, the model ${points(model)}, of ${points(most)}.`;
    this.frame({ title, text, button: "Play again" });
    at("game-table").append(
      table(
        ["Photo", "You", "Model"],
        this.rounds.map(({ photo, you, model }, i) => [
          [i + 1, photo.place].filter(Boolean).join(" "),
          exactKm(you.km),
          model ? exactKm(model.km) : "no answer",
        ]),
      ),
    );
    const marks = this.rounds.map(({ photo: { latitude, longitude } }, i) => ({
      kind: "truth",
      label: String(i + 1),
      latitude,
      longitude,
    }));
    this.globe.show({ marks, words: `${title}. ${text}` });
    this.globe.reset();
    this.say(`${title}. ${text}`);
  }

  credit(photo) {
    if (!photo.title) return; // drawn, by nobody
    const by = photo.author ? [" by ", linked(photo.author)] : [];
    const licence = linked(photo.licence, photo.licence_url);
    at("game-credit").append(
      "Photo: ",
      linked(photo.title, photo.page_url),
      ...by,
      ", ",
      licence,
      ", resized",
    );
  }
}

/** What people wrote, whichever way it runs, and as a link where it leads to a page. */
function linked(text, href = "") {
  const words = Object.assign(document.createElement("bdi"), { textContent: text });
  if (!/^https?:\/\//i.test(href)) return words;
  const link = document.createElement("a");
  Object.assign(link, { href, rel: "noreferrer", target: "_blank" }).append(words);
  return link;
}

/** Photos in another order: first those that are APART_KM from each one before. */
function farApart(photos, constants) {
  const [chosen, near] = [[], []];
  for (const photo of photos) {
    const far = chosen.every((each) => distanceKm(each, photo, constants) > APART_KM);
    (far ? chosen : near).push(photo);
  }
  return [...chosen, ...near];
}

function table(head, rows) {
  const element = document.createElement("table");
  const header = element.createTHead().insertRow();
  for (const name of head) {
    const cell = document.createElement(name ? "th" : "td");
    if (name) cell.scope = "col";
    cell.textContent = name;
    header.append(cell);
  }
  const body = element.createTBody();
  for (const [name, ...cells] of rows) {
    const row = body.insertRow();
    const first = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
    row.append(first);
    for (const text of cells) row.insertCell().textContent = text;
  }
  return element;
}
