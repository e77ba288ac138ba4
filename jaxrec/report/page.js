"use strict";
// Headings become buttons, which click and Enter press alike; without this file tables are plain.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const headings = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const key = (row, column) => row.cells[column].dataset.by || row.cells[column].textContent;
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") !== "descending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = (a, b) => key(a, column).localeCompare(key(b, column), "en", { numeric: true });
      const figures = (a, b) => Number(key(a, column)) - Number(key(b, column));
      const rows = [...body.rows], there = (row) => key(row, column).trim() !== "";
      const compare = rows.filter(there).every((row) => !isNaN(key(row, column))) ? figures : order;
      // what has no figure stays below, whichever way
      const known = rows.filter(there).sort((a, b) => (down ? compare(b, a) : compare(a, b)));
      body.append(...known, ...rows.filter((row) => !there(row)));
    });
  });
}
