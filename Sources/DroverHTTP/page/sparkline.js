// Events a minute as a small picture, and in words for whoever does not see it.

import { count } from "./text.js";

const namespace = "http://www.w3.org/2000/svg";

/** An empty picture; `draw` fills it. */
export function sparkline(width = 120, height = 24) {
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("class", "sparkline");
  svg.setAttribute("role", "img");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-label", words([]));
  svg.append(document.createElementNS(namespace, "path"));
  return svg;
}

/** @param {number[]} counts one a minute, the oldest first; the last one goes on. */
export function draw(svg, counts) {
  const shown = counts.join();
  if (svg.dataset.shown === shown) return;
  svg.dataset.shown = shown;
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const most = Math.max(...counts, 1);
  const step = width / Math.max(1, counts.length);
  const bars = counts.map((value, index) => {
    if (value === 0) return "";
    const top = Math.max(1, (value / most) * (height - 2));
    return `M${(index * step).toFixed(1)} ${height}v${-top.toFixed(1)}h${(step * 0.8).toFixed(1)}v${top.toFixed(1)}z`;
  });
  svg.firstChild.setAttribute("d", bars.join("") || `M0 ${height - 0.5}h${width}v0.5h${-width}z`);
  svg.setAttribute("aria-label", words(counts));
}

export function words(counts) {
  const sum = counts.reduce((a, b) => a + b, 0);
  if (sum === 0) return "no events in the last hour";
  return `${count(sum)} events in the last hour, at most ${count(Math.max(...counts))} a minute`;
}

/** Events a second in the last full minute; null before there is one. */
export function lastRate(counts) {
  return counts.length > 1 ? counts.at(-2) / 60 : null;
}
