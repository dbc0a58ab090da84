// What answers: this page itself. The model's graphs run in the browser, and no picture leaves it.
import * as ort from "./ort.wasm.min.mjs";
import { BrowserModel } from "./browser_model.js";
import { canvasOf } from "./drawing.js";
import { start } from "./page.js";

// One thread: several would need headers that a static host does not send.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { mjs: new URL("ort-wasm-simd-threaded.mjs", import.meta.url).href, wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };

const say = (text) => { document.getElementById("status").textContent = text; };

async function fetched(name) {
  const answer = await fetch(new URL(`model/${name}`, import.meta.url));
  if (!answer.ok) throw new Error(`${name} cannot be loaded: ${answer.status} ${answer.statusText}`);
  return answer;
}

async function open() {
  say("Loading the model…");
  const [header, words, { folded, external }] = await Promise.all(["model.json", "vocabulary.json", "page.json"].map(async (name) => (await fetched(name)).json()));
  const weights = await Promise.all(external.map(async (path) => ({ path, data: new Uint8Array(await (await fetched(path)).arrayBuffer()) })));
  const sessions = {};
  for (const name of ["encode", "answer"]) {
    const data = new Uint8Array(await (await fetched(header.graphs[name].file)).arrayBuffer());
    const options = { executionProviders: ["wasm"], logSeverityLevel: 3, ...(weights.length ? { externalData: weights } : {}) };
    sessions[name] = await ort.InferenceSession.create(data, options);
  }
  return new BrowserModel(ort, { header, words, folded, sessions });
}

let model = null;
const opened = open().then((one) => { model = one; });

/** Returns the pixels of a picture over white, as the model's other readers see them. */
export function pixelsOf(bitmap) {
  const canvas = canvasOf(bitmap.width, bitmap.height), pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0);
  return pen.getImageData(0, 0, canvas.width, canvas.height).data;
}

async function encoded(image) {
  await opened;
  if (!image.bitmap) throw new Error("This browser cannot read the picture; save it as PNG or JPEG.");
  const { width, height } = image.bitmap;
  image.encoded ??= await model.encode(pixelsOf(image.bitmap), { width, height });
  return image.encoded;
}

const engine = {
  // Pixels as they are stored, which is how the model's other readers take them.
  decoding: { colorSpaceConversion: "none" },
  privacy: "All of it happens in this browser: no picture and no phrase leaves it.",
  async about() {
    await opened;
    const { name, system, parameters } = model.header;
    const description = `${name} (${system}), ${(parameters / 1e6).toFixed(1)} M parameters, in this browser`;
    return { models: [{ key: "first", name, description, explains: model.explains ? "choices" : null, video: false }], limits: {} };
  },
  async segment(image, phrases) {
    // The page is painted first, for what follows keeps it busy.
    await new Promise((done) => setTimeout(done, 20));
    const of = await encoded(image);
    return { height: of.height, width: of.width, notes: [], results: await model.answer(of, phrases) };
  },
  async explain(image, text) {
    return { text, kind: "choices", details: { things: await model.candidates(await encoded(image), text) }, sheet: null };
  },
};
start(engine);
globalThis.risctl = { engine, pixelsOf };
