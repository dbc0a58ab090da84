// Shows how a model came to its answer: its candidates with their scores, or the sheet that its system draws.
import { boxes, canvasOf } from "./drawing.js";

const element = (tag, text = "", ...children) => {
  const made = document.createElement(tag);
  made.textContent = text;
  made.append(...children);
  return made;
};

export async function showExplanation(place, { kind, details, sheet, text }, bitmap) {
  place.replaceChildren();
  const shown = element("div");
  shown.className = "shown";
  if (Array.isArray(details.things)) shown.append(...candidates(details.things, bitmap));
  else if (sheet) shown.append(await drawn(sheet, kind, text));
  place.append(shown);
  const numbers = element("details", "", element("summary", "The same as numbers"), element("pre", JSON.stringify(details, null, 1)));
  place.append(numbers);
}

function candidates(things, bitmap) {
  if (!things.length) return [element("p", "The model saw nothing that could be meant.")];
  const canvas = canvasOf(bitmap.width, bitmap.height);
  boxes(canvas, bitmap, things);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The candidates' boxes on the picture; the table lists them");
  const head = element("tr", "", ...["Candidate", "Probability", "Box (x, y, width, height)", "Chosen"].map(header));
  const chosen = things.some((thing) => "chosen" in thing);
  if (!chosen) head.lastElementChild.remove();
  const lines = things.map((thing, index) => {
    const box = thing.box ? [thing.box[0], thing.box[1], thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]].map(Math.round).join(", ") : "none";
    const cells = [String(index + 1), thing.probability.toFixed(3), box, ...(chosen ? [thing.chosen ? "yes" : "no"] : [])];
    return element("tr", "", ...cells.map((cell) => element("td", cell)));
  });
  const table = element("table", "", element("thead", "", head), element("tbody", "", ...lines));
  const wide = element("div", "", table);
  wide.className = "wide";
  return [canvas, wide];
}

function header(text) {
  const cell = element("th", text);
  cell.scope = "col";
  return cell;
}

async function drawn(sheet, kind, text) {
  const bytes = Uint8Array.from(atob(sheet), (sign) => sign.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = canvasOf(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `A sheet of the model's ${kind} for “${text}”; its numbers are below`);
  return canvas;
}
