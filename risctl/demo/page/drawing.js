// Draws masks on pictures, and makes the files that are kept.

/** Colours that colour-blind readers can tell apart: Okabe and Ito's (2008), without black. */
export const COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2"];

export function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

function parts(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

/** Draws layers {mask, colour} over a picture. */
export function compose(canvas, bitmap, layers, { opacity, contour }) {
  const { width, height } = canvas;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.clearRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0, width, height);
  if (!layers.length) return;
  const image = pen.getImageData(0, 0, width, height);
  const data = image.data;
  for (const { mask, colour } of layers) {
    const rgb = parts(colour);
    for (let index = 0; index < mask.length; index++) {
      if (!mask[index]) continue;
      for (let channel = 0; channel < 3; channel++) {
        const at = 4 * index + channel;
        data[at] += (rgb[channel] - data[at]) * opacity;
      }
    }
  }
  if (contour) {
    const wide = Math.max(1, Math.round(Math.max(width, height) / 450));
    for (const { mask, colour } of layers) edge(data, mask, width, height, wide, parts(colour));
  }
  pen.putImageData(image, 0, 0);
}

function edge(data, mask, width, height, wide, rgb) {
  const outside = (x, y) => x < 0 || y < 0 || x >= width || y >= height || !mask[y * width + x];
  for (let y = 0, index = 0; y < height; y++) {
    for (let x = 0; x < width; x++, index++) {
      if (!mask[index]) continue;
      if (outside(x - wide, y) || outside(x + wide, y) || outside(x, y - wide) || outside(x, y + wide)) {
        data.set(rgb, 4 * index);
      }
    }
  }
}

/** Returns a mask as a black and white picture. */
export function maskCanvas(mask, width, height) {
  const canvas = canvasOf(width, height);
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height);
  for (let index = 0; index < mask.length; index++) {
    image.data.fill(mask[index] ? 255 : 0, 4 * index, 4 * index + 3);
    image.data[4 * index + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

/** Returns a picture that is transparent outside a mask. */
export function cutoutCanvas(bitmap, mask, width, height) {
  const canvas = canvasOf(width, height);
  const pen = canvas.getContext("2d");
  pen.drawImage(bitmap, 0, 0, width, height);
  const image = pen.getImageData(0, 0, width, height);
  for (let index = 0; index < mask.length; index++) if (!mask[index]) image.data[4 * index + 3] = 0;
  pen.putImageData(image, 0, 0);
  return canvas;
}

/** Draws numbered boxes x1, y1, x2, y2 on a picture. */
export function boxes(canvas, bitmap, things) {
  const pen = canvas.getContext("2d");
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const unit = Math.max(canvas.width, canvas.height) / 450;
  pen.font = `${Math.max(12, Math.round(15 * unit))}px sans-serif`;
  pen.textBaseline = "top";
  // The surest is drawn last, above the others.
  things.map((thing, index) => [thing, index]).reverse().forEach(([{ box }, index]) => {
    if (!box) return;
    const colour = COLOURS[index % COLOURS.length];
    const [left, top, right, bottom] = box;
    pen.lineWidth = Math.max(2, 3 * unit);
    pen.strokeStyle = colour;
    pen.strokeRect(left, top, right - left, bottom - top);
    const label = String(index + 1), wide = pen.measureText(label).width + 8 * unit, high = 20 * unit;
    const y = Math.max(0, top - high);
    pen.fillStyle = colour;
    pen.fillRect(left, y, wide, high);
    pen.fillStyle = "#000000";
    pen.fillText(label, left + 4 * unit, y + 3 * unit);
  });
}

/** Offers a file to be kept. */
export function keep(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function keepCanvas(canvas, name) {
  canvas.toBlob((blob) => keep(blob, name), "image/png");
}

export function keepJson(value, name) {
  keep(new Blob([`${JSON.stringify(value)}\n`], { type: "application/json" }), name);
}

/** Returns a file's name from a phrase. */
export function slug(text) {
  return text.toLowerCase().normalize("NFKD").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "phrase";
}
