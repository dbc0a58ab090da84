// Turns phrases into ids of words and of their n-grams, as risctl/language/word_grams.py does.

const GRAMS = 15, WORD = /[\p{L}\p{N}]+/gu;
const EDGES = new Set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~“”‘’«»…–—¿¡");

const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(text) {
  let sum = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

export class HashedWords {
  /** Takes the vocabulary, its two special entries included, what folds other than to lower case, and `text` of model.json. */
  constructor(words, folded, { buckets, max_words: most }) {
    this.rows = new Map(words.map((word, row) => [word, row]).slice(2));
    this.known = new Set(words);
    this.folded = folded;
    this.buckets = buckets;
    this.most = most;
    this.length = most * (1 + GRAMS);
  }

  split(text) {
    const folded = Array.from(text, (sign) => this.folded[sign] ?? sign.toLowerCase()).join("");
    return (folded.match(WORD) ?? []).slice(0, this.most);
  }

  /** Returns ids (int64) and their mask (bool) of a phrase, null of one without a word. */
  ids(text) {
    const words = this.split(text);
    if (!words.length) return null;
    const ids = new BigInt64Array(this.length), mask = new Uint8Array(this.length);
    words.forEach((word, index) => {
      const start = index * (1 + GRAMS);
      [this.rows.get(word) ?? 1, ...this.grams(word).map((bucket) => bucket + 1)].forEach((id, at) => { ids[start + at] = BigInt(id); });
      mask.fill(1, start, start + 1 + GRAMS);
    });
    return { ids, mask };
  }

  grams(word) {
    const signs = Array.from(`<${word}>`), found = [];
    for (const length of [3, 4]) for (let start = 0; start + length <= signs.length; start++) found.push(signs.slice(start, start + length).join(""));
    const half = Math.floor(GRAMS / 2);
    const kept = found.length > GRAMS ? [...found.slice(0, half), ...found.slice(-(GRAMS - half))] : found;
    return kept.map((gram) => crc32(gram) % this.buckets);
  }

  warnings(text) {
    const words = text.toLowerCase().split(/\s+/u).filter(Boolean), found = [];
    const unknown = [...new Set(words)].filter((word) => !this.known.has(word) && !this.known.has(bare(word)));
    if (unknown.length) found.push(`not among the words of its training: ${unknown.map(quoted).join(", ")}`);
    const read = this.split(text).length;
    if (read < words.length && read === this.most) found.push(`only the first ${read} of ${words.length} words are read`);
    return found;
  }
}

/** Returns a word in quotes, as Python's repr puts them. */
function quoted(word) {
  return word.includes("'") && !word.includes('"') ? `"${word}"` : `'${word.replaceAll("'", "\\'")}'`;
}

function bare(word) {
  const signs = Array.from(word);
  let start = 0, end = signs.length;
  while (start < end && EDGES.has(signs[start])) start++;
  while (end > start && EDGES.has(signs[end - 1])) end--;
  return signs.slice(start, end).join("");
}
