// A model that gives vectors or scores has no chat: the command that asks it stands in its place.

import { curl, element } from "./server.js";

const TEXTS = ["The boat leaves at noon.", "Bread is baked at night."];
const REQUESTS = {
  embeddings: ["v1/embeddings", { input: TEXTS }],
  "relevance scores": ["v1/rerank", { query: "When does the boat leave?", documents: TEXTS }],
};

export function showPurpose(gives, model) {
  if (!(gives in REQUESTS)) return;
  const [path, request] = REQUESTS[gives];
  element("chat").hidden = true;
  element("asking").hidden = false;
  element("gives").textContent = `This model gives ${gives}.`;
  element("asking-command").textContent = curl(path, { model, ...request });
  const skip = element("skip");
  skip.textContent = "Skip to the command";
  skip.href = "#asking-command";
}
