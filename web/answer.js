// From a network's scores to a place: nogps.model.decode, in JavaScript. Pure functions, no page.
//
// A model is model.json as `prepared` returns it; its `constants` are those of Python. Angles are degrees, distances kilometres, and
// probabilities Float64Arrays with one number a class.

const RADIAN = Math.PI / 180;
const SHOWN_MASS = 0.998; // the rest of the probability is too thin to be drawn
const SHOWN_CLASSES = 1500;
const STEPS = 65_536; // of the kernel's table: off by 5e-6 at most
const BINS = 4096;

/** model.json with what follows from it: unit vectors and concentration of each class. */
export function prepared(json) {
  const { token, latitude, longitude, spread_km: spread } = json.classes;
  const { earth_radius_km: earthRadiusKm, disc } = json.constants;
  const n = token.length;
  const points = new Float64Array(3 * n);
  const kappa = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    points.set(unitVector(latitude[i], longitude[i]), 3 * i);
    kappa[i] = ((2 * earthRadiusKm) / Math.max(spread[i], 0.01)) ** 2;
  }
  const radii = Object.values(json.radii_km);
  return { ...json, n, points, kappa, radii, kernels: {}, sample: sample(points, kappa, disc) };
}

export function unitVector(latitude, longitude) {
  const [lat, lng] = [latitude * RADIAN, longitude * RADIAN];
  return [Math.cos(lat) * Math.cos(lng), Math.cos(lat) * Math.sin(lng), Math.sin(lat)];
}

/** Great-circle distance (haversine) in radians: times the Earth's radius it is kilometres. */
function centralAngle(latA, lngA, latB, lngB) {
  const [a, b] = [latA * RADIAN, latB * RADIAN];
  const haversine =
    Math.sin((b - a) / 2) ** 2 +
    Math.cos(a) * Math.cos(b) * Math.sin(((lngB - lngA) * RADIAN) / 2) ** 2;
  return 2 * Math.asin(Math.sqrt(Math.min(haversine, 1)));
}

/** Kilometres between two { latitude, longitude }. */
export const distanceKm = (a, b, constants) =>
  constants.earth_radius_km * centralAngle(a.latitude, a.longitude, b.latitude, b.longitude);

/** GeoGuessr's score on the map of the world, of its most points for a perfect guess. */
export const score = (km, constants) =>
  constants.geoguessr_points * Math.exp(-km / constants.geoguessr_km);

/** The answer for the scores of one photo, or of several that show one place. */
export function answer(scores, model) {
  const fitted = model.calibration;
  let logP = scores.map((each) => logProbabilities(each, fitted.temperature));
  let { reach, radius_50: factor50, radius_90: factor90 } = fitted;
  if (logP.length > 1) {
    logP = [fuse(logP, fitted.together)];
    reach = fitted.together_reach;
    [factor50, factor90] = [fitted.together_radius_50, fitted.together_radius_90];
  }
  const p = logP[0].map(Math.exp);
  const best = model.decoding === "densest" ? densest(p, model, reach) : argmax(p);
  const latitude = model.classes.point_latitude[best];
  const longitude = model.classes.point_longitude[best];
  const [half, most] = radii(p, model, latitude, longitude, [0.5, 0.9]);
  const radius50Km = half * factor50;
  return {
    latitude,
    longitude,
    name: model.classes.name[best],
    confidence: p[argmax(p)],
    radius50Km,
    radius90Km: Math.max(radius50Km, most * factor90),
    best: bestPlaces(p, model.classes, model.constants.best),
    glow: glow(p, model),
  };
}

function logProbabilities(scores, temperature) {
  return logSoftmax(Float64Array.from(scores, (each) => each / temperature));
}

function logSoftmax(x) {
  const top = x.reduce((a, b) => Math.max(a, b), -Infinity);
  const norm = top + Math.log(x.reduce((sum, each) => sum + Math.exp(each - top), 0));
  return x.map((each) => each - norm);
}

/** k photos of one place err alike, so that they count as k ** power. */
export function fuse(logP, power) {
  const weight = logP.length ** power / logP.length;
  return logSoftmax(logP[0].map((_, j) => weight * logP.reduce((sum, each) => sum + each[j], 0)));
}

const argmax = (x) => x.reduce((best, each, i) => (each > x[best] ? i : best), 0);

/**
 * The class that gathers the most probability around it.
 *
 * Classes are counted from the most probable on, and candidates that can no longer win are dropped:
 * the result is that of the whole sum, mostly for a small part of it.
 */
export function densest(p, model, reach) {
  const kernel = (model.kernels[reach] ??= kernelTable(model, reach));
  const order = Uint32Array.from(p.keys()).sort((a, b) => p[b] - p[a]);
  const total = new Float64Array(p.length);
  let candidates = Uint32Array.from(p.keys());
  let left = 1;
  for (let counted = 0; counted < p.length && candidates.length > 1; counted++) {
    const i = order[counted];
    gather(total, candidates, p[i], i, model.points, kernel);
    left -= p[i];
    if (counted % 32 < 31) continue;
    const top = candidates.reduce((max, j) => Math.max(max, total[j]), 0);
    candidates = candidates.filter((j) => total[j] + left + 1e-12 >= top);
  }
  return candidates.reduce((best, j) => (total[j] > total[best] ? j : best), candidates[0]);
}

