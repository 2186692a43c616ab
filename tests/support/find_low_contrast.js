// Return the elements whose text has a contrast below 4.5 to 1 (WCAG 2.2, success criterion 1.4.3).
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

const blend = (color, background) => {
  canvas.fillStyle = `rgb(${background.join(" ")})`;
  canvas.fillRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};

const backgroundOf = (element) =>
  element
    ? blend(getComputedStyle(element).backgroundColor, backgroundOf(element.parentElement))
    : [255, 255, 255];

// https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
const luminance = (color) =>
  color
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);

const failures = [];
for (const element of document.querySelectorAll("body *")) {
  const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!hasText || !element.checkVisibility() || element.closest("svg, script")) continue;
  const background = backgroundOf(element);
  const color = blend(getComputedStyle(element).color, background);
  const [low, high] = [luminance(background), luminance(color)].sort((a, b) => a - b);
  const ratio = (high + 0.05) / (low + 0.05);
  if (ratio < 4.5) failures.push(`${element.outerHTML.slice(0, 90)} ${ratio.toFixed(2)}`);
}
return failures;
