// The confusion matrix: a cell under the pointer is read out, a cell that is pressed shows its photos.
"use strict";
(() => {
  const AT_ONCE = 48;
  const data = JSON.parse(document.getElementById("data").textContent);
  const matrix = document.querySelector(".matrix");
  const readout = document.getElementById("readout");
  const dialog = document.getElementById("photos");
  const list = document.getElementById("photos-list");
  const more = document.getElementById("more");
  const cells = new Map();
  for (const row of data.rows) {
    const key = `${row[1]} ${row[2]}`;
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(row);
  }
  let shown = [];

  const add = (parent, tag, text, className) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (className) element.className = className;
    parent.append(element);
    return element;
  };

  const card = ([name, truth, predicted, score, picture]) => {
    const figure = add(add(list, "li"), "figure");
    if (picture >= 0) {
      const image = add(figure, "img");
      image.src = data.pictures[picture];
      image.alt =
        truth === predicted
          ? `Photo of ${data.labels[truth]}`
          : `Photo of ${data.labels[truth]}, taken for ${data.labels[predicted]}`;
    } else {
      add(figure, "p", "no picture", "missing");
    }
    const caption = add(figure, "figcaption");
    add(caption, "p", `score ${score.toFixed(3)}`);
    add(caption, "p", name, "file");
  };

  const showMore = () => {
    const start = list.children.length;
    shown.slice(start, start + AT_ONCE).forEach(card);
    more.hidden = list.children.length >= shown.length;
  };

  const show = (button) => {
    const { row, column, count, support } = button.dataset;
    shown = cells.get(`${row} ${column}`) || [];
    const what = row === column ? "named rightly" : `taken for ${data.labels[column]}`;
    document.getElementById("photos-title").textContent = `${data.labels[row]} ${what}`;
    const listed = shown.length < Number(count) ? `; ${shown.length} can be looked at here` : "";
    document.getElementById("photos-note").textContent = `${count} of ${support} photos${listed}`;
    list.replaceChildren();
    showMore();
    dialog.showModal();
    dialog.scrollTop = 0;
  };

  matrix.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(button);
  });
  const read = (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const share = (100 * button.dataset.count) / button.dataset.support;
    readout.textContent = `${button.getAttribute("aria-label")} (${share.toFixed(1)} %)`;
  };
  matrix.addEventListener("pointerover", read);
  matrix.addEventListener("focusin", read);
  more.addEventListener("click", () => {
    const start = list.children.length;
    showMore();
    if (more.hidden && list.children[start]) {
      list.children[start].tabIndex = -1;
      list.children[start].focus();
    }
  });
  document.getElementById("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
})();
