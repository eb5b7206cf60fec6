"use strict";

// Colours that are distinguishable without colour vision, on white and on black.
const COLOURS = {
  light: ["#1a5fb4", "#c64600", "#2a7e43", "#813d9c", "#9a6700", "#0b7285", "#a51d2d", "#5e5c64", "#3d7bd9", "#d6409f", "#4d7c0f"],
  dark: ["#7fb2f5", "#ffa348", "#6fd08c", "#d09af0", "#f2d04b", "#5cd0e6", "#ff8a80", "#c0bfbc", "#a5c8ff", "#ff9ad5", "#b5d96b"],
};
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--rule"), zerolinecolor: colour("--rule"), linecolor: colour("--rule") };
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 12 },
    hoverlabel: { font: { family: "system-ui, sans-serif" } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--faint"), activecolor: colour("--accent") },
    colorway: dark.matches ? COLOURS.dark : COLOURS.light,
    xaxis: { ...layout.xaxis, ...axis },
    yaxis: { ...layout.yaxis, ...axis },
  };
}

function drawAll() {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const scale = dark.matches ? [[0, "#1e2125"], [1, "#7fb2f5"]] : [[0, "#ffffff"], [1, "#1a5fb4"]];
  for (const [name, chart] of Object.entries(charts)) {
    const data = chart.data.map((trace) => (trace.type === "heatmap" ? { ...trace, colorscale: scale } : trace));
    Plotly.react(name, data, themed(chart.layout), { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d"] });
  }
}

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const rising = header.getAttribute("aria-sort") === "descending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const body = table.tBodies[0];
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const isNumber = header.dataset.kind === "number";
  const compare = (a, b) => {
    if (!isNumber) return value(a).localeCompare(value(b), undefined, { numeric: true });
    // Undefined values come last in either order.
    const [first, second] = [value(a), value(b)];
    if (first === "" || second === "") return (first === "") - (second === "") || 0;
    return Number(first) - Number(second);
  };
  const rows = [...body.rows].sort((a, b) => {
    const undefinedLast = isNumber && (value(a) === "" || value(b) === "");
    return compare(a, b) * (rising || undefinedLast ? 1 : -1);
  });
  body.append(...rows);
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}
// A finger does not hover: the tool bar of the chart that was touched last is shown.
document.addEventListener("pointerdown", (event) => {
  for (const figure of document.querySelectorAll("figure")) {
    figure.classList.toggle("touched", event.pointerType === "touch" && figure.contains(event.target));
  }
}, true);
drawAll();
dark.addEventListener("change", drawAll);
