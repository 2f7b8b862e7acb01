// The density over the part of the globe that is seen, as a soft glow.

const SIGMAS = 4; // how far from its centre a class still shows
const MOST = { moving: 1e6, still: 4e6 }; // values to reckon; a coarser grid has fewer
const NARROWEST = 0.9; // of a class, in pixels of the grid: a glow too small to be seen is widened

const canvas = document.createElement("canvas");
const drawing = canvas.getContext("2d");

/**
 * Draws the sum of von Mises-Fisher distributions, each of a class, onto a context.
 *
 * `glow` has points (unit vectors), kappa and probability; `view` east, north and centre, the unit
 * vectors of the projection; the globe stands at x, y with a radius, in pixels.
 */
export function drawGlow(context, glow, view, place, colour, moving) {
  const { x, y, radius, width, height } = place;
  const finest = moving ? 5 : 2.5; // pixels that share a value
  const work = glow.kappa.reduce((sum, kappa) => {
    const reach = Math.min(SIGMAS / Math.sqrt(kappa), 2) * radius;
    return sum + Math.min(2 * reach, width) * Math.min(2 * reach, height);
  }, 0);
  const cell = Math.max(finest, Math.sqrt(work / (moving ? MOST.moving : MOST.still)));
  const [wide, high] = [Math.ceil(width / cell), Math.ceil(height / cell)];
  const scale = radius / cell;
  const density = new Float32Array(wide * high);
  const strongest = add(density, wide, high, glow, view, [x / cell, y / cell], scale);
  const image = new ImageData(wide, high);
  for (let i = 0; i < density.length; i++) {
    if (!density[i]) continue;
    image.data[4 * i] = colour[0];
    image.data[4 * i + 1] = colour[1];
    image.data[4 * i + 2] = colour[2];
    // The square root: a tenth of the probability is still to be seen.
    image.data[4 * i + 3] = 225 * Math.min(1, Math.sqrt(density[i] / strongest));
  }
  [canvas.width, canvas.height] = [wide, high];
  drawing.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, wide * cell, high * cell);
}

/** Adds each class to the grid; returns the density of the strongest. */
function add(density, wide, high, { points, kappa, probability }, view, [left, top], scale) {
  const narrowest = (scale / NARROWEST) ** 2;
  let strongest = 0;
  for (let i = 0; i < kappa.length; i++) {
    const k = Math.min(kappa[i], narrowest);
    const peak = (probability[i] * k) / (2 * Math.PI * -Math.expm1(-2 * k));
    strongest = Math.max(strongest, peak);
    const [x, y, z] = [view.east, view.north, view.centre].map(
      (axis) => axis[0] * points[3 * i] + axis[1] * points[3 * i + 1] + axis[2] * points[3 * i + 2],
    );
    const far = SIGMAS / Math.sqrt(k);
    if (z < -Math.sin(Math.min(far, Math.PI / 2))) continue; // behind the globe
    const reach = Math.min(far, 2) * scale;
    const [column, row] = [left + x * scale, top - y * scale];
    const firstRow = Math.max(0, Math.floor(row - reach));
    const lastRow = Math.min(high - 1, Math.ceil(row + reach));
    const firstColumn = Math.max(0, Math.floor(column - reach));
    const lastColumn = Math.min(wide - 1, Math.ceil(column + reach));
    for (let r = firstRow; r <= lastRow; r++) {
      const v = (top - r - 0.5) / scale;
      for (let c = firstColumn; c <= lastColumn; c++) {
        const u = (c + 0.5 - left) / scale;
        const depth = 1 - u * u - v * v;
        if (depth < 0) continue;
        const exponent = k * (u * x + v * y + Math.sqrt(depth) * z - 1);
        if (exponent > -9) density[r * wide + c] += peak * Math.exp(exponent);
      }
    }
  }
  return strongest;
}
