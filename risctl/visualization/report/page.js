// Filters, sorts and links the samples. Everything from data enters the page as text.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("sample-data").textContent);
  const columns = data.columns;
  const count = columns.sample.length;
  const STEP = 200;
  const state = { protocol: Object.keys(data.iou)[0], column: "iou", down: false, shown: STEP, order: [] };
  const collator = new Intl.Collator("en", { numeric: true });

  // Without scripts a link leads to the image; with scripts, to the panel, so cards must not keep the id as a target.
  const pictures = new Map();
  for (const card of document.querySelectorAll(".card")) {
    pictures.set(card.id, card.querySelector("img"));
    card.removeAttribute("id");
  }

  const namesOf = (breakdown, row) => {
    const groups = data.groups[breakdown];
    return groups ? groups.of[row].map((one) => groups.names[one]) : [];
  };
  const abilities = Array.from({ length: count }, (_, row) => namesOf("ability", row).join(", "));
  const categories = Array.from({ length: count }, (_, row) => namesOf("category", row).join(", "));
  const words = Array.from({ length: count }, (_, row) =>
    `s${columns.sample[row]} ${columns.text[row]} ${abilities[row]} ${categories[row]}`.toLowerCase());

  const value = (row, column) => {
    if (column === "iou") return data.iou[state.protocol][row];
    if (column === "rank") return data.rank[state.protocol][row];
    if (column === "ability") return abilities[row];
    if (column === "category") return categories[row];
    return columns[column][row];
  };
  const NUMBERS = ["iou", "words", "area", "distractors", "score", "image", "ref", "sentence", "sample"];
  if (columns.f) NUMBERS.push("f");
  // Breakdowns of a number that the panel shows itself.
  const COUNTED = { length: "words", distractors: "distractors" };
  const COMPARE = {
    "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "=": (a, b) => a === b,
  };

  // A filter is a list of terms that must all hold; an unknown name or an invalid number gives null.
  const parse = (written) => {
    const tests = [];
    const pattern = /(-?)(?:([a-z]+)(:|<=|>=|<|>|=))?(?:"([^"]*)"?|(\S+))/gi;
    for (const [, not, name, sign, quoted, bare] of written.matchAll(pattern)) {
      const wanted = (quoted === undefined ? bare : quoted).toLowerCase();
      if (!wanted) continue;
      const key = name && name.toLowerCase();
      let test;
      if (!key) {
        test = (row) => words[row].includes(wanted);
      } else if (sign === ":" && data.groups[key]) {
        const groups = data.groups[key];
        const names = groups.names.map((one) => one.toLowerCase().replaceAll('"', ""));
        const exact = names.indexOf(wanted);
        const found = new Set(exact >= 0 ? [exact] : [...names.keys()].filter((place) => names[place].includes(wanted)));
        test = (row) => groups.of[row].some((one) => found.has(one));
      } else if (NUMBERS.includes(key) && Number.isFinite(Number(wanted))) {
        const compare = COMPARE[sign === ":" ? "=" : sign];
        const bound = Number(wanted);
        test = (row) => { const own = value(row, key); return own !== null && compare(own, bound); };
      } else {
        return null;
      }
      tests.push(not ? (row) => !test(row) : test);
    }
    return tests;
  };

  const compareRows = (a, b) => {
    // A sample without a target has no IoU, but it is right or wrong.
    const column = state.column === "iou" ? "rank" : state.column;
    const x = value(a, column), y = value(b, column);
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const order = typeof x === "string" ? collator.compare(x, y) : x - y;
    return (state.down ? -order : order) || a - b;
  };

  const made = (name, text, attributes = {}) => {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    for (const [key, one] of Object.entries(attributes)) node.setAttribute(key, one);
    return node;
  };
  const shownNumber = (one, digits) => one === null || one === undefined ? "–" : one.toFixed(digits);
  const percent = (one) => one === null ? "–" : `${(100 * one).toFixed(one >= 0.1 ? 0 : one >= 0.01 ? 1 : 2)}%`;

  const labels = [...document.querySelectorAll("#sample-table thead th")].map((cell) => cell.textContent);
  const rowOf = (row) => {
    const line = made("tr", undefined, { "data-row": row });
    const link = made("td", undefined, { class: "num" });
    link.append(made("a", `s${columns.sample[row]}`, { href: `#s${columns.sample[row]}` }));
    line.append(
      link,
      made("td", shownNumber(value(row, "iou"), 3), { class: "num" }),
      ...(columns.f ? [made("td", shownNumber(columns.f[row], 3), { class: "num" })] : []),
      made("td", columns.text[row], { dir: "auto", class: "expression" }),
      made("td", columns.words[row], { class: "num" }),
      made("td", abilities[row]),
      made("td", categories[row] || (columns.targeted[row] ? "" : "no target"), { dir: "auto" }),
      made("td", percent(columns.area[row]), { class: "num" }),
      made("td", columns.distractors[row] === null ? "–" : columns.distractors[row], { class: "num" }),
      ...(columns.video ? [made("td", columns.video[row], { dir: "auto" })] : [
        made("td", shownNumber(columns.score[row], 2), { class: "num" }),
        made("td", columns.image[row], { class: "num" }),
      ]),
    );
    [...line.cells].forEach((cell, place) => { cell.dataset.label = labels[place]; });
    if (row === state.current) line.className = "current";
    return line;
  };

  const draw = () => {
    const body = byId("sample-table").tBodies[0];
    body.replaceChildren(...state.order.slice(0, state.shown).map(rowOf));
    byId("more").hidden = state.order.length <= state.shown;
    for (const button of document.querySelectorAll("#sample-table thead button")) {
      const cell = button.closest("th");
      if (button.dataset.column === state.column) {
        cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      } else {
        cell.removeAttribute("aria-sort");
      }
    }
  };

  const update = () => {
    const box = byId("filter");
    const tests = parse(box.value);
    box.classList.toggle("wrong", tests === null);
    if (tests === null) {
      byId("count").textContent = "This filter is not understood; nothing was changed.";
      return;
    }
    state.order = [];
    let sum = 0, known = 0;
    for (let row = 0; row < count; row += 1) {
      if (value(row, "rank") === null || !tests.every((test) => test(row))) continue;
      state.order.push(row);
      const iou = value(row, "iou");
      if (iou === null) continue;
      sum += iou;
      known += 1;
    }
    state.order.sort(compareRows);
    state.shown = STEP;
    const shown = state.order.length, without = shown - known;
    const mean = known ? `, mean of their IoU ${(100 * sum / known).toFixed(2)}%` : "";
    const rest = without ? `, ${without.toLocaleString("en")} without a target and an IoU` : "";
    byId("count").textContent = `${shown.toLocaleString("en")} of ${count.toLocaleString("en")} samples${mean}${rest}`;
    draw();
  };

  const fact = (list, name, text) => {
    if (text === "" || text === null || text === undefined) return;
    const pair = made("div");
    pair.append(made("dt", name), made("dd", text, { dir: "auto" }));
    list.append(pair);
  };

  const neighbour = (step) => {
    const place = state.order.indexOf(state.current) + step;
    if (place >= 0 && place < state.order.length) location.hash = `s${columns.sample[state.order[place]]}`;
  };

  const open = (number) => {
    const panel = byId("detail");
    const row = columns.sample.indexOf(number);
    state.current = row;
    panel.replaceChildren();
    panel.hidden = false;
    if (row < 0) {
      panel.append(made("p", `There is no sample s${number} on this page.`));
    } else {
      panel.append(made("h3", `s${number}: ${columns.text[row]}`, { dir: "auto" }));
      const picture = pictures.get(`s${number}`);
      if (picture) panel.append(picture.cloneNode());
      const list = made("dl", undefined, { class: "facts" });
      for (const [name, ious] of Object.entries(data.iou)) fact(list, `IoU (${name})`, shownNumber(ious[row], 4));
      if (columns.f) fact(list, "F", shownNumber(columns.f[row], 4));
      if (!columns.video) fact(list, "score", shownNumber(columns.score[row], 3));
      for (const breakdown of Object.keys(data.groups)) {
        if (breakdown !== "area" && !(breakdown in COUNTED)) fact(list, breakdown, namesOf(breakdown, row).join(", "));
      }
      for (const column of Object.values(COUNTED)) fact(list, column, columns[column][row]);
      fact(list, "target area", percent(columns.area[row]));
      for (const name of columns.video ? ["ref", "sentence"] : ["image", "ref", "sentence"]) fact(list, `${name} id`, columns[name][row]);
      if (!columns.targeted[row]) fact(list, "target", "none");
      fact(list, "note", data.notes[row]);
      const previous = made("button", "Previous", { type: "button" });
      const next = made("button", "Next", { type: "button" });
      previous.addEventListener("click", () => neighbour(-1));
      next.addEventListener("click", () => neighbour(1));
      const all = made("a", `all sentences of this ${columns.video ? "video" : "image"}`, { href: "#samples" });
      all.dataset.filter = columns.video ? `video:"${columns.video[row].replaceAll('"', "")}"` : `image:${columns.image[row]}`;
      const links = made("p");
      links.append(previous, " ", next, " ", all);
      panel.append(list, links);
    }
    draw();
    panel.focus({ preventScroll: true });
    panel.scrollIntoView({ block: "start" });
  };

  const follow = () => {
    const match = /^#s(\d+)$/.exec(location.hash);
    if (match) open(Number(match[1]));
  };

  const choose = (name) => {
    state.protocol = name;
    for (const section of document.querySelectorAll(".protocol")) {
      section.hidden = section.dataset.protocol !== name;
    }
    update();
  };

  // Tables of parts: each heading sorts; cells carry their number.
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((cell, place) => {
      const button = made("button", cell.textContent, { type: "button" });
      cell.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = place === 0 ? cell.getAttribute("aria-sort") === "ascending" : cell.getAttribute("aria-sort") !== "descending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (line) => line.cells[place].dataset.value;
        const lines = [...table.tBodies[0].rows].sort((a, b) => {
          const x = key(a), y = key(b);
          if (x === "" || y === "") return (x === "") - (y === "");
          return down ? y - x : x - y;
        });
        table.tBodies[0].append(...lines);
      });
    });
  }

  for (const button of document.querySelectorAll("#sample-table thead button")) {
    button.addEventListener("click", () => {
      const column = button.dataset.column;
      state.down = state.column === column ? !state.down : false;
      state.column = column;
      update();
    });
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("[data-filter]");
    if (!link) return;
    byId("filter").value = link.dataset.filter;
    update();
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filter").addEventListener("input", update);
  byId("more").addEventListener("click", () => { state.shown += STEP; draw(); });
  const chooser = byId("protocol");
  if (chooser) chooser.addEventListener("change", () => choose(chooser.value));
  window.addEventListener("hashchange", follow);
  choose(state.protocol);
  follow();
})();
