"use strict";
// Sorts a table by a column (click or Enter) and filters the table of clips. Nothing else.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const sort = (head) => {
    const at = heads.indexOf(head);
    const down = head.getAttribute("aria-sort") !== "descending";
    const value = (row) => {
      const cell = row.cells[at];
      if (!cell) return "";
      return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v);
    };
    const rows = [...body.rows].map((row) => [value(row), row]);
    const numbers = rows.some(([v]) => typeof v === "number");
    rows.sort(([a], [b]) => {
      if (numbers && typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // no value: last
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return down ? -order : order;
    });
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows.map(([, row]) => row));
  };
  for (const head of heads) {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head));
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter") sort(head);
    });
  }
}
const find = document.querySelector(".find");
if (find) {
  find.hidden = false;
  const rows = [...document.querySelectorAll(".clips tbody tr")];
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
