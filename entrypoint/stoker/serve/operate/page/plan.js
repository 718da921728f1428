// The plan as cards: the machine, the model, what was chosen, what it costs in memory, and why.

import { copyButton, element, make } from "./dom.js";

const LABELS = {
  engine: "engine",
  precision: "weights",
  kv_precision: "KV cache",
  activation_precision: "activations",
  speculative: "speculative decoding",
  draft: "draft model",
};
const CAPACITY = {
  max_seq_len: "context, tokens",
  max_batch_size: "concurrent sequences",
  max_num_tokens: "tokens per step",
  tensor_parallel: "tensor parallel",
  pipeline_parallel: "pipeline parallel",
  threads: "threads",
  max_loras: "adapters",
};
const UNLESS_TRIVIAL = ["tensor_parallel", "pipeline_parallel", "max_loras"];
const MEMORY = ["weights", "kv_cache", "activations", "runtime", "context", "communication", "adapters"];
const NOT_OVERRIDES = /^(planner|profile|model|machine)/;

/** @param {any} plan the document of /v1/plan */
export function showPlan(plan) {
  element("model").textContent = plan.model.served_name;
  element("machine").replaceChildren(...machineRows(plan));
  element("model-facts").replaceChildren(...modelRows(plan.model));
  element("profile").textContent = plan.chosen.profile;
  element("chosen").replaceChildren(...chosenRows(plan, LABELS));
  element("capacity").replaceChildren(...chosenRows(plan, CAPACITY), ...poolRows(plan));
  showMemory(plan.memory, plan.chosen.devices.length > 0);
  element("reasons").replaceChildren(...plan.reasons.map((/** @type {string} */ reason) => make("li", {}, reason)));
  showRejected(plan.rejected);
  element("command").textContent = plan.command;
  element("command-copy").replaceChildren(copyButton(() => plan.command));
  element("no-plan").hidden = true;
  element("plan-cards").hidden = false;
}

/** @param {string} label @param {string} value @param {string} [override] where a user's value came from */
function row(label, value, override) {
  const shown = make("dd", {}, value);
  if (override) shown.append(" ", make("span", { class: "chip" }, override));
  return make("div", {}, make("dt", {}, label), shown);
}

/** @param {any} plan */
function machineRows({ machine, chosen, replicas }) {
  const { cpu, gpus } = machine;
  const devices = new Set(replicas.flatMap((/** @type {any} */ one) => one.devices));
  const used = gpus.filter((/** @type {any} */ gpu) => devices.has(gpu.index));
  const rows = used.length
    ? [row("GPUs", `${used.length} of ${gpus.length} × ${used[0].name}`), row("memory of each", size(used[0].memory_total))]
    : [];
  rows.push(row("processor", `${cpu.name}, ${cpu.cores} cores`), row("host memory", `${size(cpu.memory_available)} available`));
  if (replicas.length > 1) rows.push(row("replicas", number(replicas.length)));
  if (chosen.nodes > 1) rows.push(row("machines", number(chosen.nodes)));
  return rows;
}

/** @param {any} model */
function modelRows(model) {
  const { architecture } = model;
  return [
    row("name", model.served_name),
    row("from", model.revision ? `${model.reference} at ${model.revision.slice(0, 12)}` : model.reference),
    row("architecture", architecture.name),
    row("parameters", rounded(model.parameters)),
    row("layers", number(architecture.layers)),
  ];
}

/** @param {any} plan @param {Record<string, string>} labels */
function chosenRows(plan, labels) {
  return Object.entries(labels).flatMap(([name, label]) => {
    const value = plan.chosen[name];
    if (value === undefined || value === "" || value === "off") return [];
    if (UNLESS_TRIVIAL.includes(name) && value <= 1) return [];
    const source = plan.sources[name] ?? "";
    const override = NOT_OVERRIDES.test(source) ? "" : source;
    return [row(label, typeof value === "number" ? number(value) : value, override)];
  });
}

/** @param {any} plan */
function poolRows({ memory }) {
  if (!memory.kv_blocks) return [];
  const tokens = number(memory.kv_blocks * memory.kv_block_tokens);
  return [row("KV cache holds", `${tokens} tokens of ${number(memory.kv_bytes_per_token)} bytes`)];
}

/** A bar of what each part takes of the limit. @param {Record<string, number>} memory @param {boolean} ofGpu */
function showMemory(memory, ofGpu) {
  const parts = MEMORY.filter((name) => memory[name]).map((name) => ({ name, label: name.replace("kv_cache", "KV cache"), bytes: memory[name] }));
  const free = Math.max(0, memory.limit - memory.total);
  parts.push({ name: "free", label: "free", bytes: free });
  const segments = parts.map(({ name, bytes }) => {
    const segment = make("span", { class: `segment ${name}` });
    segment.style.flexGrow = String(bytes);
    return segment;
  });
  element("memory-bar").replaceChildren(...segments);
  element("memory").replaceChildren(...parts.map(({ name, label, bytes }) => {
    const swatch = make("span", { class: `swatch ${name}` });
    return make("li", {}, swatch, make("span", {}, label), make("span", { class: "size" }, size(bytes)));
  }));
  const where = ofGpu ? "of each GPU" : "of this process";
  element("memory-total").textContent = `${size(memory.total)} of the ${size(memory.limit)} limit ${where}`;
}

/** One line for each reason, not one for each profile. @param {{profile: string, reason: string}[]} rejected */
function showRejected(rejected) {
  /** @type {Map<string, string[]>} */
  const byReason = new Map();
  for (const { profile, reason } of rejected) byReason.set(reason, [...(byReason.get(reason) ?? []), profile]);
  const groups = [...byReason].map(([reason, profiles]) => {
    const names = make("ul", {}, ...profiles.map((name) => make("li", {}, name)));
    return make("details", {}, make("summary", {}, `${reason} (${profiles.length})`), names);
  });
  element("rejected").replaceChildren(...groups);
  element("rejected-title").textContent = `Rejected profiles: ${rejected.length}`;
  element("rejected-part").hidden = rejected.length === 0;
}

/** @param {number} value */
const number = (value) => value.toLocaleString("en");

/** @param {number} count */
function rounded(count) {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)} billion`;
  return count >= 1e6 ? `${(count / 1e6).toFixed(1)} million` : number(count);
}

/** @param {number} bytes */
function size(bytes) {
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : `${(bytes / 2 ** 10).toFixed(0)} KiB`;
}
