// The chat box: streams answers of /v1/chat/completions, and can be stopped at any token.

import { curl, element, headers, make } from "./server.js";

const PATH = "v1/chat/completions";
const conversation = [];
let running = null;

export function startChat() {
  element("chat-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  element("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") stop();
  });
  element("stop").addEventListener("click", stop);
  element("clear").addEventListener("click", clear);
  element("curl").addEventListener("click", copyAsCurl);
}

/** What holds where a control is left empty: the model's own way of sampling. */
export function showDefaults(sampling) {
  for (const name of ["temperature", "top_p", "top_k"]) {
    if (sampling[name] !== undefined) element(name).placeholder = sampling[name];
  }
}

function stop() {
  running?.abort();
}

function clear() {
  stop();
  conversation.length = 0;
  element("messages").replaceChildren();
  element("prompt").focus();
}

async function send() {
  const text = element("prompt").value.trim();
  if (!text || running) return;
  element("prompt").value = "";
  conversation.push({ role: "user", content: text });
  show("user", text);
  const answer = { bubble: show("assistant", ""), text: "" };
  setRunning(new AbortController());
  const started = performance.now();
  try {
    await receive(answer, running.signal);
    say(`${answer.tokens ?? "?"} tokens in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  } catch (failure) {
    if (failure.name === "AbortError") say("stopped");
    else showError(answer, failure);
  } finally {
    if (answer.text) conversation.push({ role: "assistant", content: answer.text });
    setRunning(null);
  }
}

function setRunning(controller) {
  running = controller;
  element("send").disabled = controller !== null;
  element("stop").disabled = controller === null;
}

/** Fills the answer as it comes. Throws what went wrong, with a message for people. */
async function receive(answer, signal) {
  const response = await fetch(PATH, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers() },
    body: JSON.stringify({ ...body(), stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!response.ok) throw new Error((await response.json()).error.message);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) take(answer, event.slice("data: ".length));
  }
}

function take(answer, data) {
  if (data === "[DONE]") return;
  const chunk = JSON.parse(data);
  if (chunk.error) throw new Error(chunk.error.message);
  if (chunk.usage) answer.tokens = chunk.usage.completion_tokens;
  const delta = chunk.choices[0]?.delta ?? {};
  if (delta.reasoning_content) think(answer, delta.reasoning_content);
  if (delta.content) {
    answer.text += delta.content;
    answer.bubble.append(delta.content);
  }
  const log = element("messages");
  log.scrollTop = log.scrollHeight;
}

function think(answer, text) {
  if (!answer.thought) {
    answer.thought = make("span", "", "thought");
    answer.bubble.prepend(answer.thought);
  }
  answer.thought.append(text);
}

/** The request as the API takes it; a control that is left empty is left out. */
function body() {
  const system = element("system").value.trim();
  const messages = system ? [{ role: "system", content: system }, ...conversation] : [...conversation];
  const sampling = {};
  for (const name of ["temperature", "top_p", "top_k", "max_tokens", "seed"]) {
    const value = element(name).value;
    if (value !== "") sampling[name] = Number(value);
  }
  return { model: element("model").textContent, messages, ...sampling };
}

async function copyAsCurl() {
  const draft = element("prompt").value.trim();
  const request = body();
  if (draft) request.messages.push({ role: "user", content: draft });
  if (request.messages.length === 0) request.messages.push({ role: "user", content: "Hello" });
  await copy(curl(PATH, request));
  say("copied");
}

/** The clipboard is there only for https and this machine; elsewhere the old way is. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", text);
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function show(role, text) {
  const bubble = make("div", text, `message ${role}`);
  bubble.setAttribute("aria-label", role === "user" ? "You" : "Model");
  element("messages").append(bubble);
  return bubble;
}

function showError(answer, failure) {
  if (!answer.text) answer.bubble.remove();
  if (!answer.text) conversation.pop();
  show("error", failure.message);
  say("");
}

function say(text) {
  element("said").textContent = text;
}
