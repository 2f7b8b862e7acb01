// The map: a globe on a canvas, turned by hand, wheel or keyboard, with what is marked on it.

import { geoCircle, geoContains, geoDistance, geoGraticule10, geoInterpolate } from "d3-geo";
import { geoOrthographic, geoPath } from "d3-geo";
import { feature, mesh } from "topojson-client";
import { unitVector } from "./answer.js";
import { drawGlow } from "./glow.js";

const DEGREE = 180 / Math.PI;
const MARGIN = 10; // pixels round the globe at zoom 1
const ZOOMS = [0.9, 60];
const STILL_AFTER = 160; // ms without a movement, then the fine map is drawn
const TAP = { pixels: 7, ms: 600, double: 320 };
const START = [12, 24];

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

/** The circles round an answer that hold half of the truths and nine tenths of them. */
export const circlesOf = ({ latitude, longitude, radius50Km, radius90Km }, constants) => [
  { latitude, longitude, angle: radius50Km / constants.earth_radius_km },
  { latitude, longitude, angle: radius90Km / constants.earth_radius_km, dotted: true },
];

/**
 * A globe on a canvas. `onTap(latitude, longitude)` is called for a tap, and for Enter with the
 * centre; `onView(text)` says in words what is shown whenever it comes to rest.
 */
export class Globe {
  constructor(canvas, { onTap, onView }) {
    Object.assign(this, { canvas, onTap, onView });
    this.context = canvas.getContext("2d");
    this.projection = geoOrthographic().rotate([-START[0], -START[1]]).precision(0.4);
    this.zoom = 1;
    this.shown = { circles: [], lines: [], marks: [] };
    this.maps = {};
    this.pointers = new Map();
    this.listen();
    this.resize();
  }

