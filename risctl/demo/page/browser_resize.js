// Resizes images and maps, to the bit as risctl/runtime/resize.py does.

const MOST_BITS = 22, LARGEST = 1 << 15, LARGE = 1000000;

/** Resizes RGBA bytes (as a canvas gives them) bilinearly with antialiasing; returns RGB bytes. */
export function antialiased(rgba, { height, width }, to) {
  // Images of more than a megapixel: as Pillow resizes them, whose weights have all 22 bits.
  const bits = height * width > LARGE ? MOST_BITS : null;
  const rgb = new Uint8Array(height * width * 3);
  for (let at = 0, from = 0; at < rgb.length; at += 3, from += 4) {
    rgb[at] = rgba[from];
    rgb[at + 1] = rgba[from + 1];
    rgb[at + 2] = rgba[from + 2];
  }
  // Columns come first, and are rounded to bytes before the rows.
  const columns = along(rgb, { outer: height, length: width, inner: 3 }, to.width, bits);
  return along(columns, { outer: 1, length: height, inner: to.width * 3 }, to.height, bits);
}

/** Resizes the middle axis of bytes (outer, length, inner) to `size`. */
function along(bytes, { outer, length, inner }, size, given) {
  if (length === size) return bytes;
  const { first, count, weights, bits } = taps(length, size, given);
  const result = new Uint8Array(outer * size * inner);
  const sums = new Float64Array(inner), half = 2 ** (bits - 1), unit = 2 ** -bits;
  for (let block = 0; block < outer; block++) {
    for (let place = 0, tap = 0; place < size; place++) {
      sums.fill(half);
      for (let k = 0; k < count[place]; k++, tap++) {
        const from = (block * length + first[place] + k) * inner, weight = weights[tap];
        for (let i = 0; i < inner; i++) sums[i] += bytes[from + i] * weight;
      }
      const into = (block * size + place) * inner;
      for (let i = 0; i < inner; i++) result[into + i] = sums[i] * unit;
    }
  }
  return result;
}

/** For each of `size` outputs of `length` pixels: the first pixel, how many, and their weights as whole numbers. */
function taps(length, size, given) {
  const scale = length / size, reach = Math.max(scale, 1);
  const first = new Int32Array(size), count = new Int32Array(size), weights = [];
  let largest = 0;
  for (let place = 0; place < size; place++) {
    const centre = scale * (place + 0.5);
    first[place] = Math.max(Math.trunc(centre - reach + 0.5), 0);
    count[place] = Math.min(Math.trunc(centre + reach + 0.5), length) - first[place];
    const own = [];
    for (let k = 0; k < count[place]; k++) own.push(Math.max(0, 1 - Math.abs((k + first[place] - centre + 0.5) / reach)));
    const total = own.reduce((sum, one) => sum + one, 0);
    for (const one of own) {
      weights.push(one / total);
      largest = Math.max(largest, one / total);
    }
  }
  let bits = given ?? 0;
  while (given === null && bits < MOST_BITS && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < LARGEST) bits++;
  return { first, count, bits, weights: weights.map((one) => Math.floor(one * 2 ** bits + 0.5)) };
}

/** Resizes a map, float32 (height, width), bilinearly without antialiasing, pixels being areas. */
export function bilinear(values, from, to) {
  const rows = betweenRows(values, from, to.height);
  return betweenColumns(rows, { height: to.height, width: from.width }, to.width);
}

function betweenRows(values, { height, width }, size) {
  if (height === size) return values;
  const { first, second, share } = neighbours(height, size);
  const result = new Float32Array(size * width);
  for (let y = 0; y < size; y++) {
    const low = first[y] * width, high = second[y] * width, into = y * width;
    for (let x = 0; x < width; x++) result[into + x] = mix(values[low + x], values[high + x], share[y]);
  }
  return result;
}

function betweenColumns(values, { height, width }, size) {
  if (width === size) return values;
  const { first, second, share } = neighbours(width, size);
  const result = new Float32Array(height * size);
  for (let y = 0; y < height; y++) {
    const from = y * width, into = y * size;
    for (let x = 0; x < size; x++) result[into + x] = mix(values[from + first[x]], values[from + second[x]], share[x]);
  }
  return result;
}

const { fround } = Math;

/** Between two floats, each step rounded to float32 as numpy rounds it. */
function mix(low, high, share) {
  return fround(fround(fround(high - low) * share) + low);
}

function neighbours(length, size) {
  const first = new Int32Array(size), second = new Int32Array(size), share = new Float32Array(size);
  const scale = fround(length / size);
  for (let place = 0; place < size; place++) {
    const at = Math.max(fround(fround(fround(place + 0.5) * scale) - 0.5), 0);
    first[place] = Math.min(Math.trunc(at), length - 1);
    second[place] = Math.min(first[place] + 1, length - 1);
    share[place] = at - first[place];
  }
  return { first, second, share };
}

/** How an image lies in a square that it is resized to fit; see risctl/vision/letterbox_numbers.py. */
export function letterbox({ height, width }, size) {
  const scale = Math.min(size / width, size / height);
  const innerWidth = Math.max(1, Math.trunc(width * scale)), innerHeight = Math.max(1, Math.trunc(height * scale));
  return { innerHeight, innerWidth, top: Math.floor((size - innerHeight) / 2), left: Math.floor((size - innerWidth) / 2) };
}
