// What answers: this page's server.
import { start } from "./page.js";

let token = sessionStorage.getItem("token") ?? "";
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  token = given;
  sessionStorage.setItem("token", token);
  const rest = new URLSearchParams(location.hash.slice(1));
  rest.delete("token");
  history.replaceState(null, "", rest.size ? `#${rest}` : location.pathname);
}

async function ask(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  let detail = `${answer.status} ${answer.statusText}`;
  try {
    detail = (await answer.json()).detail ?? detail;
  } catch { /* no problem document: the status says it */ }
  throw Object.assign(new Error(detail), { status: answer.status });
}

function formOf(fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) form.append(name, one);
  }
  return form;
}

async function picture(digest) {
  return (await ask(`v1/images/${digest}`)).blob();
}

/** Asks by digest first: an image is sent once, and again only if the server no longer keeps it. */
async function aboutImage(path, image, fields, signal) {
  if (image.digest) {
    try {
      return await (await ask(path, { method: "POST", signal, body: formOf({ digest: image.digest, ...fields }) })).json();
    } catch (error) {
      if (error.status !== 404 || !image.blob) throw error;
    }
  }
  return (await ask(path, { method: "POST", signal, body: formOf({ image: image.blob, ...fields }) })).json();
}

start({
  privacy: "Pictures are sent to this page's server, kept in its memory for a while, and not written to its disk.",
  async about() {
    return (await ask("v1/models")).json();
  },
  useToken(text) {
    token = text;
    sessionStorage.setItem("token", token);
  },
  async segment(image, phrases, model, signal) {
    const found = await aboutImage("v1/segment", image, { phrases, model }, signal);
    image.digest = found.digest;
    // What a browser cannot show (TIFF, JPEG 2000), the server can.
    if (!image.bitmap) image.bitmap = await createImageBitmap(await picture(found.digest));
    return found;
  },
  explain(image, phrase, model) {
    return aboutImage("v1/explain", image, { phrases: [phrase], model });
  },
  async video(blob, phrases, model, signal) {
    return (await ask("v1/video", { method: "POST", signal, body: formOf({ video: blob, phrases, model }) })).json();
  },
  async restore(digest) {
    const blob = await picture(digest);
    return { digest, blob, bitmap: await createImageBitmap(blob) };
  },
});
