// What the server does on its way to ready, and why it failed if it did.

import { element, make } from "./dom.js";

/** @param {any} report of /v1/health/startup */
export function showStartup(report) {
  const rows = report.phases.map((/** @type {any} */ phase) => phaseRow(phase, phase.name === report.phase));
  element("phases").replaceChildren(...rows);
  const progress = /** @type {HTMLProgressElement} */ (element("progress"));
  progress.hidden = report.phase === "failed";
  if (report.percent === null) progress.removeAttribute("value");
  else progress.value = report.percent;
  element("detail").textContent = detailOf(report);
  showFailure(report.error);
}

/** @param {{name: string, seconds: number}} phase @param {boolean} open */
function phaseRow(phase, open) {
  const row = make("li", {}, make("span", {}, phase.name), make("span", {}, `${phase.seconds.toFixed(1)} s`));
  if (open) row.setAttribute("aria-current", "step");
  return row;
}

/** @param {any} report */
function detailOf(report) {
  const parts = [report.detail];
  if (report.percent !== null) parts.push(`${report.percent.toFixed(0)}%`);
  if (report.eta_seconds !== null) parts.push(`about ${Math.ceil(report.eta_seconds)} s left`);
  return parts.filter(Boolean).join(" · ");
}

/** @param {any} error */
function showFailure(error) {
  const box = element("failure");
  if (!error || !box.hidden) return;
  box.hidden = false;
  const lines = [error.what, error.why, error.remedy && `What to do: ${error.remedy}`];
  box.replaceChildren(...lines.filter(Boolean).map((line) => make("p", {}, line)));
}
