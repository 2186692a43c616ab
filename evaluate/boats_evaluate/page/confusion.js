// Confusion matrix: pointing at a cell shows its share, selecting it shows its images.
"use strict";
(() => {
  const PAGE_SIZE = 48;
  const data = JSON.parse(document.getElementById("data").textContent);
  const matrix = document.querySelector(".matrix");
  const readout = document.getElementById("readout");
  const dialog = document.getElementById("images");
  const list = document.getElementById("images-list");
  const moreButton = document.getElementById("show-more");
  const rowsByCell = new Map();
  for (const row of data.rows) {
    const key = `${row[1]} ${row[2]}`;
    if (!rowsByCell.has(key)) rowsByCell.set(key, []);
    rowsByCell.get(key).push(row);
  }
  let currentRows = [];

  const append = (parent, tag, text, className) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (className) element.className = className;
    parent.append(element);
    return element;
  };

  const describe = (truth, predicted) => {
    const outcome = truth === predicted ? "correctly" : `as ${data.labels[predicted]}`;
    return `${data.labels[truth]} predicted ${outcome}`;
  };

  const appendCard = ([name, truth, predicted, score, thumbnail]) => {
    const figure = append(append(list, "li"), "figure");
    if (thumbnail >= 0) {
      const image = append(figure, "img");
      image.src = data.thumbnails[thumbnail];
      image.alt = `Image of ${describe(truth, predicted)}`;
    } else {
      append(figure, "p", "no image", "no-image");
    }
    const caption = append(figure, "figcaption");
    append(caption, "p", `score ${score.toFixed(3)}`);
    append(caption, "p", name, "detail");
  };

  const showMore = () => {
    const start = list.children.length;
    currentRows.slice(start, start + PAGE_SIZE).forEach(appendCard);
    moreButton.hidden = list.children.length >= currentRows.length;
  };

  const showCell = (button) => {
    const { row, column, count, support } = button.dataset;
    currentRows = rowsByCell.get(`${row} ${column}`) || [];
    document.getElementById("images-title").textContent = describe(row, column);
    const viewable = currentRows.length < Number(count) ? `; ${currentRows.length} can be viewed here` : "";
    document.getElementById("images-note").textContent = `${count} of ${support} images${viewable}`;
    list.replaceChildren();
    showMore();
    dialog.showModal();
    dialog.scrollTop = 0;
  };

  matrix.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) showCell(button);
  });
  const updateReadout = (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const percentage = (100 * button.dataset.count) / button.dataset.support;
    readout.textContent = `${button.getAttribute("aria-label")} (${percentage.toFixed(1)}%)`;
  };
  matrix.addEventListener("pointerover", updateReadout);
  matrix.addEventListener("focusin", updateReadout);
  moreButton.addEventListener("click", () => {
    const start = list.children.length;
    showMore();
    if (moreButton.hidden && list.children[start]) {
      list.children[start].tabIndex = -1;
      list.children[start].focus();
    }
  });
  document.getElementById("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
})();
