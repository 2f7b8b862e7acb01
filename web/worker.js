// Off the page's thread: reads photos, runs the network, answers. Nothing leaves the device.

import { answer, prepared } from "./answer.js";
import { BadPhoto, check, read } from "./pixels.js";

const runtimeFiles = (script, core) =>
  [script, `${core}.mjs`, `${core}.wasm`].map(
    (file) => new URL(`vendor/onnxruntime-web/${file}`, import.meta.url).href,
  );
const RUNTIMES = {
  webgpu: runtimeFiles("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"),
  wasm: runtimeFiles("ort.wasm.min.mjs", "ort-wasm-simd-threaded"),
};

/** What keeps the page from working at all; the message is a sentence for people. */
class Failure extends Error {}

let model;
let ort;
let session;
let runtime; // of RUNTIMES

const jobs = {
  load,
  locate: async ({ blob }) => {
    if (!session) throw new Failure("The model is not loaded.");
    const { pixels, preview } = await read(blob, model, decodeHeif);
    const scores = await run(pixels).catch(onProcessor(pixels));
    return { scores, preview, answer: answer([scores], model), runtime };
  },
  together: async ({ scores }) => ({ answer: answer(scores, model) }),
};

let last = Promise.resolve();
self.addEventListener("message", ({ data: { id, job, ...given } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, result: await jobs[job](given) });
    } catch (error) {
      const known = error instanceof BadPhoto || error instanceof Failure;
      postMessage({
        id,
        error: known ? error.message : `Something went wrong (${error.message}).`,
      });
    }
  });
});

async function load({ wasmOnly }) {
  if (typeof WebAssembly !== "object")
    throw new Failure("This browser has no WebAssembly, which the network needs to run.");
  const [json, kind] = await Promise.all([readModel(), wasmOnly ? "wasm" : bestRuntime()]);
  model = prepared(json);
  const weights = readWeights();
  weights.catch(() => {}); // awaited below; until then its failure is not unhandled
  try {
    await start(kind, weights);
  } catch (error) {
    if (kind === "wasm" || error instanceof Failure) throw error;
    await start("wasm", weights);
  }
  // To keep for offline use; of both runtimes, if the graphics processor may be taken away.
  const files = ["model.json", json.file, ...RUNTIMES[runtime], ...RUNTIMES.wasm];
  const { backbone, image_size, licence, learned, trained_on: trainedOn } = model;
  const { model_licence: modelLicence, n: classes } = model;
  const facts = { backbone, imageSize: image_size, licence, modelLicence, learned, trainedOn };
  const { bytes, radii_km: radiiKm, constants } = model;
  return { ...facts, classes, bytes, radiiKm, constants, runtime, files };
}

async function readModel() {
  let json;
  try {
    const response = await fetch("model.json", { cache: "no-cache" });
    if (!response.ok) throw new Failure("The model is missing: model.json is not there.");
    json = await response.json();
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure("The model could not be loaded: model.json did not arrive whole.");
  }
  const { classes, calibration } = json ?? {};
  const lists = ["token", "latitude", "longitude", "point_latitude", "point_longitude", "name", "town"];
  const n = classes?.token?.length;
  const fits =
    n > 0 &&
    [...lists, "spread_km"].every((key) => classes[key]?.length === n) &&
    calibration?.temperature > 0 &&
    json.image_size > 0 &&
    json.pack_side > 0 &&
    json.radii_km &&
    json.constants?.earth_radius_km > 0 &&
    typeof json.file === "string";
  if (!fits)
    throw new Failure("The model is of another format: model.json lacks what this page needs.");
  return json;
}

/** The network, whose file must be the one that model.json describes. */
async function readWeights() {
  const bytes = await fetchBytes(model.file, "the model", model.bytes);
  const hashed = await self.crypto.subtle?.digest("SHA-256", bytes); // over https alone
  const hex = hashed && Array.from(new Uint8Array(hashed), (each) => each.toString(16).padStart(2, "0"));
  if (bytes.length !== model.bytes || (hex && hex.join("") !== model.sha256))
    throw new Failure("The model is not the one that model.json describes; use the newer version, or reload the page.");
  return bytes;
}

