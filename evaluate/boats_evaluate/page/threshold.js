// Threshold slider: coverage and selective accuracy at each step.
"use strict";
(() => {
  const { curve, total } = JSON.parse(document.getElementById("data").textContent);
  const slider = document.getElementById("slider");
  const marker = document.getElementById("marker");
  const formatPercent = (part, whole) =>
    whole ? `${((100 * part) / whole).toFixed(1)}%` : "–";
  const setText = (id, text) => {
    document.getElementById(id).textContent = text;
  };

  slider.addEventListener("input", () => {
    const step = Number(slider.value);
    const threshold = step / (curve.length - 1);
    const [covered, correct] = curve[step];
    setText("threshold-value", threshold.toFixed(2));
    setText("coverage", formatPercent(covered, total));
    setText("selective-accuracy", formatPercent(correct, covered));
    const unknown = (total - covered).toLocaleString("en");
    setText("unknown", `${unknown} of ${total.toLocaleString("en")}`);
    setText("incorrect", (covered - correct).toLocaleString("en"));
    slider.setAttribute(
      "aria-valuetext",
      `${threshold.toFixed(2)}: coverage ${formatPercent(covered, total)}, ` +
        `selective accuracy ${formatPercent(correct, covered)}`,
    );
    marker.setAttribute("x1", 44 + 300 * threshold);
    marker.setAttribute("x2", 44 + 300 * threshold);
  });
})();
