// The page: pictures in, phrases in, masks out. What answers is handed in: a server, or the browser itself.
import { COLOURS, canvasOf, compose, cutoutCanvas, keepCanvas, keepJson, maskCanvas, slug } from "./drawing.js";
import { showExplanation } from "./explanation.js";
import { decode } from "./rle.js";

const $ = (id) => document.getElementById(id);
const element = (tag, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
};

let engine, models = [], limits = { phrases: 16, phrase_length: 500 };
let image = null;      // {blob, bitmap, digest} of a picture, {blob, video: true} of a video
let answers = {};      // by the model's key: what `segment` or `video` gave
let frame = 0, timer = null, running = null, rows = 0;

export async function start(given) {
  engine = given;
  $("privacy").textContent = engine.privacy;
  listen();
  addPhrase();
  await open();
}

async function open() {
  try {
    const about = await engine.about();
    models = about.models;
    limits = { ...limits, ...about.limits };
    $("token-form").hidden = true;
    $("about").textContent = models.map((model) => model.description).join("; ");
    $("compare-row").hidden = models.length < 2;
    if (models.some((model) => model.video)) {
      $("file").accept = "image/*,video/*";
      $("file-label").textContent = "Choose a picture or video";
    }
    tell("");
    await restore();
  } catch (error) {
    failed(error);
  }
}

// What is told

function tell(text) {
  $("status").textContent = text;
  $("problem").hidden = true;
}

function failed(error) {
  if (error.name === "AbortError") return;
  $("status").textContent = "";
  $("token-form").hidden = error.status !== 401;
  $("problem").textContent = error.status === 401 ? "The token is missing or wrong." : error.message;
  $("problem").hidden = false;
  if (error.status === 401) $("token").focus();
}

// Phrases

function phraseRows() {
  return [...$("phrases").children];
}

function phrasesNow() {
  return phraseRows()
    .map((row) => ({ row, text: row.querySelector(".text").value.trim(), colour: row.querySelector("[type=color]").value }))
    .filter(({ text }) => text);
}

function addPhrase(text = "", colour = COLOURS[phraseRows().length % COLOURS.length]) {
  const number = ++rows;
  const field = element("input", { type: "text", className: "text", value: text, id: `phrase-${number}`, maxLength: limits.phrase_length, autocomplete: "off", placeholder: "such as: the cup on the left" });
  field.setAttribute("aria-label", `Phrase ${number}`);
  const tint = element("input", { type: "color", value: colour });
  tint.setAttribute("aria-label", `Colour of phrase ${number}`);
  tint.addEventListener("input", draw);
  const away = element("button", { type: "button", textContent: "Remove" });
  away.setAttribute("aria-label", `Remove phrase ${number}`);
  const row = element("li", {},
    element("div", { className: "phrase" }, tint, field, away),
    element("ul", { className: "answers" }));
  away.addEventListener("click", () => {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (!next) addPhrase();
    (next ?? phraseRows()[0]).querySelector(".text").focus();
    counted();
    draw();
  });
  $("phrases").append(row);
  counted();
  return row;
}

function counted() {
  $("add").disabled = phraseRows().length >= limits.phrases;
}

// Pictures

async function take(file) {
  if (!file) return;
  stop();
  running?.abort();
  answers = {};
  frame = 0;
  const isVideo = file.type.startsWith("video/");
  if (isVideo && !models.some((model) => model.video)) {
    failed(new Error("This model answers no videos here; give a picture."));
    return;
  }
  image = { blob: file, bitmap: null, digest: null, video: isVideo };
  if (!isVideo) {
    try {
      image.bitmap = await createImageBitmap(file, { imageOrientation: "from-image", ...engine.decoding });
    } catch { /* perhaps the server can read it */ }
  }
  $("why").hidden = true;
  showAnswers();
  draw();
  tell(isVideo ? "A video: it is read once you find something in it." : "The picture is there; say what to look for.");
  if (phrasesNow().length) await find();
  else phraseRows()[0].querySelector(".text").focus();
}

