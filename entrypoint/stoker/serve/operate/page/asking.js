// A model that gives vectors or scores has no chat: the command that asks it stands in its place.

import { copyButton, element } from "./dom.js";
import { curl } from "./server.js";

const TEXTS = ["The boat leaves at noon.", "Bread is baked at night."];
/** @type {Record<string, [string, object]>} */
const REQUESTS = {
  embeddings: ["v1/embeddings", { input: TEXTS }],
  "relevance scores": ["v1/rerank", { query: "When does the boat leave?", documents: TEXTS }],
};

/** @param {string} gives @param {string} model @returns {boolean} whether the model has no chat */
export function showPurpose(gives, model) {
  if (!(gives in REQUESTS)) return false;
  const [path, request] = REQUESTS[gives];
  const command = curl(path, { model, ...request });
  document.body.dataset.purpose = "asking";
  element("gives").textContent = `This model returns ${gives}.`;
  element("asking-command").textContent = command;
  element("asking-copy").replaceChildren(copyButton(() => command));
  element("skip").textContent = "Skip to the command";
  element("skip").setAttribute("href", "#asking-command");
  return true;
}
