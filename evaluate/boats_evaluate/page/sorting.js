// Tables whose headings sort them: numbers largest first, names in their order.
"use strict";
(() => {
  const names = new Intl.Collator(undefined, { numeric: true });

  const valueOf = (row, place) => {
    const cell = row.cells[place];
    return cell.tagName === "TH" ? cell.dataset.value : Number(cell.dataset.value);
  };

  const sort = (table, place) => {
    const headings = [...table.tHead.rows[0].cells];
    const now = headings[place].getAttribute("aria-sort");
    const isNumber = headings[place].classList.contains("number");
    const first = isNumber ? "descending" : "ascending";
    const second = isNumber ? "ascending" : "descending";
    const order = now === first ? second : first;
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, place), row]);
    rows.sort(([a], [b]) => sign * (isNumber ? a - b : names.compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
    headings.forEach((heading) => heading.removeAttribute("aria-sort"));
    headings[place].setAttribute("aria-sort", order);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, place) => {
      heading.querySelector("button").addEventListener("click", () => sort(table, place));
    });
  }
})();