// Answers

async function find() {
  const phrases = phrasesNow();
  if (!image) { failed(new Error("Choose a picture first.")); $("file").focus(); return; }
  if (!phrases.length) { failed(new Error("Say what to look for.")); phraseRows()[0].querySelector(".text").focus(); return; }
  running?.abort();
  const own = running = new AbortController();
  stop();
  tell("Looking…");
  $("figures").setAttribute("aria-busy", "true");
  const of = image, texts = phrases.map(({ text }) => text);
  try {
    const found = {};
    for (const model of models) {
      if (of.video && !model.video) continue;
      found[model.key] = await (of.video ? engine.video(of.blob, texts, model.key, own.signal) : engine.segment(of, texts, model.key, own.signal));
    }
    if (own.signal.aborted || of !== image) return;
    answers = found;
    for (const { row, text } of phrases) row.dataset.answered = text;
    if (of.video) await readFrames();
    if (own.signal.aborted) return;
    prepare();
    showAnswers();
    draw();
    remember();
    tell(summary());
  } catch (error) {
    if (own === running) failed(error);
  } finally {
    if (own === running) $("figures").removeAttribute("aria-busy");
  }
}

async function readFrames() {
  for (const { frames } of Object.values(answers)) {
    for (const one of frames) {
      const bytes = Uint8Array.from(atob(one.image), (sign) => sign.charCodeAt(0));
      one.bitmap = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    }
  }
}

function prepare() {
  for (const found of Object.values(answers)) {
    for (const results of found.frames?.map((one) => one.results) ?? [found.results]) {
      for (const result of results) result.mask = decode(result.segmentation);
    }
  }
}

/** What a model shows now: picture, and results in the order of the phrases that were asked. */
function shownOf(model) {
  const found = answers[model.key];
  if (!found) return { bitmap: image?.bitmap, results: [] };
  const one = found.frames ? found.frames[Math.min(frame, found.frames.length - 1)] : { bitmap: image.bitmap, results: found.results };
  return one ?? { bitmap: null, results: [] };
}

function resultOf(model, text) {
  return shownOf(model).results.find((result) => result.text === text);
}

function shownModels() {
  return models.length > 1 && !$("compare").checked ? models.slice(0, 1) : models;
}

function said(result) {
  if (!result.matched) return "no match";
  if (!result.area) return "nothing found";
  const share = 100 * result.area / (result.segmentation.size[0] * result.segmentation.size[1]);
  return `${share < 0.1 ? "< 0.1" : share.toFixed(1)} % of the picture`;
}

function summary() {
  const [model] = models;
  const results = shownOf(model).results;
  const found = results.filter((result) => result.area).length;
  const cut = Object.values(answers).some((one) => one.whole === false) ? " The video is longer; its first frames were answered." : "";
  const notes = (answers[model.key]?.notes ?? []).map((note) => ` The picture ${note}.`).join("");
  return `Found ${found} of ${results.length}${models.length > 1 ? ` with ${model.name}` : ""}.${cut}${notes}`;
}

function showAnswers() {
  for (const row of phraseRows()) {
    const text = row.dataset.answered;
    const list = row.querySelector(".answers"), field = row.querySelector(".text");
    list.replaceChildren();
    for (const model of shownModels()) {
      const result = text && resultOf(model, text);
      if (!result) continue;
      const name = models.length > 1 ? `${model.name}: ` : "";
      const verdict = element("span", { textContent: said(result), className: result.matched && result.area ? "" : "none" });
      const told = element("div", { id: `${field.id}-${model.key}` }, element("p", {}, name, verdict, `, score ${result.score.toFixed(3)}`));
      for (const warning of result.warnings) told.append(element("p", { className: "dim", textContent: warning }));
      list.append(element("li", {}, told, actions(model, result, text)));
    }
    // The field is described by its answers, not by what can be done with them.
    field.setAttribute("aria-describedby", [...list.children].map((one) => one.firstElementChild.id).join(" "));
  }
  const any = Object.keys(answers).length > 0;
  $("save-overlay").disabled = $("save-answers").disabled = !any;
}

