// Filters and sorts a comparison's tables. What comes from data is read as text only.
"use strict";
(() => {
  // On a narrow screen each cell stands with the title of its column.
  for (const table of document.querySelectorAll(".wide > table")) {
    const titles = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    for (const row of table.tBodies[0].rows) {
      [...row.cells].forEach((cell, place) => { if (titles[place]) cell.dataset.label = titles[place]; });
    }
  }
  for (const box of document.querySelectorAll("input[type=search]")) {
    const rows = [...document.getElementById(box.dataset.table).tBodies[0].rows];
    const counter = document.getElementById(`${box.id}-count`);
    const filter = () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      counter.textContent = `${shown} of ${rows.length}`;
    };
    box.addEventListener("input", filter);
    filter();
  }
  for (const box of document.querySelectorAll("input[type=checkbox]")) {
    const rows = [...document.getElementById(box.dataset.table).tBodies[0].rows];
    const choose = () => rows.forEach((row) => { row.hidden = box.checked && row.dataset.changed !== "yes"; });
    box.addEventListener("change", choose);
    choose();
  }
  for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((cell, place) => {
      if (!cell.textContent) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = cell.textContent;
      cell.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent;
        const compare = (a, b) => a.localeCompare(b, "en", { numeric: true });
        const number = (text) => text !== "" && Number.isFinite(Number(text));
        table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => {
          const x = key(a), y = key(b);
          const order = number(x) && number(y) ? Number(x) - Number(y) : compare(x, y);
          return down ? -order : order;
        }));
      });
    });
  }
})();
