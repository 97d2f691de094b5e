"use strict";
// Sorting: a header becomes a button; each body (models, anchors) is sorted on its own, and blanks stay last.
for (const table of document.querySelectorAll("table.results")) {
  table.querySelectorAll("thead th").forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const better = head.title === "lower is better" ? "ascending" : "descending";
      const other = better === "ascending" ? "descending" : "ascending";
      const first = index === 0 ? "ascending" : better;
      const order = head.getAttribute("aria-sort") === first ? (first === better ? other : "descending") : first;
      table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => {
        const cell = row.cells[index];
        if (index === 0) return row.dataset.row.toLowerCase();
        return cell.dataset.sort ? Number(cell.dataset.sort) : null;
      };
      for (const body of table.tBodies) {
        const rows = [...body.rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => (a === null) - (b === null) || sign * (a < b ? -1 : a > b ? 1 : 0));
        body.append(...rows.map(([, row]) => row));
      }
    });
  });
}
// Filter: keeps the rows whose text holds every word; tables left without a row say so.
const input = document.getElementById("filter");
const kind = document.getElementById("kind");
const found = document.getElementById("found");
const rows = [...document.querySelectorAll("tr[data-row]")].map((row) => ({
  row, table: row.closest("table"), kind: row.parentElement.className,
  text: `${row.dataset.row} ${row.parentElement.className}`.toLowerCase(),
}));
const tables = new Set(rows.map((entry) => entry.table));
input.closest("p").hidden = false;
let waiting = 0;
const filter = () => {
  waiting = 0;
  const words = input.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const shown = [];
  for (const entry of rows) {
    const hidden = !words.every((word) => entry.text.includes(word)) || (kind.value !== "" && !entry.kind.includes(kind.value));
    if (entry.row.hidden !== hidden) entry.row.hidden = hidden;
    if (!hidden) shown.push(entry.table);
  }
  const left = new Set(shown);
  for (const table of tables) {
    if (left.has(table)) table.deleteCaption();
    else table.createCaption().textContent = "No row of this table matches.";
  }
  found.textContent = words.length || kind.value ? `${shown.length} of ${rows.length} rows` : "";
};
const soon = () => { waiting ||= requestAnimationFrame(filter); };
input.addEventListener("input", soon);
kind.addEventListener("change", soon);
// Samples: each gallery gets a choice of order; a value opens its gallery in the order of its own score, worst first.
const orders = new Map();
for (const gallery of document.querySelectorAll(".gallery")) {
  const cards = [...gallery.querySelectorAll(".card")];
  const scores = cards.map((card) => JSON.parse(card.dataset.scores));
  const names = [...new Set(scores.flatMap(Object.keys))];
  if (cards.length < 2 || !names.length) continue;
  const better = JSON.parse(gallery.dataset.better); // by score: is much of it good? null: neither much nor little
  const ends = (name) => (better[name] === null ? ["lowest", "highest"] : ["worst", "best"]);
  const label = document.createElement("label");
  const select = document.createElement("select");
  const add = (value, text) => select.add(new Option(text, value));
  add("", "as chosen");
  for (const name of names) for (const end of ends(name)) add(`${end} ${name}`, `${end} by ${name} first`);
  label.className = "order";
  label.append("Order ", select);
  gallery.querySelector(".cards").before(label);
  const arrange = () => {
    const [end] = select.value.split(" ", 1);
    const name = select.value.slice(end.length + 1);
    const sign = (end === "worst" || end === "lowest" ? 1 : -1) * (better[name] === false ? -1 : 1);
    const order = cards.map((card, i) => [scores[i][name], card]);
    if (name) order.sort(([a], [b]) => (a === undefined) - (b === undefined) || sign * (a - b));
    gallery.querySelector(".cards").append(...order.map(([, card]) => card));
  };
  select.addEventListener("change", arrange);
  orders.set(gallery.id, (name) => { select.value = `${ends(name)[0]} ${name}`; if (select.selectedIndex < 0) select.value = ""; arrange(); });
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-score]");
  if (link) orders.get(link.hash.slice(1))?.(link.dataset.score);
});
// A link to something in a closed fold opens it, and the keyboard goes on from there.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  if (!target) return;
  target.scrollIntoView();
  const place = target.tagName === "DETAILS" ? target.querySelector("summary") : target;
  if (place === target) target.tabIndex = -1;
  place.focus({ preventScroll: true });
};
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (link && link.hash === location.hash) reveal(); // the same link again
});
addEventListener("hashchange", reveal);
reveal();