/** Returns what can be done with an answer. */
function actions(model, result, text) {
  const more = element("div", { className: "more" });
  const name = models.length > 1 ? ` (${model.name})` : "";
  const add = (label, spoken, action) => {
    const button = element("button", { type: "button", textContent: label });
    button.setAttribute("aria-label", `${spoken} of “${text}”${name}`);
    button.addEventListener("click", action);
    more.append(button);
  };
  const [height, width] = result.segmentation.size, file = slug(text);
  add("Mask", "Keep the mask as PNG", () => keepCanvas(maskCanvas(result.mask, width, height), `${file}.mask.png`));
  if (result.area) add("Cut-out", "Keep the cut-out as PNG", () => keepCanvas(cutoutCanvas(shownOf(model).bitmap, result.mask, width, height), `${file}.cutout.png`));
  add("RLE", "Keep the mask as COCO RLE in JSON", () => keepJson(kept(result), `${file}.json`));
  if (model.explains && !image.video) add("Why?", "Explain the answer", () => explain(model, text));
  return more;
}

function kept({ mask, ...result }) {
  return result;
}

async function explain(model, text) {
  tell("Explaining…");
  try {
    const shown = await engine.explain(image, text, model.key);
    await showExplanation($("why-content"), shown, image.bitmap);
    $("why-title").textContent = `Explanation of “${text}”${models.length > 1 ? `, ${model.name}` : ""}`;
    $("why").hidden = false;
    $("why-title").focus();
    tell("");
  } catch (error) {
    failed(error);
  }
}

// Drawing

function draw() {
  const shown = image && models.length ? shownModels() : [];
  const figures = shown.map((model) => [model, shownOf(model)]).filter(([, { bitmap }]) => bitmap);
  $("figures").toggleAttribute("data-empty", !figures.length);
  const player = Object.values(answers).find((one) => one.frames);
  $("player").hidden = !player || player.frames.length < 2;
  if (player) {
    $("frame").max = player.frames.length - 1;
    $("frame").value = frame;
    $("frame-number").textContent = `${frame + 1} of ${player.frames.length}`;
  }
  if (!figures.length) {
    $("figures").replaceChildren(element("p", { textContent: image ? "It is shown once something was looked for." : "No picture yet." }));
    return;
  }
  const colours = new Map(phraseRows().map((row) => [row.dataset.answered, row.querySelector("[type=color]").value]));
  const options = { opacity: $("opacity").value / 100, contour: $("contour").checked };
  const old = new Map([...$("figures").querySelectorAll("figure")].map((one) => [one.dataset.model, one]));
  $("figures").replaceChildren(...figures.map(([model, { bitmap, results }]) => {
    const figure = old.get(model.key) ?? element("figure", {}, canvasOf(1, 1), element("figcaption"));
    figure.dataset.model = model.key;
    const [canvas, caption] = figure.children;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    const layers = results.filter((one) => one.area && colours.has(one.text)).map((one) => ({ mask: one.mask, colour: colours.get(one.text) }));
    compose(canvas, bitmap, layers, options);
    canvas.setAttribute("role", "img");
    const told = results.map((one) => `${one.text}: ${said(one)}, score ${one.score.toFixed(3)}`).join("; ");
    canvas.setAttribute("aria-label", told ? `The picture with masks. ${told}` : "The picture");
    caption.textContent = models.length > 1 ? model.name : "";
    return figure;
  }));
}

// Video

function stop() {
  clearInterval(timer);
  timer = null;
  $("play").textContent = "Play";
  $("play").setAttribute("aria-pressed", "false");
}

function play() {
  if (timer !== null) { stop(); return; }
  const shown = Object.values(answers).find((one) => one.frames);
  if (!shown) return;
  $("play").textContent = "Stop";
  $("play").setAttribute("aria-pressed", "true");
  timer = setInterval(() => {
    frame = (frame + 1) % shown.frames.length;
    showAnswers();
    draw();
  }, 1000 / Math.min(Math.max(shown.rate, 1), 25));
}