/** A graphics processor may be taken away at any moment: then the processor goes on. */
const onProcessor = (pixels) => async (error) => {
  if (runtime === "wasm") throw error;
  await start("wasm", readWeights());
  return run(pixels);
};

async function bestRuntime() {
  try {
    return (await navigator.gpu?.requestAdapter()) ? "webgpu" : "wasm";
  } catch {
    return "wasm";
  }
}

async function start(kind, weights) {
  const [script, mjs, wasm] = RUNTIMES[kind];
  const [library, wasmBinary, bytes] = await Promise.all([
    import(script).catch(() => {
      throw new Failure("The runtime is missing or could not be loaded.");
    }),
    fetchBytes(wasm, "the runtime"),
    weights,
  ]);
  ort = library;
  ort.env.wasm.wasmPaths = { mjs, wasm };
  ort.env.wasm.wasmBinary = wasmBinary;
  // Threads share memory, which a browser allows only to an isolated page.
  ort.env.wasm.numThreads = self.crossOriginIsolated
    ? Math.min(4, navigator.hardwareConcurrency)
    : 1;
  ort.env.logLevel = "error";
  postMessage({ progress: { what: "Starting" } });
  try {
    const options = { executionProviders: [kind], graphOptimizationLevel: "all" };
    session = await ort.InferenceSession.create(bytes, options);
    const scores = await run(new Uint8Array(3 * model.image_size ** 2)); // warm up
    if (scores.length !== model.n)
      throw new Failure("model.json and the model do not fit together.");
    answer([scores], model); // so that the first photo does not wait for what all need
  } catch (error) {
    if (error instanceof Failure) throw error;
    if (kind !== "wasm") throw error;
    throw new Failure(
      `The model could not be started (${error.message.split("\n")[0].slice(0, 120)}).`,
    );
  }
  runtime = kind;
}

async function run(pixels) {
  const shape = [1, model.image_size, model.image_size, 3];
  const input = new ort.Tensor("uint8", pixels, shape);
  const { scores } = await session.run({ pixels: input });
  return Float32Array.from(scores.data);
}

/** A file's bytes, with news of how many have come. */
async function fetchBytes(url, what, size) {
  let response;
  try {
    response = await fetch(url, { cache: "no-cache" });
  } catch {
    throw new Failure(`Loading ${what} failed: no connection.`);
  }
  if (!response.ok)
    throw new Failure(`Loading ${what} failed: the file is not there (${response.status}).`);
  const encoded = response.headers.get("Content-Encoding"); // then the length is of the packed file
  const total = size ?? (encoded ? 0 : Number(response.headers.get("Content-Length")));
  const parts = [];
  let loaded = 0;
  const reader = response.body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      loaded += part.value.length;
      postMessage({ progress: { what, loaded, total } });
    }
  } catch {
    throw new Failure(`Loading ${what} broke off.`);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function decodeHeif(blob) {
  let heif;
  try {
    const { default: libheif } = await import("./vendor/libheif-js/libheif-bundle.mjs");
    heif = await libheif();
  } catch {
    throw new BadPhoto(
      "This browser cannot read HEIC, and the decoder for it could not be loaded.",
    );
  }
  const [image] = new heif.HeifDecoder().decode(new Uint8Array(await blob.arrayBuffer()));
  if (!image) throw new BadPhoto("The file is damaged: it does not decode to its end.");
  const [width, height] = [image.get_width(), image.get_height()];
  check(width, height, model.constants);
  const data = new ImageData(width, height);
  await new Promise((resolve, reject) => {
    const failed = new BadPhoto("The file is damaged: it does not decode to its end.");
    image.display(data, (shown) => (shown ? resolve() : reject(failed)));
  });
  image.free();
  return createImageBitmap(data);
}
