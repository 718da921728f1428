// How the model is asked: system prompt, sampling, tools and the form of the answer; kept in this browser.

import { element, field, make } from "./dom.js";
import { keep, kept } from "./storage.js";

const KEPT = "stoker-settings";
const PRESETS = "stoker-presets";
const NUMBERS = ["temperature", "top_p", "top_k", "max_tokens", "seed"];
const TEXTS = ["system", "tools", "tool_choice", "schema"];
const IN_PRESETS = ["system", ...NUMBERS];
/** @type {Record<string, Record<string, string>>} */
const BUILT_IN = {
  "Model's defaults": {},
  Precise: { temperature: "0" },
  Balanced: { temperature: "0.7", top_p: "0.95" },
  Creative: { temperature: "1.1", top_p: "0.98" },
};

export function startSettings() {
  const values = read(KEPT);
  for (const name of [...NUMBERS, ...TEXTS]) {
    if (typeof values[name] === "string") field(name).value = values[name];
    field(name).addEventListener("change", keepSettings);
  }
  field("preset").addEventListener("change", usePreset);
  element("preset-form").addEventListener("submit", (event) => {
    event.preventDefault();
    savePreset();
  });
  element("preset-delete").addEventListener("click", deletePreset);
  showPresets("");
  showFaults();
}

/** What holds where a field is empty, and what this model's engine does not support. @param {any} card of /v1/models */
export function showModel(card) {
  for (const name of ["temperature", "top_p", "top_k"]) {
    const value = card.default_sampling_params?.[name];
    if (value !== undefined) field(name).placeholder = String(value);
  }
  const lacks = new Set(card.unsupported_parameters ?? []);
  element("schema-part").hidden = lacks.has("response_format");
  element("tools-part").hidden = lacks.has("tools");
}

/** Fields of the request, and `system`. Throws an Error for JSON that is invalid.
 * @returns {Record<string, any>} */
export function requestSettings() {
  /** @type {Record<string, any>} */
  const settings = { system: field("system").value.trim() };
  for (const name of NUMBERS) {
    if (field(name).value !== "") settings[name] = Number(field(name).value);
  }
  const tools = parsed("tools", "Tools");
  if (tools !== null && !element("tools-part").hidden) {
    settings.tools = Array.isArray(tools) ? tools : [tools];
    settings.tool_choice = field("tool_choice").value;
  }
  const schema = parsed("schema", "JSON schema");
  if (schema !== null && !element("schema-part").hidden) {
    settings.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  }
  return settings;
}

/** @param {string} name @param {string} what */
function parsed(name, what) {
  const text = field(name).value.trim();
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch (failure) {
    throw new Error(`${what} in the settings: invalid JSON. ${/** @type {Error} */ (failure).message}`);
  }
}

function showFaults() {
  for (const name of ["tools", "schema"]) {
    const valid = isJson(field(name).value);
    element(`${name}-fault`).textContent = valid ? "" : "This is not valid JSON.";
    field(name).setAttribute("aria-invalid", String(!valid));
  }
}

/** @param {string} text */
function isJson(text) {
  try {
    return !text.trim() || JSON.parse(text) !== undefined;
  } catch {
    return false;
  }
}

function keepSettings() {
  const values = Object.fromEntries([...NUMBERS, ...TEXTS].map((name) => [name, field(name).value]));
  keep(KEPT, JSON.stringify(values));
  showFaults();
}

/** @param {string} name @returns {Record<string, any>} */
function read(name) {
  try {
    return JSON.parse(kept(name) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

/** @param {string} chosen */
function showPresets(chosen) {
  const own = Object.keys(read(PRESETS));
  const options = [...Object.keys(BUILT_IN), ...own].map((name) => make("option", { value: name }, name));
  field("preset").replaceChildren(make("option", { value: "" }, "Choose a preset…"), ...options);
  field("preset").value = chosen;
  element("preset-delete").hidden = !own.includes(chosen);
}

function usePreset() {
  const name = field("preset").value;
  const preset = BUILT_IN[name] ?? read(PRESETS)[name];
  element("preset-delete").hidden = name === "" || name in BUILT_IN;
  if (!preset) return;
  // A built-in preset is about sampling alone: it leaves the system prompt, the limit and the seed as they are.
  const names = name in BUILT_IN ? ["temperature", "top_p", "top_k"] : IN_PRESETS;
  for (const each of names) field(each).value = preset[each] ?? "";
  keepSettings();
}

function savePreset() {
  const name = field("preset-name").value.trim().slice(0, 60);
  if (!name || name in BUILT_IN) return;
  const values = Object.fromEntries(IN_PRESETS.map((each) => [each, field(each).value]));
  keep(PRESETS, JSON.stringify({ ...read(PRESETS), [name]: values }));
  field("preset-name").value = "";
  showPresets(name);
}

function deletePreset() {
  const { [field("preset").value]: _, ...rest } = read(PRESETS);
  keep(PRESETS, JSON.stringify(rest));
  showPresets("");
}
