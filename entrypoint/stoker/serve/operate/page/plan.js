// The plan: what was chosen for this machine, and why.

import { element, make } from "./server.js";

const SHOWN = {
  engine: "engine",
  profile: "profile",
  precision: "weights",
  kv_precision: "KV cache",
  max_seq_len: "context, tokens",
  max_batch_size: "sequences at once",
  max_num_tokens: "tokens per step",
  tensor_parallel: "tensor parallel",
  pipeline_parallel: "pipeline parallel",
  threads: "threads",
  speculative: "speculative decoding",
  draft: "draft",
};
const MEMORY = ["weights", "activations", "runtime", "context", "communication", "kv_cache", "total", "limit"];

export function showPlan(plan) {
  element("plan").hidden = false;
  element("model").textContent = plan.model.served_name;
  element("machine").textContent = machineText(plan);
  const chosen = Object.entries(SHOWN).filter(([name]) => (plan.chosen[name] ?? "") !== "");
  element("chosen").replaceChildren(
    ...chosen.map(([name, label]) => row(label, number(plan.chosen[name]), plan.sources[name])),
  );
  element("reasons").replaceChildren(...plan.reasons.map((reason) => make("li", reason)));
  const memory = MEMORY.filter((name) => plan.memory[name]);
  element("memory").replaceChildren(...memory.map((name) => row(name.replace("_", " "), size(plan.memory[name]), "")));
  element("rejected").replaceChildren(...plan.rejected.map((one) => make("li", `${one.profile}: ${one.reason}`)));
  element("rejected-part").hidden = plan.rejected.length === 0;
  element("command").textContent = plan.command;
}

function machineText(plan) {
  const { cpu, gpus } = plan.machine;
  const used = gpus.filter((gpu) => plan.chosen.devices.includes(gpu.index));
  const cards = used.length ? `${used.length} × ${used[0].name}, ` : "";
  return `${cards}${cpu.name}, ${cpu.cores} cores`;
}

function row(label, value, source) {
  const made = document.createElement("tr");
  const head = make("th", label);
  head.scope = "row";
  made.append(head, make("td", value), make("td", source ?? ""));
  return made;
}

function number(value) {
  return typeof value === "number" ? value.toLocaleString("en") : String(value);
}

function size(bytes) {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
