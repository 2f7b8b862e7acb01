// From a file to what the network sees: nogps.photos.images.square, in a browser.
//
// The network learned from photos that Pillow shrank, so the same steps are taken here: a JPEG that
// is far too large is decoded at a fraction of its size, then come a bicubic and a triangle filter.

const PREVIEW_SIDE = 400;
const MANY_PIXELS = 4_000_000; // to filter here

/** A file that is no photo we can use; the message says why, in a sentence for people. */
export class BadPhoto extends Error {}

/**
 * The pixels for the network, uint8 RGB of image_size x image_size, and a small JPEG to show.
 *
 * `model` is model.json, which says how large, and what Python's limits are. `decodeHeif` turns a
 * HEIC file into an ImageBitmap where the browser itself cannot.
 */
export async function read(blob, model, decodeHeif) {
  const { pack_side: packSide, constants } = model;
  if (!blob.size) throw new BadPhoto("The file is empty.");
  const head = new DataView(await blob.slice(0, 256 * 1024).arrayBuffer());
  const claimed = sizeOf(head);
  if (claimed) check(...claimed, constants);
  const isJpeg = head.byteLength > 2 && head.getUint16(0) === 0xffd8;
  const scale = isJpeg && claimed ? draft(Math.min(...claimed), packSide) : 1;
  const scaled = scale > 1 ? await decodeScaled(blob, claimed, scale) : null;
  const picture = scaled ?? (await decode(blob, head, claimed, decodeHeif));
  try {
    const size = [picture.displayWidth ?? picture.width, picture.displayHeight ?? picture.height];
    check(...size, constants);
    const wanted = size.map((each) => Math.ceil(each / (scaled ? 1 : scale)));
    const square = await squeeze(picture, wanted, model);
    return { pixels: withoutAlpha(square), preview: await preview(picture, size) };
  } finally {
    picture.close();
  }
}

/** A JPEG is decoded at an eighth, a quarter or half, while that is twice what is needed. */
const draft = (short, packSide) => [8, 4, 2].find((each) => short >= each * 2 * packSide) ?? 1;

/** A JPEG decoded at a fraction of its size, several times as fast; null if this browser cannot. */
async function decodeScaled(blob, [width, height], scale) {
  if (!("ImageDecoder" in self)) return null;
  const [desiredWidth, desiredHeight] = [width, height].map((each) => Math.ceil(each / scale));
  const data = await blob.arrayBuffer();
  let decoder;
  try {
    decoder = new ImageDecoder({ data, type: "image/jpeg", desiredWidth, desiredHeight });
    const { image, complete } = await decoder.decode();
    // A decoder that takes no wishes gives it whole: then it is shrunk as where there is none.
    if (complete && image.codedWidth === desiredWidth) return image;
    image.close();
    return null;
  } catch {
    return null; // what is wrong with it, the other decoder finds out
  } finally {
    decoder?.close();
  }
}

/** BadPhoto for a size that is none of a photo's. */
export function check(width, height, constants) {
  const { largest_pixels: most, smallest_side: least, longest_shape: longest } = constants;
  const size = `${width.toLocaleString("en-GB")} × ${height.toLocaleString("en-GB")} pixels`;
  if (width * height > most) throw new BadPhoto(`${size} are too many to decode.`);
  if (Math.min(width, height) < least)
    throw new BadPhoto(`${size} are too small: a side needs at least ${least}.`);
  if (Math.max(width, height) > longest * Math.min(width, height))
    throw new BadPhoto(`${size} are a strip, not a photo.`);
}

async function decode(blob, head, claimed, decodeHeif) {
  // Colour profiles are left alone, as they were when the network learned.
  const options = { colorSpaceConversion: "none" };
  try {
    return await createImageBitmap(blob, options);
  } catch {
    if (isHeif(head)) return decodeHeif(blob);
    if (claimed && claimed[0] * claimed[1] > 30_000_000)
      throw new BadPhoto("This browser cannot decode a photo that large, or the file is damaged.");
    throw new BadPhoto(
      claimed
        ? "The file is damaged: it does not decode to its end."
        : "This is not an image, or of a kind that this browser cannot read.",
    );
  }
}

function isHeif(head) {
  if (head.byteLength < 12 || text(head, 4, 4) !== "ftyp") return false;
  return /^(heic|heix|heim|heis|hevc|hevx|mif1|msf1)$/.test(text(head, 8, 4));
}

const text = (view, at, length) =>
  String.fromCharCode(...Array.from({ length }, (_, i) => view.getUint8(at + i)));

/** Width and height that a JPEG, PNG, GIF or WebP claims, before anything is decoded; or null. */
function sizeOf(view) {
  try {
    if (view.getUint16(0) === 0xffd8) return jpegSize(view);
    if (view.getUint32(0) === 0x89504e47) return [view.getUint32(16), view.getUint32(20)];
    if (text(view, 0, 4) === "GIF8") return [view.getUint16(6, true), view.getUint16(8, true)];
    if (text(view, 0, 4) === "RIFF" && text(view, 8, 4) === "WEBP") return webpSize(view);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // a header cut short says nothing
  }
  return null;
}

function jpegSize(view) {
  for (let at = 2; ;) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    at += 2 + view.getUint16(at + 2);
  }
}

