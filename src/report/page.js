// A click on the head of a column sorts its table: by the first number of each cell where all have one, else by its text.
"use strict";
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  if (!body || body.rows.length < 2) continue;
  heads.forEach((head, column) => {
    const sort = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const text = (row) => row.cells[column].textContent.trim();
      // A figure stands first in its cell, or after the name of its unit.
      const number = (row) => parseFloat(text(row).replace(/^[A-Za-z ]+ (?=[+-]?\d)/, ""));
      const rows = [...body.rows];
      const full = rows.filter((row) => text(row) !== "");
      const numeric = full.every((row) => !Number.isNaN(number(row)));
      const order = (a, b) => (numeric ? number(a) - number(b) : text(a).localeCompare(text(b)));
      full.sort((a, b) => (up ? order(a, b) : order(b, a)));
      // What was not measured stays at the end.
      body.append(...full, ...rows.filter((row) => text(row) === ""));
    };
    head.classList.add("sorts");
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
  });
}
