// Follows the server: its start-up while it is not ready, then its plan and what it is doing.

import { showDefaults, startChat } from "./chat.js";
import { element, get, make, setKey } from "./server.js";
import { showPlan } from "./plan.js";
import { showPurpose } from "./asking.js";

const POLL_MS = 1000;
const HISTORY = 120;
const rates = [];
let last = null;
const known = { plan: false, models: false };

async function poll() {
  try {
    const report = await get("v1/health/startup");
    showPhase(report.phase, report.ready && known.models ? "ready" : report.phase === "failed" ? "failed" : "starting");
    if (!report.ready) showStartup(report);
    if (!known.plan) await showPlanOnce();
    if (report.ready) await showReady();
  } catch (failure) {
    if (failure.status === 401) askForKey();
    else if (failure.status === 0) showPhase("unreachable", "gone");
    else if (failure.status === undefined) throw failure;
  } finally {
    setTimeout(poll, POLL_MS);
  }
}

function showPhase(text, state) {
  const phase = element("phase");
  if (phase.textContent !== text) phase.textContent = text;
  if (document.body.dataset.state !== state) document.body.dataset.state = state;
}

function showStartup(report) {
  const rows = report.phases.map((phase) => phaseRow(phase, phase.name === report.phase));
  element("phases").replaceChildren(...rows);
  const progress = element("progress");
  progress.hidden = report.phase === "failed";
  if (report.percent === null) progress.removeAttribute("value");
  else progress.value = report.percent;
  element("detail").textContent = detailOf(report);
  showFailure(report.error);
}

function phaseRow(phase, open) {
  const row = make("li", "");
  row.append(make("span", phase.name), make("span", `${phase.seconds.toFixed(1)} s`));
  if (open) row.setAttribute("aria-current", "step");
  return row;
}

function detailOf(report) {
  const parts = [report.detail];
  if (report.percent !== null) parts.push(`${report.percent.toFixed(0)}%`);
  if (report.eta_seconds !== null) parts.push(`about ${Math.ceil(report.eta_seconds)} s left`);
  return parts.filter(Boolean).join(" · ");
}

function showFailure(error) {
  const box = element("failure");
  if (!error || !box.hidden) return;
  box.hidden = false;
  const lines = [error.what, error.why, error.remedy && `What to do: ${error.remedy}`];
  box.replaceChildren(...lines.filter(Boolean).map((line) => make("p", line)));
}

async function showPlanOnce() {
  try {
    showPlan(await get("v1/plan"));
    known.plan = true;
  } catch (failure) {
    if (failure.status !== 404) throw failure;
  }
}

async function showReady() {
  const status = await get("v1/status");
  if (!known.models) {
    const models = await get("v1/models");
    element("model").textContent = models.data[0].id;
    element("version").textContent = `Stoker ${(await get("version")).version}`;
    showDefaults(models.data[0].default_sampling_params);
    known.models = true;
    showPurpose(status.gives, models.data[0].id);
    showPhase("ready", "ready");
  }
  showStatus(status);
}

function showStatus(status) {
  const rate = rateOf(status);
  element("rate").textContent = rate.toFixed(rate < 10 ? 1 : 0);
  element("running").textContent = status.sequences_running;
  element("waiting").textContent = status.sequences_waiting;
  const used = status.kv_blocks ? status.kv_blocks_used / status.kv_blocks : 0;
  element("kv").textContent = `${(100 * used).toFixed(0)}%`;
  element("kv-meter").value = used;
  const accepted = status.accepted_tokens_per_step ?? 0;
  element("accepted-part").hidden = accepted === 0;
  element("accepted").textContent = accepted.toFixed(2);
  showReplicas(status.replicas ?? []);
  rates.push(rate);
  if (rates.length > HISTORY) rates.shift();
  drawHistory();
}

/** One line for each replica, where there are several. */
function showReplicas(replicas) {
  element("replicas-part").hidden = replicas.length < 2;
  const lines = replicas.map((one) => {
    const line = document.createElement("tr");
    const place = one.devices.length ? `GPU ${one.devices.join(", ")}` : `CPU ${one.cpus.join(", ")}`;
    const used = one.kv_blocks ? `${((100 * one.kv_blocks_used) / one.kv_blocks).toFixed(0)}%` : "";
    const cells = [one.replica, one.state, place, one.sequences, one.tokens_waiting, used, one.restarts];
    line.append(...cells.map((cell) => make("td", cell)));
    return line;
  });
  element("replicas").replaceChildren(...lines);
}

/** Tokens a second since the status before. */
function rateOf(status) {
  const seconds = last ? status.uptime_seconds - last.uptime_seconds : 0;
  const tokens = last ? status.tokens_generated - last.tokens_generated : 0;
  last = status;
  return seconds > 0 ? Math.max(0, tokens / seconds) : 0;
}

function drawHistory() {
  const most = Math.max(1, ...rates);
  const first = HISTORY - rates.length;
  const points = rates.map((rate, index) => `${first + index},${29 - (28 * rate) / most}`);
  element("line").setAttribute("points", points.join(" "));
}

function askForKey() {
  const form = element("key-form");
  if (!form.hidden) return;
  form.hidden = false;
  element("key").focus();
}

element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(element("key").value);
  element("key").value = "";
  element("key-form").hidden = true;
});

startChat();
poll();