function webpSize(view) {
  const kind = text(view, 12, 4);
  const byte = (at) => view.getUint8(at);
  if (kind === "VP8X") {
    const length = (at) => 1 + byte(at) + (byte(at + 1) << 8) + (byte(at + 2) << 16);
    return [length(24), length(27)];
  }
  if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    return [1 + (bits & 0x3fff), 1 + ((bits >> 14) & 0x3fff)];
  }
  return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
}

function context(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  if (!drawing) throw new BadPhoto("There is not enough memory to decode this photo.");
  drawing.fillStyle = "#fff"; // what is transparent is on white
  drawing.fillRect(0, 0, width, height);
  return drawing;
}

async function squeeze(picture, [width, height], model) {
  const { image_size: imageSize, pack_side: packSide, constants } = model;
  const scale = packSide / Math.min(width, height);
  const packed = [width, height].map((each) => Math.max(packSide, roundEven(each * scale)));
  // What is still vast the browser halves, as far as three times of what is needed is left.
  const vast = Math.sqrt((width * height) / MANY_PIXELS);
  const fewer = Math.max(1, Math.floor(Math.min(vast, 1 / (3 * scale))));
  const size = [width, height].map((each) => Math.ceil(each / fewer));
  const shrunk = shrink(await rgba(picture, size), ...packed);
  return blend(await throughJpeg(shrunk, constants.jpeg_quality), imageSize, imageSize);
}

/** As Python rounds. */
const roundEven = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** A picture as { data, width, height }, RGBA, shrunk by the browser if it is larger. */
async function rgba(picture, [width, height]) {
  const options = { resizeWidth: width, resizeHeight: height, resizeQuality: "medium" };
  const resized = await createImageBitmap(picture, options);
  const drawing = context(width, height);
  drawing.drawImage(resized, 0, 0);
  resized.close();
  return { data: drawing.getImageData(0, 0, width, height).data, width, height };
}

/** The same blemishes as the photos that the network learned from. */
async function throughJpeg({ data, width, height }, quality) {
  const drawing = context(width, height);
  drawing.putImageData(new ImageData(data, width, height), 0, 0);
  const options = { type: "image/jpeg", quality: quality / 100 };
  const jpeg = await createImageBitmap(await drawing.canvas.convertToBlob(options));
  drawing.drawImage(jpeg, 0, 0);
  jpeg.close();
  return { data: drawing.getImageData(0, 0, width, height).data, width, height };
}

const triangle = (x) => Math.max(0, 1 - Math.abs(x));

function bicubic(x) {
  const [a, d] = [-0.5, Math.abs(x)]; // Keys 1981
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

/** A picture at another size, as Pillow's bicubic filter makes it. */
export const shrink = (picture, wide, high) => resample(picture, wide, high, bicubic, 2);

/** A picture at another size, as the triangle filter ("bilinear") of Pillow and torch makes it. */
export const blend = (picture, wide, high) => resample(picture, wide, high, triangle, 1);

/**
 * A picture at another size: the filter is widened where it shrinks, one direction after the
 * other, rounded to 8 bits after each, as Pillow and torch do.
 */
function resample({ data, width, height }, wide, high, filter, support) {
  const columns = weights(width, wide, filter, support);
  const rows = weights(height, high, filter, support);
  const narrow = new Uint8ClampedArray(4 * wide * height);
  const result = new Uint8ClampedArray(4 * wide * high);
  convolve(data, narrow, columns, height, 4, 4 * width, 4, 4 * wide);
  convolve(narrow, result, rows, wide, 4 * wide, 4, 4 * wide, 4);
  return { data: result, width: wide, height: high };
}

function weights(size, count, filter, support) {
  const scale = size / count;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: count }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support * stretch + 0.5));
    const end = Math.min(size, Math.floor(centre + support * stretch + 0.5));
    const weight = Float64Array.from({ length: end - first }, (_, k) =>
      filter((first + k - centre + 0.5) / stretch),
    );
    const sum = weight.reduce((a, b) => a + b, 0);
    return { first, weight: weight.map((each) => each / sum) };
  });
}

/** Along one direction (`from`, `to`: steps to the next pixel) for each of `lines`. */
function convolve(source, target, taps, lines, from, fromLine, to, toLine) {
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < taps.length; i++) {
      const { first, weight } = taps[i];
      let [r, g, b] = [0, 0, 0];
      let at = line * fromLine + first * from;
      for (let k = 0; k < weight.length; k++, at += from) {
        r += weight[k] * source[at];
        g += weight[k] * source[at + 1];
        b += weight[k] * source[at + 2];
      }
      const out = line * toLine + i * to;
      target[out] = r;
      target[out + 1] = g;
      target[out + 2] = b;
      target[out + 3] = 255;
    }
  }
}

function withoutAlpha({ data, width, height }) {
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < pixels.length; from++) {
    if (from % 4 < 3) pixels[to++] = data[from];
  }
  return pixels;
}

async function preview(picture, size) {
  const shrink = Math.min(1, PREVIEW_SIDE / Math.max(...size));
  const small = size.map((each) => Math.max(1, Math.round(each * shrink)));
  const drawing = context(...small);
  drawing.imageSmoothingQuality = "high";
  drawing.drawImage(picture, 0, 0, ...small);
  return drawing.canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
}
