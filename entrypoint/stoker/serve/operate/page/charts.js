// Charts over time, drawn by uPlot in the page's colours.

import { element, make } from "./dom.js";
import { uPlot } from "./libraries.js";

const HEIGHT = 160;
const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4"];

/**
 * @typedef {{id: string, labels: string[], unit: (value: number) => string, most?: number}} Chart
 * @typedef {(number | null)[][]} Columns seconds since 1970, then a column for each label
 */

/** @type {Map<string, any>} */
const drawn = new Map();
/** @type {any} */
let library = null;
/** Seconds since 1970: the same time for all charts. @type {[number, number]} */
let shown = [0, 1];

/** @param {number} from @param {number} to seconds since 1970 */
export const showTime = (from, to) => (shown = [from, to]);

/** @param {number} at seconds since 1970 */
const clock = (at) => new Date(1000 * at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", clearCharts);
addEventListener("resize", () => {
  for (const [id, plot] of drawn) plot.setSize({ width: widthOf(id), height: HEIGHT });
});

export async function loadCharts() {
  library ??= await uPlot();
}

/** Draws a chart, or gives the one that is there new data. @param {Chart} chart @param {Columns} columns */
export function drawChart(chart, columns) {
  const known = drawn.get(chart.id);
  // A window that changed while the chart was hidden is noticed here.
  if (known && known.width !== widthOf(chart.id)) known.setSize({ width: widthOf(chart.id), height: HEIGHT });
  if (known && known.series.length === columns.length) known.setData(columns);
  else create(chart, columns);
  describe(chart, columns);
}

function clearCharts() {
  for (const plot of drawn.values()) plot.destroy();
  drawn.clear();
}

/** @param {string} id */
const widthOf = (id) => Math.max(200, element(id).clientWidth);

/** The labels of an axis. @param {(value: number) => string} unit */
const written = (unit) => (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map(unit);

/** @param {Chart} chart @param {Columns} columns */
function create(chart, columns) {
  drawn.get(chart.id)?.destroy();
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  const fromZero = (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ high) => [0, chart.most ?? (high > 0 ? high * 1.1 : 1)];
  const options = {
    width: widthOf(chart.id),
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: true, range: () => shown }, y: { range: fromZero } },
    axes: [{ ...axis, space: 80, size: 28, values: written(clock) }, { ...axis, size: 62, values: written(chart.unit) }],
    series: [
      {},
      ...chart.labels.map((label, index) => ({ label, stroke: colour(COLOURS[index % COLOURS.length]), width: 2, dash: index > 1 ? [4, 4] : [], spanGaps: false })),
    ],
  };
  drawn.set(chart.id, new library(options, columns, element(chart.id)));
}

/** The newest values as text: a legend, and what those hear who do not see the chart. @param {Chart} chart @param {Columns} columns */
function describe(chart, columns) {
  const items = chart.labels.map((label, index) => {
    const value = columns[index + 1].at(-1);
    const text = value === null || value === undefined ? "–" : chart.unit(value);
    return make("span", { class: "legend" }, make("span", { class: `swatch series-${(index % COLOURS.length) + 1}` }), `${label} ${text}`);
  });
  element(`${chart.id}-legend`).replaceChildren(...items);
}
