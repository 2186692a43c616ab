// The slider of the threshold: what is answered, and how rightly, at each hundredth.
"use strict";
(() => {
  const { curve, photos } = JSON.parse(document.getElementById("data").textContent);
  const slider = document.getElementById("slider");
  const marker = document.getElementById("marker");
  const percent = (part, whole) =>
    whole ? `${((100 * part) / whole).toFixed(1)}\u00a0%` : "–";
  const tell = (name, text) => {
    document.getElementById(name).textContent = text;
  };

  slider.addEventListener("input", () => {
    const place = Number(slider.value);
    const threshold = place / (curve.length - 1);
    const [answered, right] = curve[place];
    tell("at", threshold.toFixed(2));
    tell("answered", percent(answered, photos));
    tell("accuracy", percent(right, answered));
    const unknown = (photos - answered).toLocaleString("en");
    tell("unknown", `${unknown} of ${photos.toLocaleString("en")}`);
    tell("wrong", (answered - right).toLocaleString("en"));
    slider.setAttribute(
      "aria-valuetext",
      `${threshold.toFixed(2)}: ${percent(answered, photos)} answered, ` +
        `${percent(right, answered)} of those right`,
    );
    marker.setAttribute("x1", 44 + 300 * threshold);
    marker.setAttribute("x2", 44 + 300 * threshold);
  });
})();
