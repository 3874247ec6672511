"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!head || !event.target.closest("button")) return;
    const numeric = head.classList.contains("number");
    const before = head.getAttribute("aria-sort");
    // Numbers start with the highest, words with the first.
    const descending = before ? before === "ascending" : numeric;
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => {
      const text = row.cells[head.cellIndex].dataset.value;
      return numeric ? Number(text) : text;
    };
    const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b);
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => (descending ? -1 : 1) * compare(value(a), value(b)));
    table.tBodies[0].append(...rows);
  });
}
