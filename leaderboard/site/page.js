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
        if (index === 0) return cell.textContent.trim().toLowerCase();
        const text = cell.dataset.sort ?? cell.textContent.replace(/[^0-9.]/g, "");
        return text === "" || cell.classList.contains("blank") ? null : Number(text);
      };
      for (const body of table.tBodies) {
        const rows = [...body.rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => (a === null) - (b === null) || sign * (a < b ? -1 : a > b ? 1 : 0));
        body.append(...rows.map(([, row]) => row));
      }
    });
  });
}
// Filter: keeps the rows whose name holds the text.
const input = document.getElementById("filter");
const found = document.getElementById("found");
input.closest("p").hidden = false;
input.addEventListener("input", () => {
  const text = input.value.trim().toLowerCase();
  let shown = 0;
  const rows = document.querySelectorAll("tr[data-row]");
  for (const row of rows) {
    row.hidden = text !== "" && !row.textContent.toLowerCase().includes(text);
    shown += !row.hidden;
  }
  found.textContent = text === "" ? "" : `${shown} of ${rows.length} rows`;
});
// A link to a closed fold opens it.
const reveal = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