  /** Coastlines and borders, from world-atlas: "coarse" is enough to begin, "fine" follows. */
  async load(name, url) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    const topology = await response.json();
    const { land, countries } = topology.objects;
    this.maps[name] = {
      land: feature(topology, land),
      lines: mesh(topology, countries),
      countries: feature(topology, countries).features,
    };
    this.draw();
    this.rest();
  }

  /**
   * What is marked: { glow, circles: [{ latitude, longitude, angle, dotted }], lines: [{ from, to, kind }],
   * marks: [{ kind, label, latitude, longitude }], words }. Kinds: guess, truth, you. An angle is
   * in radians, from the centre of the Earth.
   */
  show(shown) {
    this.shown = { circles: [], lines: [], marks: [], ...shown };
    this.draw();
    this.rest();
  }

  /** Turns to a position, so near that a circle of that angle round it is seen whole. */
  turnTo(latitude, longitude, angle) {
    const seen = Math.min(1.25 * angle, Math.PI / 2);
    const zoom = Math.min(Math.max(0.92 / Math.sin(seen), 1), 14);
    this.fly([longitude, latitude], zoom < 1.25 ? 1 : zoom); // a little more only cuts its edges off
  }

  /** Turns so that all positions, [[latitude, longitude], ...], are seen; or else the last. */
  turnToAll(positions) {
    const sum = positions
      .map(([latitude, longitude]) => unitVector(latitude, longitude))
      .reduce((a, b) => a.map((each, i) => each + b[i]));
    const centre = [Math.atan2(sum[1], sum[0]), Math.atan2(sum[2], Math.hypot(sum[0], sum[1]))];
    const [longitude, latitude] = centre.map((each) => each * DEGREE);
    const far = positions.map(([lat, lng]) => geoDistance([lng, lat], [longitude, latitude]));
    if (Math.max(...far) > 1.4) return this.turnTo(...positions.at(-1), Math.PI);
    this.turnTo(latitude, longitude, 1.1 * Math.max(...far, 0.03));
  }

  reset() {
    this.fly(START, 1);
  }

  zoomBy(factor, [x, y] = [this.width / 2, this.height / 2]) {
    this.stop();
    const [dx, dy] = [x - this.width / 2, y - this.height / 2];
    const before = this.radius;
    this.setZoom(this.zoom * factor);
    const kept = 1 / before - 1 / this.radius; // what is under the fingers stays there
    this.turnBy(-dx * kept * this.radius, -dy * kept * this.radius);
  }

  get radius() {
    return this.projection.scale();
  }

  get centre() {
    const [longitude, latitude] = this.projection.rotate();
    return [-longitude, -latitude];
  }

  setZoom(zoom) {
    this.zoom = Math.min(Math.max(zoom, ZOOMS[0]), ZOOMS[1]);
    this.projection.scale((Math.min(this.width, this.height) / 2 - MARGIN) * this.zoom);
  }

  turnBy(dx, dy) {
    const [longitude, latitude] = this.projection.rotate();
    const step = DEGREE / this.radius;
    const slower = Math.max(0.35, Math.cos(latitude / DEGREE)); // near a pole meridians are close
    const turned = latitude - dy * step;
    this.projection.rotate([longitude + (dx * step) / slower, Math.max(-90, Math.min(90, turned))]);
    this.moved();
  }

  fly(to, zoom) {
    this.stop();
    const [from, start] = [this.centre, this.zoom];
    const arrive = () => {
      this.setZoom(zoom);
      this.projection.rotate([-to[0], -to[1]]);
      this.moved();
    };
    if (calm.matches) return arrive();
    const path = geoInterpolate(from, to);
    const distance = geoDistance(from, to);
    const duration = 500 + 500 * Math.min(1, distance + Math.abs(Math.log(zoom / start)) / 3);
    const began = performance.now();
    const step = (now) => {
      const t = Math.min(1, Math.max(0, (now - began) / duration));
      if (t === 1) return arrive();
      const eased = t < 0.5 ? 4 * t ** 3 : 1 - (2 - 2 * t) ** 3 / 2;
      // On a long way out first, then in again.
      const lift = Math.sin(Math.PI * eased) * Math.min(1, distance) * Math.log(Math.max(start, 1));
      this.setZoom(start * (zoom / start) ** eased * Math.exp(-lift));
      const [longitude, latitude] = path(eased);
      this.projection.rotate([-longitude, -latitude]);
      this.moved();
      this.flight = requestAnimationFrame(step);
    };
    this.flight = requestAnimationFrame(step);
  }

  stop() {
    cancelAnimationFrame(this.flight);
  }

  moved() {
    this.moving = true;
    this.draw();
    this.rest();
  }

  rest() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.moving = false;
      this.draw();
      this.onView(this.inWords());
    }, STILL_AFTER);
  }

  // ---- what is done to it

  listen() {
    const { canvas } = this;
    new ResizeObserver(() => this.resize()).observe(canvas);
    dark.addEventListener("change", () => this.resize());
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, (event) => this.release(event));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const change of ["focus", "blur"]) canvas.addEventListener(change, () => this.draw());
  }

  press(event) {
    if (event.pointerType === "mouse" && event.button) return;
    this.stop();
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    const alone = this.pointers.size === 1;
    this.tap = alone ? { at: [event.offsetX, event.offsetY], time: event.timeStamp } : null;
    this.canvas.dataset.pressed = "";
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.offsetX, event.offsetY];
    if (this.tap && Math.hypot(now[0] - this.tap.at[0], now[1] - this.tap.at[1]) < TAP.pixels)
      return;
    this.tap = null;
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    this.pointers.set(event.pointerId, now);
    if (!others.length) return this.turnBy(now[0] - before[0], now[1] - before[1]);
    const [, still] = others[0];
    const spread = (at) => Math.max(10, Math.hypot(at[0] - still[0], at[1] - still[1]));
    const middle = [(now[0] + still[0]) / 2, (now[1] + still[1]) / 2];
    this.zoomBy(spread(now) / spread(before), middle);
    this.turnBy((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }

  release(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (!this.pointers.size) delete this.canvas.dataset.pressed;
    const { tap } = this;
    this.tap = null;
    if (event.type !== "pointerup" || !tap || event.timeStamp - tap.time > TAP.ms) return;
    const last = this.lastTap;
    const near = last && Math.hypot(last.at[0] - tap.at[0], last.at[1] - tap.at[1]) < 30;
    if (near && tap.time - last.time < TAP.double) {
      this.lastTap = null;
      this.zoomBy(2, tap.at);
      return;
    }
    this.lastTap = tap;
    const [x, y] = tap.at;
    if (Math.hypot(x - this.width / 2, y - this.height / 2) > this.radius) return;
    const [longitude, latitude] = this.projection.invert([x, y]);
    this.onTap(latitude, longitude);
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    const strength = event.ctrlKey ? 0.01 : 0.0018; // a pinch on a touchpad comes as ctrl
    this.zoomBy(Math.exp(-event.deltaY * lines * strength), [event.offsetX, event.offsetY]);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const turn = this.radius * (12 / this.zoom / DEGREE);
    const action = {
      ArrowLeft: () => this.turnBy(turn, 0),
      ArrowRight: () => this.turnBy(-turn, 0),
      ArrowUp: () => this.turnBy(0, turn),
      ArrowDown: () => this.turnBy(0, -turn),
      "+": () => this.zoomBy(1.5),
      "=": () => this.zoomBy(1.5),
      "-": () => this.zoomBy(1 / 1.5),
      0: () => this.reset(),
      Enter: () => this.onTap(this.centre[1], this.centre[0]),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    this.stop();
    action();
  }

  // ---- how it looks

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const ratio = Math.min(devicePixelRatio, 3);
    Object.assign(this, { width, height, ratio });
    [this.canvas.width, this.canvas.height] = [
      Math.round(width * ratio),
      Math.round(height * ratio),
    ];
    this.projection.translate([width / 2, height / 2]).clipExtent([
      [-20, -20],
      [width + 20, height + 20],
    ]);
    this.setZoom(this.zoom);
    const style = getComputedStyle(this.canvas);
    const names = [
      "sea",
      "sea-rim",
      "shadow",
      "land",
      "border",
      "grid",
      "guess",
      "truth",
      "you",
      "ink",
      "sheet",
    ];
    this.colours = Object.fromEntries(
      names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
    );
    this.font = `600 13px ${style.fontFamily}`;
    this.paint();
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (!this.width) return;
    const { context, colours, shown } = this;
    const map = this.moving ? this.maps.coarse : (this.maps.fine ?? this.maps.coarse);
    this.path = geoPath(this.projection, context);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    this.fill({ type: "Sphere" }, this.shade(colours.sea, colours["sea-rim"]));
    this.stroke(geoGraticule10(), colours.grid, 0.6);
    if (map) this.fill(map.land, colours.land);
    if (shown.glow) this.glow();
    if (map) this.stroke(map.lines, colours.border, 0.8);
    this.fill({ type: "Sphere" }, this.shade("transparent", colours.shadow));
    for (const { latitude, longitude, angle, dotted } of shown.circles) {
      const degrees = Math.min(179.9, angle * DEGREE);
      const [ring] = geoCircle().center([longitude, latitude]).radius(degrees).precision(2)()
        .coordinates;
      this.stroke(
        { type: "LineString", coordinates: ring },
        colours.ink,
        1.5,
        dotted ? [0.1, 5] : [],
      );
    }
    for (const { from, to, kind } of shown.lines) {
      const line = { type: "LineString", coordinates: [from, to].map(([lat, lng]) => [lng, lat]) };
      this.stroke(line, colours.sheet, 4);
      this.stroke(line, colours[kind] ?? colours.ink, 1.75, [6, 4]);
    }
    this.labels = [];
    for (const mark of shown.marks) this.mark(mark);
    if (this.canvas.matches(":focus-visible")) this.cross();
  }

  /** Light from the upper left, so that the globe looks round. */
  shade(light, rim) {
    const [x, y, radius] = [this.width / 2, this.height / 2, this.radius];
    const [left, top] = [x - radius * 0.35, y - radius * 0.4];
    const shade = this.context.createRadialGradient(left, top, radius * 0.1, x, y, radius);
    shade.addColorStop(0, light);
    shade.addColorStop(0.72, light);
    shade.addColorStop(1, rim);
    return shade;
  }

  glow() {
    const [longitude, latitude] = this.centre;
    const view = {
      east: unitVector(0, longitude + 90),
      north: unitVector(latitude + 90, longitude),
      centre: unitVector(latitude, longitude),
    };
    const place = { x: this.width / 2, y: this.height / 2, radius: this.radius };
    const size = { width: this.width, height: this.height };
    const colour = this.colours.guess.match(/\w\w/g).map((each) => parseInt(each, 16));
    drawGlow(this.context, this.shown.glow, view, { ...place, ...size }, colour, this.moving);
  }

  fill(shape, style) {
    this.context.beginPath();
    this.path(shape);
    this.context.fillStyle = style;
    this.context.fill();
  }

  stroke(shape, style, width, dashes = []) {
    const { context } = this;
    context.beginPath();
    this.path(shape);
    Object.assign(context, { strokeStyle: style, lineWidth: width, lineCap: "round" });
    context.lineJoin = "round";
    context.setLineDash(dashes);
    context.stroke();
    context.setLineDash([]);
  }

  isSeen([longitude, latitude]) {
    return geoDistance([longitude, latitude], this.centre) < Math.PI / 2;
  }

  /** Told apart by shape as well as by colour: disc, square, diamond. */
  mark({ kind, label, latitude, longitude }) {
    if (!this.isSeen([longitude, latitude])) return;
    const { context, colours } = this;
    const [x, y] = this.projection([longitude, latitude]);
    context.beginPath();
    if (kind === "guess") context.arc(x, y, 6.5, 0, 2 * Math.PI);
    if (kind === "you") context.rect(x - 6, y - 6, 12, 12);
    if (kind === "truth") {
      for (const [dx, dy] of [
        [0, -9],
        [9, 0],
        [0, 9],
        [-9, 0],
      ])
        context.lineTo(x + dx, y + dy);
      context.closePath();
    }
    Object.assign(context, { lineWidth: 5, strokeStyle: colours.sheet, fillStyle: colours[kind] });
    context.lineJoin = "round";
    context.stroke();
    context.fill();
    if (!label) return;
    const leftwards = x > this.width - 90;
    Object.assign(context, { font: this.font, textBaseline: "middle" });
    context.textAlign = leftwards ? "right" : "left";
    const at = [leftwards ? x - 14 : x + 14, y];
    const meets = ([otherX, otherY]) =>
      Math.abs(at[0] - otherX) < 60 && Math.abs(at[1] - otherY) < 16;
    while (this.labels.some(meets)) at[1] += 17;
    this.labels.push(at);
    context.lineWidth = 4;
    context.strokeText(label, ...at);
    context.fillStyle = colours.ink;
    context.fillText(label, ...at);
  }

  cross() {
    const { context, colours } = this;
    const [x, y] = [this.width / 2, this.height / 2];
    for (const [style, width] of [
      [colours.sheet, 4],
      [colours.ink, 1.5],
    ]) {
      context.beginPath();
      for (const [dx, dy] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        context.moveTo(x + 5 * dx, y + 5 * dy);
        context.lineTo(x + 16 * dx, y + 16 * dy);
      }
      Object.assign(context, { strokeStyle: style, lineWidth: width, lineCap: "round" });
      context.stroke();
    }
  }

  // ---- how it reads

  inWords() {
    const [longitude, latitude] = this.centre;
    const countries = this.maps.coarse?.countries ?? [];
    const country = countries.find((each) => geoContains(each, [longitude, latitude]));
    const where = country ? `in ${country.properties.name}` : "at sea";
    const side = (value, [plus, minus]) =>
      `${Math.abs(value).toFixed(0)}° ${value < 0 ? minus : plus}`;
    const centre = `${side(latitude, ["north", "south"])}, ${side(longitude, ["east", "west"])}`;
    return [this.shown.words, `Centre: ${centre}, ${where}.`].filter(Boolean).join(" ");
  }
}
