// What the server does now and did in the last minutes: throughput, requests, latency, KV cache, replicas, adapters.

import { showAdapters } from "./adapters.js";
import { drawChart, loadCharts, showTime } from "./charts.js";
import { element, field, tableRow } from "./dom.js";
import { NAMES, between, histogram, quantile } from "./latency.js";
import { ServerError, ask } from "./server.js";

const KEPT_SECONDS = 900;
const SHORTEST_SECONDS = 60; // that a chart shows
const WINDOW_SECONDS = 60; // of the percentiles
const METRICS_EVERY = 2; // samples

/**
 * @typedef {import("./latency.js").Histogram} Histogram
 * @typedef {{at: number, status: any, rate: number, first: Histogram | null, next: Histogram | null,
 *   latency: (number | null)[]}} Sample
 */

/** @type {Sample[]} */
const samples = [];
let count = 0;
let metricsApart = false;

const seconds = (/** @type {number} */ value) => (value >= 1 ? `${value.toFixed(1)} s` : `${(1000 * value).toFixed(value < 0.01 ? 1 : 0)} ms`);
const whole = (/** @type {number} */ value) => (value >= 10 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1));
const percent = (/** @type {number} */ value) => `${value.toFixed(0)}%`;

/** Takes a sample; draws it where the view is shown. @param {any} status of /v1/status @param {boolean} shown */
export async function observe(status, shown) {
  const sample = sampleOf(status);
  if (count++ % METRICS_EVERY === 0) await addLatency(sample);
  samples.push(sample);
  while (samples[0].at < sample.at - KEPT_SECONDS) samples.shift();
  showTiles(sample);
  showReplicas(status.replicas ?? []);
  showAdapters(status.adapters ?? []);
  if (shown) await draw();
}

/** @param {any} status @returns {Sample} */
function sampleOf(status) {
  const last = samples.at(-1);
  const passed = last ? status.uptime_seconds - last.status.uptime_seconds : 0;
  const tokens = last ? status.tokens_generated - last.status.tokens_generated : 0;
  const rate = passed > 0 ? Math.max(0, tokens / passed) : 0;
  return { at: Date.now() / 1000, status, rate, first: null, next: null, latency: last?.latency ?? [null, null, null, null] };
}

/** @param {Sample} sample */
async function addLatency(sample) {
  if (metricsApart) return;
  try {
    const text = await (await ask("metrics")).text();
    sample.first = histogram(text, NAMES.first);
    sample.next = histogram(text, NAMES.next);
  } catch (failure) {
    // With --management-port the metrics are elsewhere. Anything else is for the next sample to find out.
    metricsApart = failure instanceof ServerError && failure.status === 404;
    element("latency-note").hidden = !metricsApart;
    return;
  }
  const before = samples.find((one) => one.first && one.at >= sample.at - WINDOW_SECONDS);
  if (!before?.first || !before.next || !sample.next) return;
  const [first, next] = [between(sample.first, before.first), between(sample.next, before.next)];
  sample.latency = [quantile(first, 0.5), quantile(first, 0.95), quantile(next, 0.5), quantile(next, 0.95)];
}

/** @param {any} status */
const kvShare = (status) => (status.kv_blocks ? (100 * status.kv_blocks_used) / status.kv_blocks : 0);

/** @param {Sample} sample */
function showTiles({ status, rate }) {
  element("rate").textContent = rate.toFixed(rate < 10 ? 1 : 0);
  element("running").textContent = status.sequences_running;
  element("waiting").textContent = status.sequences_waiting;
  element("kv").textContent = percent(kvShare(status));
  /** @type {HTMLMeterElement} */ (element("kv-meter")).value = kvShare(status) / 100;
  const accepted = status.accepted_tokens_per_step ?? 0;
  element("accepted-part").hidden = accepted === 0;
  element("accepted").textContent = accepted.toFixed(2);
}

/** One line for each replica, where there are several. @param {any[]} replicas */
function showReplicas(replicas) {
  element("replicas-part").hidden = replicas.length < 2;
  const lines = replicas.map((one) => {
    const place = one.devices.length ? `GPU ${one.devices.join(", ")}` : `CPU ${one.cpus.join(", ")}`;
    const used = one.kv_blocks ? percent(kvShare(one)) : "";
    return tableRow([one.replica, one.state, place, one.sequences, one.tokens_waiting, used, one.restarts]);
  });
  element("replicas").replaceChildren(...lines);
}

/** Draws the charts of the chosen time. */
export async function draw() {
  if (samples.length === 0) return;
  await loadCharts();
  const now = Date.now() / 1000;
  const from = Math.min(now - SHORTEST_SECONDS, Math.max(now - Number(field("window").value), samples[0].at));
  showTime(from, now);
  const shown = samples.filter((one) => one.at >= from);
  const column = (/** @type {(one: Sample) => number | null} */ value) => shown.map(value);
  const times = column((one) => one.at);
  drawChart({ id: "chart-rate", labels: ["tokens/s"], unit: whole }, [times, column((one) => one.rate)]);
  drawChart({ id: "chart-requests", labels: ["running", "waiting"], unit: whole },
    [times, column((one) => one.status.sequences_running), column((one) => one.status.sequences_waiting)]);
  element("latency-part").hidden = metricsApart;
  if (!metricsApart) {
    drawChart({ id: "chart-first", labels: ["p50", "p95"], unit: seconds }, [times, column((one) => one.latency[0]), column((one) => one.latency[1])]);
    drawChart({ id: "chart-next", labels: ["p50", "p95"], unit: seconds }, [times, column((one) => one.latency[2]), column((one) => one.latency[3])]);
  }
  drawKv(shown, times);
}

/** In all, or of each replica where there are several. @param {Sample[]} shown @param {(number | null)[]} times */
function drawKv(shown, times) {
  const replicas = shown.at(-1)?.status.replicas ?? [];
  const chart = { id: "chart-kv", unit: percent, most: 100 };
  if (replicas.length < 2) return drawChart({ ...chart, labels: ["in use"] }, [times, shown.map((one) => kvShare(one.status))]);
  const labels = replicas.map((/** @type {any} */ one) => `replica ${one.replica}`);
  const columns = labels.map((/** @type {string} */ _, /** @type {number} */ index) => shown.map((one) => {
    const replica = one.status.replicas?.[index];
    return replica ? kvShare(replica) : null;
  }));
  drawChart({ ...chart, labels }, [times, ...columns]);
}
