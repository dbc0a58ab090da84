"use strict";
(() => {
  const data = JSON.parse(document.getElementById("answers").textContent);
  const cards = [...document.querySelectorAll("article")];
  const key = `risctl-review-${data.plan}-${data.page}`;
  const words = { accepted: "accepted", refused: "refused" };
  let decisions = {};
  // A page opened as a file may have no storage; what was decided is then kept until it is closed.
  try { decisions = JSON.parse(localStorage.getItem(key) || "{}"); } catch { decisions = {}; }

  function show() {
    let done = 0;
    cards.forEach((card, place) => {
      const said = words[decisions[place]] || "";
      if (said) done += 1;
      card.dataset.decision = said;
      card.querySelector(".said").textContent = said;
      card.querySelectorAll("button").forEach((one) =>
        one.setAttribute("aria-pressed", String(one.dataset.decision === said)));
    });
    document.getElementById("count").textContent = `${done} of ${cards.length} decided`;
  }

  function decide(place, what) {
    if (what) decisions[place] = what; else delete decisions[place];
    try { localStorage.setItem(key, JSON.stringify(decisions)); } catch { /* no storage */ }
    show();
  }

  function move(place) {
    const card = cards[Math.max(0, Math.min(cards.length - 1, place))];
    if (card) card.focus();
  }

  function decided() {
    const found = [];
    data.answers.forEach((answer, place) => {
      if (words[decisions[place]]) found.push({ ...answer, decision: decisions[place] });
    });
    return JSON.stringify({ format: "risctl-decisions", version: 1, plan: data.plan, decisions: found }, null, 1);
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([decided()], { type: "application/json" }));
    link.download = data.file;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  cards.forEach((card, place) => card.querySelectorAll("button").forEach((one) =>
    one.addEventListener("click", () => decide(place, decisions[place] === one.dataset.decision ? "" : one.dataset.decision))));
  document.getElementById("save").addEventListener("click", save);

  function below(place, step) {
    const from = cards[place].getBoundingClientRect();
    for (let next = place + step; cards[next]; next += step) {
      const to = cards[next].getBoundingClientRect();
      if (Math.abs(to.left - from.left) < 2) return next;
    }
    return place;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = cards.indexOf(document.activeElement && document.activeElement.closest("article"));
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (pressed === "s") { save(); event.preventDefault(); return; }
    if (at < 0) {
      if (["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "j"].includes(event.key)) { move(0); event.preventDefault(); }
      return;
    }
    const step = { ArrowRight: at + 1, j: at + 1, ArrowLeft: at - 1, k: at - 1 }[pressed];
    if (step !== undefined) move(step);
    else if (pressed === "ArrowDown") move(below(at, 1));
    else if (pressed === "ArrowUp") move(below(at, -1));
    else if (pressed === "a") { decide(at, "accepted"); move(at + 1); }
    else if (pressed === "r") { decide(at, "refused"); move(at + 1); }
    else if (pressed === "u") decide(at, "");
    else return;
    event.preventDefault();
  });
  show();
})();