/** Adds to each candidate its part of a class's probability; the innermost loop, so all in line. */
function gather(total, candidates, probability, i, points, kernel) {
  const [x, y, z] = [points[3 * i], points[3 * i + 1], points[3 * i + 2]];
  const scale = STEPS / Math.SQRT2;
  for (let k = 0; k < candidates.length; k++) {
    const j = candidates[k];
    const dx = points[3 * j] - x;
    const dy = points[3 * j + 1] - y;
    const dz = points[3 * j + 2] - z;
    const at = scale * Math.sqrt(Math.sqrt(dx * dx + dy * dy + dz * dz));
    const below = at | 0;
    const worth = kernel[below];
    total[j] += probability * (worth + (at - below) * (kernel[below + 1] - worth));
  }
}

/** nogps.model.decode.kernel for chords from 0 to 2, in even steps of their square root. */
function kernelTable({ radii, constants }, reach) {
  return Float64Array.from({ length: STEPS + 2 }, (_, step) => {
    const half = Math.min(1, (step / STEPS) ** 2);
    const km = 2 * constants.earth_radius_km * Math.asin(half);
    const worth = radii.map((radius) => 1 / (1 + (km / (reach * radius)) ** 4));
    return worth.reduce((sum, each) => sum + each) / radii.length;
  });
}

/** For each share, the radius round a position that holds it of the density. */
export function radii(p, model, latitude, longitude, shares) {
  const { sample } = model;
  const { disc, earth_radius_km: earthRadiusKm } = model.constants;
  const [x, y, z] = unitVector(latitude, longitude);
  const angle = new Float64Array(p.length * disc);
  for (let i = 0; i < angle.length; i++) {
    const cosine = x * sample[3 * i] + y * sample[3 * i + 1] + z * sample[3 * i + 2];
    angle[i] = Math.acos(Math.min(1, Math.max(-1, cosine)));
  }
  const mass = (k) => p[Math.floor(k / disc)] / disc;
  const bin = (k) => Math.min(BINS - 1, Math.floor((angle[k] / Math.PI) * BINS));
  const binned = new Float64Array(BINS);
  for (let k = 0; k < angle.length; k++) binned[bin(k)] += mass(k);
  return shares.map((share) => {
    let held = 0;
    let reached = 0;
    while (reached < BINS - 1 && held + binned[reached] < share) held += binned[reached++];
    // Only what lies in the bin where the share is reached has to be in order.
    const there = Uint32Array.from(angle.keys()).filter((k) => bin(k) === reached);
    there.sort((a, b) => angle[a] - angle[b]);
    const last = there.find((k) => (held += mass(k)) >= share) ?? there.at(-1);
    return earthRadiusKm * angle[last];
  });
}

/** Unit vectors, `disc` a class, evenly spread over its von Mises-Fisher distribution. */
function sample(points, kappa, disc) {
  const found = new Float64Array(points.length * disc);
  for (let i = 0; i < kappa.length; i++) {
    const [x, y, z] = points.subarray(3 * i, 3 * i + 3);
    const across = Math.hypot(x, y);
    const east = across < 1e-9 ? [1, 0, 0] : [-y / across, x / across, 0]; // a pole has no east
    const north = [y * east[2] - z * east[1], z * east[0] - x * east[2], x * east[1] - y * east[0]];
    for (let k = 0; k < disc; k++) {
      const step = k + 0.5;
      const cosine = 1 + Math.log1p((step / disc) * Math.expm1(-2 * kappa[i])) / kappa[i];
      const sine = Math.sqrt(Math.max(0, 1 - cosine ** 2));
      const turn = step * Math.PI * (3 - Math.sqrt(5)); // Vogel's sunflower
      const [a, b] = [sine * Math.cos(turn), sine * Math.sin(turn)];
      const at = 3 * (i * disc + k);
      found[at] = cosine * x + a * east[0] + b * north[0];
      found[at + 1] = cosine * y + a * east[1] + b * north[1];
      found[at + 2] = cosine * z + a * east[2] + b * north[2];
    }
  }
  return found;
}

/** Cells go by the town nearest to them: those of one town are one place. */
function bestPlaces(p, { town, name }, count) {
  const sum = new Map();
  for (let i = 0; i < p.length; i++) {
    const there = sum.get(town[i]) ?? { name: name[i], probability: 0 };
    there.probability += p[i];
    sum.set(town[i], there);
  }
  return [...sum.values()].sort((a, b) => b.probability - a.probability).slice(0, count);
}

/** What a map needs to draw the density: the classes that hold nearly all of it. */
function glow(p, model) {
  const order = Uint32Array.from(p.keys()).sort((a, b) => p[b] - p[a]);
  let [count, held] = [0, 0];
  while (count < Math.min(p.length, SHOWN_CLASSES) && held < SHOWN_MASS) held += p[order[count++]];
  const shown = order.subarray(0, count);
  return {
    points: Float64Array.from({ length: 3 * count }, (_, i) => {
      return model.points[3 * shown[Math.floor(i / 3)] + (i % 3)];
    }),
    kappa: Float64Array.from(shown, (i) => model.kappa[i]),
    probability: Float64Array.from(shown, (i) => p[i]),
  };
}
