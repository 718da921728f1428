// Follows the server: its start-up while it is not ready, then what it does; and shows the view that the address names.

import { showPurpose } from "./asking.js";
import { startChat } from "./chat.js";
import { startComposer } from "./composer.js";
import { element, field, make } from "./dom.js";
import { askForKey, startKeys } from "./keys.js";
import { showList, startList } from "./list.js";
import { draw, observe } from "./observe.js";
import { startOverlays } from "./overlays.js";
import { showPlan } from "./plan.js";
import { ServerError, get } from "./server.js";
import { showModel, startSettings } from "./settings.js";
import { showStartup } from "./startup.js";

const POLL_MS = 1000;
const HIDDEN_POLL_MS = 5000;
const MODELS_EVERY = 15; // polls: adapters come and go
const VIEWS = ["chat", "observe", "plan"];
const known = { plan: false, ready: false };
/** @type {any[]} */
let models = [];
let polls = 0;

async function poll() {
  try {
    const report = await get("v1/health/startup");
    showPhase(report.phase, report.phase === "failed" ? "failed" : known.ready ? "ready" : "starting");
    if (!report.ready) showStartup(report);
    if (!known.plan) await showPlanOnce();
    if (report.ready) await showReady();
  } catch (failure) {
    if (!(failure instanceof ServerError)) throw failure;
    if (failure.status === 401) askForKey();
    else if (failure.status === 0) showPhase("unreachable", known.ready ? "ready" : "starting");
  } finally {
    setTimeout(poll, document.hidden ? HIDDEN_POLL_MS : POLL_MS);
  }
}

/** Once it was ready, the views stay: an engine that restarts must not take away what is being written or read.
 * @param {string} text @param {string} state of the page */
function showPhase(text, state) {
  const phase = element("phase");
  if (phase.textContent !== text) phase.textContent = text;
  phase.classList.toggle("good", text === "ready");
  if (document.body.dataset.state !== state) document.body.dataset.state = state;
}

async function showPlanOnce() {
  try {
    showPlan(await get("v1/plan"));
    known.plan = true;
  } catch (failure) {
    if (!(failure instanceof ServerError) || failure.status !== 404) throw failure;
  }
}

async function showReady() {
  const status = await get("v1/status");
  if (polls++ % MODELS_EVERY === 0 || !known.ready) await showModels();
  if (!known.ready) {
    element("version").textContent = `Stoker ${(await get("version")).version}`;
    showPurpose(status.gives, models[0].id);
    document.title = `${models[0].id} – Stoker`;
    known.ready = true;
    showPhase("ready", "ready");
  }
  await observe(status, document.body.dataset.view === "observe");
}

async function showModels() {
  const { data } = await get("v1/models");
  const names = data.map((/** @type {any} */ one) => one.id);
  if (String(names) !== String(models.map((one) => one.id))) {
    const chosen = field("model-choice").value;
    field("model-choice").replaceChildren(...names.map((/** @type {string} */ name) => make("option", { value: name }, name)));
    if (names.includes(chosen)) field("model-choice").value = chosen;
  }
  models = data;
  element("model-part").hidden = names.length < 2;
  element("model").hidden = names.length > 1;
  element("model").textContent = names[0];
  showChosen();
}

const modelName = () => field("model-choice").value;

const showChosen = () => showModel(models.find((one) => one.id === modelName()));

function showView() {
  const named = location.hash.slice(1);
  const view = VIEWS.includes(named) ? named : "chat";
  document.body.dataset.view = view;
  for (const link of document.querySelectorAll("nav.views a")) {
    if (link.getAttribute("href") === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "observe") draw();
}

/** Moves the focus without changing the address, which names the view. @param {Event} event */
function skip(event) {
  event.preventDefault();
  const target = element("skip").getAttribute("href")?.slice(1) ?? "";
  location.hash = "chat";
  showView();
  element(target).focus();
}

addEventListener("hashchange", showView);
element("skip").addEventListener("click", skip);
field("window").addEventListener("change", draw);
field("model-choice").addEventListener("change", showChosen);
startOverlays();
startKeys();
startSettings();
startChat({ model: modelName, listChanged: showList });
startComposer();
startList();
showView();
poll();
