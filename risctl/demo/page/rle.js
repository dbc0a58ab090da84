// COCO's run-length encoding of masks: runs of 0 and 1 down the columns, in its compressed text form.

/** Returns a mask, one byte a pixel (0 or 1) row by row, of an RLE. */
export function decode({ size: [height, width], counts }) {
  const mask = new Uint8Array(height * width);
  const runs = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value += (code & 31) * 2 ** shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value -= 2 ** shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  let place = 0, one = 0;
  for (const run of runs) {
    if (one) for (let index = place; index < place + run; index++) mask[(index % height) * width + Math.floor(index / height)] = 1;
    place += run;
    one = 1 - one;
  }
  return mask;
}

/** Returns the RLE of a mask. */
export function encode(mask, height, width) {
  const runs = [];
  let run = 0, last = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const value = mask[y * width + x];
      if (value === last) { run++; continue; }
      runs.push(run);
      run = 1;
      last = value;
    }
  }
  runs.push(run);
  let counts = "";
  runs.forEach((whole, index) => {
    let value = index > 2 ? whole - runs[index - 2] : whole;
    for (let more = true; more;) {
      let code = value & 31;
      value >>= 5;
      more = code & 16 ? value !== -1 : value !== 0;
      if (more) code |= 32;
      counts += String.fromCharCode(code + 48);
    }
  });
  return { size: [height, width], counts };
}

/** Returns the box x, y, width, height of a mask, null of an empty one, and its area. */
export function extent(mask, height, width) {
  let left = width, right = -1, top = height, bottom = -1, area = 0;
  for (let y = 0, index = 0; y < height; y++) {
    for (let x = 0; x < width; x++, index++) {
      if (!mask[index]) continue;
      area++;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return { area, box: area ? [left, top, right - left + 1, bottom - top + 1] : null };
}
