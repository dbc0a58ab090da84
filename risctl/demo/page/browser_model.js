// An exported model in ONNX Runtime Web: an image is encoded once, then phrases are answered, as risctl/runtime does.
import { antialiased, bilinear, letterbox } from "./browser_resize.js";
import { HashedWords } from "./browser_tokens.js";
import { encode, extent } from "./rle.js";

const MOST_CANDIDATES = 7;

export class BrowserModel {
  /**
   * Takes ONNX Runtime Web and the model's files.
   *
   * @param ort The runtime.
   * @param header What model.json holds.
   * @param words What vocabulary.json holds.
   * @param folded Signs that fold other than to lower case.
   * @param sessions The sessions `encode` and `answer`.
   */
  constructor(ort, { header, words, folded, sessions }) {
    this.ort = ort;
    this.header = header;
    this.sessions = sessions;
    this.tokens = new HashedWords(words, folded, header.text);
  }

  /** Encodes an image, RGBA bytes; returns what `answer` needs. */
  async encode(rgba, { height, width }) {
    const { size, fill } = this.header.image;
    const { innerHeight, innerWidth, top, left } = letterbox({ height, width }, size);
    const inner = antialiased(rgba, { height, width }, { height: innerHeight, width: innerWidth });
    const images = new Float32Array(3 * size * size).fill(fill), padding = new Uint8Array(size * size).fill(1);
    for (let y = 0; y < innerHeight; y++) {
      const row = (top + y) * size + left;
      padding.fill(0, row, row + innerWidth);
      for (let x = 0; x < innerWidth; x++) {
        const from = (y * innerWidth + x) * 3;
        for (let channel = 0; channel < 3; channel++) images[channel * size * size + row + x] = inner[from + channel] / 255;
      }
    }
    const tensors = {
      images: new this.ort.Tensor("float32", images, [1, 3, size, size]),
      padding: new this.ort.Tensor("bool", padding, [1, size, size]),
    };
    const features = await run(this.sessions.encode, tensors);
    return { features: { ...features, padding: tensors.padding }, height, width, innerHeight, innerWidth, top, left };
  }

  /** Answers phrases about an encoded image: results as the server gives them, each with its mask. */
  async answer(encoded, texts) {
    const count = texts.length, length = this.tokens.length;
    const words = new BigInt64Array(count * length), mask = new Uint8Array(count * length);
    texts.forEach((text, row) => {
      const found = this.tokens.ids(text);
      if (!found) throw new Error(`“${text}” has no word.`);
      words.set(found.ids, row * length);
      mask.set(found.mask, row * length);
    });
    const outputs = await run(this.sessions.answer, {
      ...encoded.features,
      image_of: new this.ort.Tensor("int64", new BigInt64Array(count), [count]),
      words: new this.ort.Tensor("int64", words, [count, length]),
      word_mask: new this.ort.Tensor("bool", mask, [count, length]),
    });
    const [, height, width] = outputs.logits.dims, area = height * width;
    return texts.map((text, row) => {
      const logits = outputs.logits.data.subarray(row * area, (row + 1) * area);
      return this.result(text, encoded, logits, { height, width }, outputs.scores?.data[row]);
    });
  }

  result(text, encoded, logits, from, given) {
    const { threshold, no_target_threshold: least } = this.header.output;
    const { height, width } = encoded, matched = given === undefined || given >= least;
    const mask = new Uint8Array(height * width);
    let sum = 0, count = 0;
    if (matched) {
      const restored = this.restored(Float32Array.from(logits, (value) => 1 / (1 + Math.exp(-value))), from, encoded);
      for (let at = 0; at < mask.length; at++) {
        if (restored[at] > threshold) { mask[at] = 1; sum += restored[at]; count++; }
      }
    }
    const segmentation = encode(mask, height, width), { area, box } = extent(mask, height, width);
    const score = given ?? (count ? sum / count : 0);
    return { text, matched, score, box, area, segmentation, threshold, warnings: this.tokens.warnings(text), mask };
  }

  /** Returns a map of the square as one of the image. */
  restored(values, from, { height, width, innerHeight, innerWidth, top, left }) {
    const { size } = this.header.image;
    const square = bilinear(values, from, { height: size, width: size });
    const inner = new Float32Array(innerHeight * innerWidth);
    for (let y = 0; y < innerHeight; y++) {
      const start = (top + y) * size + left;
      inner.set(square.subarray(start, start + innerWidth), y * innerWidth);
    }
    return bilinear(inner, { height: innerHeight, width: innerWidth }, { height, width });
  }

  /** Whether the graphs tell what they chose among. */
  get explains() {
    return this.sessions.answer.outputNames.includes("choice") && this.sessions.encode.outputNames.includes("places");
  }

  /** Returns the candidates of a phrase, the surest first. */
  async candidates(encoded, text) {
    const found = this.tokens.ids(text);
    const outputs = await run(this.sessions.answer, {
      ...encoded.features,
      image_of: new this.ort.Tensor("int64", new BigInt64Array(1), [1]),
      words: new this.ort.Tensor("int64", found.ids, [1, this.tokens.length]),
      word_mask: new this.ort.Tensor("bool", found.mask, [1, this.tokens.length]),
    });
    const choice = outputs.choice.data, places = encoded.features.places.data;
    const sides = [encoded.width, encoded.height, encoded.width, encoded.height];
    return Array.from(choice, (probability, index) => ({ probability, index }))
      .filter(({ probability }) => probability > 0)
      .sort((one, other) => other.probability - one.probability)
      .slice(0, MOST_CANDIDATES)
      .map(({ probability, index }) => ({ probability, box: sides.map((side, at) => places[4 * index + at] * side) }));
  }
}

async function run(session, tensors) {
  const feed = {};
  for (const name of session.inputNames) feed[name] = tensors[name];
  return session.run(feed);
}
