// From a file to what the network sees: nogps.images `pack` and `whole`, in a browser.
//
// The network learned from photos that Pillow shrank, so the same steps are taken here: blocks of
// pixels are averaged while the photo is far too large, then come a bicubic and a triangle filter.

const SMALLEST_SIDE = 16;
const LARGEST_PIXELS = 300_000_000;
const LONGEST_SHAPE = 20; // times as long as wide
const PREVIEW_SIDE = 800;
const STRIP_PIXELS = 4_000_000; // read at a time, so that memory stays bounded
const JPEG_QUALITY = 0.92;

/** A file that is no photo we can use; the message says why, in a sentence for people. */
export class BadPhoto extends Error {}

/**
 * The pixels for the network, uint8 RGB of imageSize x imageSize, and a small JPEG to show.
 *
 * `decodeHeif` turns a HEIC file into an ImageBitmap where the browser itself cannot.
 */
export async function read(blob, imageSize, packSide, decodeHeif) {
  if (!blob.size) throw new BadPhoto("The file is empty.");
  const head = new DataView(await blob.slice(0, 256 * 1024).arrayBuffer());
  const claimed = sizeOf(head);
  if (claimed) check(...claimed);
  const bitmap = await decode(blob, head, claimed, decodeHeif);
  try {
    check(bitmap.width, bitmap.height);
    const isJpeg = head.byteLength > 2 && head.getUint16(0) === 0xffd8;
    const square = await squeeze(bitmap, imageSize, packSide, isJpeg);
    return { pixels: withoutAlpha(square), preview: await preview(bitmap) };
  } finally {
    bitmap.close();
  }
}

/** BadPhoto for a size that is none of a photo's. */
export function check(width, height) {
  const size = `${width.toLocaleString("en-GB")} × ${height.toLocaleString("en-GB")} pixels`;
  if (width * height > LARGEST_PIXELS) throw new BadPhoto(`${size} are too many to decode.`);
  if (Math.min(width, height) < SMALLEST_SIDE)
    throw new BadPhoto(`${size} are too small: a side needs at least ${SMALLEST_SIDE}.`);
  if (Math.max(width, height) > LONGEST_SHAPE * Math.min(width, height))
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

async function squeeze(bitmap, imageSize, packSide, isJpeg) {
  const { width, height } = bitmap;
  const short = Math.min(width, height);
  // A JPEG is first decoded at an eighth, a quarter or half, while that is twice what is needed.
  const draft = isJpeg ? ([8, 4, 2, 1].find((each) => short >= each * 2 * packSide) ?? 1) : 1;
  const [drafted, draftedHeight] = [Math.ceil(width / draft), Math.ceil(height / draft)];
  const scale = packSide / Math.min(drafted, draftedHeight);
  const packed = [drafted, draftedHeight].map((each) =>
    Math.max(packSide, roundEven(each * scale)),
  );
  const gap = [drafted / packed[0] / 3, draftedHeight / packed[1] / 3];
  const [across, down] = gap.map((each) => Math.max(1, Math.floor(each)));
  const blocks = averaged(bitmap, draft * across, draft * down);
  blocks.box = [drafted / across, draftedHeight / down];
  const small = await throughJpeg(resample(blocks, ...packed, bicubic, 2));
  return resample(small, imageSize, imageSize, triangle, 1);
}

/** As Python rounds. */
const roundEven = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** A picture, { data, width, height } in RGBA, of the mean colours of blocks of pixels. */
function averaged(bitmap, across, down) {
  const width = Math.ceil(bitmap.width / across);
  const height = Math.ceil(bitmap.height / down);
  const data = new Uint8ClampedArray(4 * width * height);
  const rows = Math.max(1, Math.floor(STRIP_PIXELS / bitmap.width / down)); // of blocks
  const strip = context(bitmap.width, Math.min(rows * down, bitmap.height));
  const sum = new Float64Array(3 * width);
  for (let top = 0; top < height; top += rows) {
    const high = Math.min(rows * down, bitmap.height - top * down);
    strip.fillRect(0, 0, bitmap.width, high);
    strip.drawImage(bitmap, 0, -top * down);
    const pixels = strip.getImageData(0, 0, bitmap.width, high).data;
    if (across === 1 && down === 1) {
      data.set(pixels, 4 * top * width);
      continue;
    }
    for (let row = 0; row * down < high; row++) {
      const last = Math.min((row + 1) * down, high);
      sum.fill(0);
      for (let y = row * down; y < last; y++) {
        let from = 4 * y * bitmap.width;
        for (let block = 0; block < width; block++) {
          const end = Math.min(across, bitmap.width - block * across);
          let [r, g, b] = [0, 0, 0];
          for (let x = 0; x < end; x++, from += 4) {
            r += pixels[from];
            g += pixels[from + 1];
            b += pixels[from + 2];
          }
          sum[3 * block] += r;
          sum[3 * block + 1] += g;
          sum[3 * block + 2] += b;
        }
      }
      for (let block = 0; block < width; block++) {
        const wide = Math.min(across, bitmap.width - block * across);
        const count = wide * (last - row * down);
        const to = 4 * ((top + row) * width + block);
        for (let k = 0; k < 3; k++) data[to + k] = Math.floor(sum[3 * block + k] / count + 0.5);
        data[to + 3] = 255;
      }
    }
  }
  return { data, width, height };
}

/** The same blemishes as the photos that the network learned from. */
async function throughJpeg({ data, width, height }) {
  const drawing = context(width, height);
  drawing.putImageData(new ImageData(data, width, height), 0, 0);
  const options = { type: "image/jpeg", quality: JPEG_QUALITY };
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

/**
 * A picture at another size: the filter is widened where it shrinks, one direction after the
 * other, rounded to 8 bits after each, as Pillow and torch do. `box` is how much of the picture
 * counts, from its top left.
 */
export function resample({ data, width, height, box }, wide, high, filter, support) {
  const [boxWide, boxHigh] = box ?? [width, height];
  const columns = weights(width, boxWide, wide, filter, support);
  const rows = weights(height, boxHigh, high, filter, support);
  const narrow = new Uint8ClampedArray(4 * wide * height);
  const result = new Uint8ClampedArray(4 * wide * high);
  convolve(data, narrow, columns, height, 4, 4 * width, 4, 4 * wide);
  convolve(narrow, result, rows, wide, 4 * wide, 4, 4 * wide, 4);
  return { data: result, width: wide, height: high };
}

function weights(size, box, count, filter, support) {
  const scale = box / count;
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
  return Uint8Array.from({ length: 3 * width * height }, (_, i) => {
    return data[4 * Math.floor(i / 3) + (i % 3)];
  });
}

async function preview(bitmap) {
  const shrink = Math.min(1, PREVIEW_SIDE / Math.max(bitmap.width, bitmap.height));
  const size = [bitmap.width, bitmap.height].map((each) => Math.max(1, Math.round(each * shrink)));
  const drawing = context(...size);
  drawing.imageSmoothingQuality = "high";
  drawing.drawImage(bitmap, 0, 0, ...size);
  return drawing.canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
}