// The link

function stateText() {
  const state = new URLSearchParams();
  for (const { text, colour } of phrasesNow()) state.append("p", `${colour.slice(1)}${text}`);
  state.set("o", $("opacity").value);
  state.set("c", $("contour").checked ? "1" : "0");
  if (models.length > 1) state.set("b", $("compare").checked ? "1" : "0");
  if (image?.digest && !image.video) state.set("d", image.digest);
  return String(state);
}

function remember() {
  history.replaceState(null, "", `#${stateText()}`);
}

async function restore() {
  const state = new URLSearchParams(location.hash.slice(1));
  const phrases = state.getAll("p").slice(0, limits.phrases)
    .map((one) => [`#${one.slice(0, 6)}`, one.slice(6, 6 + limits.phrase_length)])
    .filter(([colour]) => /^#[0-9a-f]{6}$/i.test(colour));
  if (phrases.length) {
    $("phrases").replaceChildren();
    for (const [colour, text] of phrases) addPhrase(text, colour);
  }
  const opacity = Number(state.get("o") ?? NaN);
  if (opacity >= 0 && opacity <= 100) $("opacity").value = opacity;
  if (state.has("c")) $("contour").checked = state.get("c") === "1";
  if (state.has("b")) $("compare").checked = state.get("b") === "1";
  opacityChanged();
  const digest = state.get("d");
  if (!digest || !engine.restore || !/^[0-9a-f]{64}$/.test(digest)) return;
  try {
    image = await engine.restore(digest);
  } catch (error) {
    if (error.status !== 404) throw error;
    tell("The server no longer keeps the link's picture; choose it again.");
    return;
  }
  draw();
  if (phrases.length) await find();
}

async function copyLink() {
  const address = `${location.origin}${location.pathname}#${stateText()}`;
  $("link-text").value = address;
  $("link-row").hidden = false;
  try {
    await navigator.clipboard.writeText(address);
    tell("The link is copied.");
  } catch {
    $("link-text").focus();
    $("link-text").select();
    tell("Copy the link from the field.");
  }
}

function opacityChanged() {
  $("opacity-value").textContent = `${$("opacity").value} %`;
  draw();
}

// What is done with keys, pointers and files

function listen() {
  $("form").addEventListener("submit", (event) => { event.preventDefault(); find(); });
  $("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    engine.useToken?.($("token").value.trim());
    open();
  });
  $("add").addEventListener("click", () => addPhrase().querySelector(".text").focus());
  $("file").addEventListener("change", () => { const [file] = $("file").files; $("file").value = ""; take(file); });
  $("opacity").addEventListener("input", opacityChanged);
  $("opacity").addEventListener("change", remember);
  $("contour").addEventListener("change", () => { draw(); remember(); });
  $("compare").addEventListener("change", () => { showAnswers(); draw(); remember(); });
  $("play").addEventListener("click", play);
  $("frame").addEventListener("input", () => { frame = Number($("frame").value); showAnswers(); draw(); });
  $("link").addEventListener("click", copyLink);
  $("save-overlay").addEventListener("click", () => {
    for (const figure of $("figures").querySelectorAll("figure")) {
      keepCanvas(figure.firstElementChild, models.length > 1 ? `overlay.${figure.dataset.model}.png` : "overlay.png");
    }
  });
  $("save-answers").addEventListener("click", () => {
    const all = models.filter(({ key }) => answers[key]).map(({ key, name }) => {
      const { results, frames, ...rest } = answers[key];
      const own = frames ? { frames: frames.map((one) => ({ index: one.index, time: one.time, results: one.results.map(kept) })) } : { results: results.map(kept) };
      return { ...rest, model: name, ...own };
    });
    keepJson(all.length === 1 ? all[0] : all, "answers.json");
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) { event.preventDefault(); take(file); }
  });
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    take(event.dataTransfer?.files?.[0]);
  });
}
