// Sortable tables: numbers start in descending order, names in ascending order.
"use strict";
(() => {
  const collator = new Intl.Collator(undefined, { numeric: true });

  const getValue = (row, column) => {
    const cell = row.cells[column];
    return cell.tagName === "TH" ? cell.dataset.value : Number(cell.dataset.value);
  };

  const sortTable = (table, column) => {
    const headings = [...table.tHead.rows[0].cells];
    const currentOrder = headings[column].getAttribute("aria-sort");
    const isNumber = headings[column].classList.contains("number");
    const firstOrder = isNumber ? "descending" : "ascending";
    const secondOrder = isNumber ? "ascending" : "descending";
    const order = currentOrder === firstOrder ? secondOrder : firstOrder;
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [getValue(row, column), row]);
    rows.sort(([a], [b]) => sign * (isNumber ? a - b : collator.compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
    headings.forEach((heading) => heading.removeAttribute("aria-sort"));
    headings[column].setAttribute("aria-sort", order);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      heading.querySelector("button").addEventListener("click", () => sortTable(table, column));
    });
  }
})();
