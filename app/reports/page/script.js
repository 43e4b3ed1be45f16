"use strict";
// Values under the pointer, read back from the curves; and the choice of what is shown. Without it the page shows everything.
for (const plot of document.querySelectorAll(".plot[data-x]")) {
  const [first, last] = plot.dataset.x.split(" ").map(Number);
  const [low, high, form, kind] = plot.dataset.y.split(" ");
  const curves = [...plot.querySelectorAll(".line")].reverse().map((line) => ({
    name: line.dataset.name,
    points: line.getAttribute("d").slice(1).split("L").map((point) => point.split(" ").map(Number)),
  }));
  const rule = document.createElement("i"), box = document.createElement("output");
  plot.append(rule, box);
  const value = (y) => {
    const at = 1 - y / 1000;
    const number = kind === "log" ? low * (high / low) ** at : Number(low) + (high - low) * at;
    return form === "percent" ? (number * 100).toFixed(1) + " %" : number.toLocaleString("en", { maximumSignificantDigits: 4 });
  };
  const nearest = (points, x) => {
    let begin = 0, end = points.length - 1;
    while (end - begin > 1) {
      const middle = (begin + end) >> 1;
      if (points[middle][0] <= x) begin = middle; else end = middle;
    }
    return x - points[begin][0] < points[end][0] - x ? points[begin] : points[end];
  };
  plot.addEventListener("pointermove", (event) => {
    const frame = plot.getBoundingClientRect();
    const x = Math.min(1000, Math.max(0, ((event.clientX - frame.left) / frame.width) * 1000));
    const found = curves.map((curve) => [curve.name, nearest(curve.points, x)]);
    const at = found[0][1][0];
    const time = new Date((first + ((last - first) * at) / 1000) * 1000).toISOString();
    box.textContent = [time.slice(0, last - first < 1e6 ? 16 : 10).replace("T", " ")]
      .concat(found.map(([name, point]) => name + " " + value(point[1]))).join("\n");
    rule.style.left = at / 10 + "%";
    box.style.left = at > 600 ? "auto" : at / 10 + "%";
    box.style.right = at > 600 ? 100 - at / 10 + "%" : "auto";
    plot.classList.add("read");
  });
  plot.addEventListener("pointerleave", () => plot.classList.remove("read"));
}
for (const choice of document.querySelectorAll("select.choice")) {
  const parts = choice.closest("section").querySelectorAll("[data-part]");
  const show = () => {
    for (const part of parts) part.hidden = part.dataset.part !== choice.value;
  };
  choice.hidden = false;
  choice.addEventListener("change", show);
  show();
}
