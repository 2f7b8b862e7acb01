// How figures are said.

const number = (value, digits = 0) =>
  value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** A distance as precise as it deserves: 0.4 km, 32 km, 2,100 km. */
export function km(value) {
  if (value < 10) return `${number(value, 1)} km`;
  const step = value < 100 ? 1 : value < 1000 ? 10 : 50;
  return `${number(Math.round(value / step) * step)} km`;
}

/** A distance that was measured, to the kilometre. */
export const exactKm = (value) => `${number(value, value < 10 ? 1 : 0)} km`;

export const points = (value) => number(Math.round(value));

export function percent(share) {
  if (share < 0.001) return "<0.1 %";
  return `${number(100 * share, share < 0.1 ? 1 : 0)} %`;
}

export function position(latitude, longitude) {
  const side = (value, [plus, minus]) =>
    `${number(Math.abs(value), 2)}° ${value < 0 ? minus : plus}`;
  return `${side(latitude, ["N", "S"])}, ${side(longitude, ["E", "W"])}`;
}

export const megabytes = (bytes) => number(bytes / 1e6, 1);

/** How sure an answer is: nogps.Guess.sureness. */
export function sureness({ radius50Km, radius90Km }, radii) {
  const area = (reach) => Object.entries(radii).find(([, radius]) => reach <= radius)?.[0];
  const [likely, perhaps] = [radius90Km, radius50Km].map((each) => area(each)?.split("_")[0]);
  const said = [];
  if (likely) said.push(`likely the right ${likely}`); // street_1km
  if (perhaps && perhaps !== likely) said.push(`perhaps the right ${perhaps}`);
  const text = said.join(", ") || "it does not know";
  const within = `Half of such guesses lie within ${km(radius50Km)}, nine of ten within ${km(radius90Km)}.`;
  return { words: `${text[0].toUpperCase()}${text.slice(1)}.`, within };
}
