// The conversation that is open: sends it, receives answers, and can stop, edit, regenerate and continue them.

import { PATH, emptyAnswer, stream } from "./completions.js";
import { newConversation, save } from "./conversations.js";
import { button, copy, element, field, make } from "./dom.js";
import { MessageView } from "./message.js";
import { curl } from "./server.js";
import { requestSettings } from "./settings.js";

const SAVE_MS = 1000; // while an answer arrives: a page may be closed at any time
const NEAR_END = 80; // pixels: whoever reads further up is not moved

/** @typedef {import("./conversations.js").Message} Message */

let current = newConversation();
/** @type {{controller: AbortController, conversation: typeof current, view: MessageView} | null} */
let running = null;
let changedList = () => {};
let modelName = () => "";

/** @param {{model: () => string, listChanged: () => void}} given */
export function startChat(given) {
  modelName = given.model;
  changedList = given.listChanged;
  element("stop").addEventListener("click", stop);
  element("curl").addEventListener("click", copyAsCurl);
  element("messages").addEventListener("drawn", followEnd);
  element("messages").addEventListener("scroll", noticeScrolling, { passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") stop();
  });
}

export const openId = () => current.id;

/** @param {import("./conversations.js").Conversation} [conversation] a new one without */
export function openConversation(conversation = newConversation()) {
  current = conversation;
  following = true;
  showAll();
  say("");
  const waits = current.messages[current.messages.length - 1]?.role === "user";
  if (waits && running?.conversation !== current) showError("This message has no answer yet.");
}

/** Of a conversation that is deleted, nothing goes on. @param {string} id */
export function closeConversation(id) {
  if (running?.conversation.id === id) stop();
  if (current.id === id) openConversation();
}

/** @param {string} text @param {import("./conversations.js").Attachment[]} attachments */
export async function send(text, attachments) {
  if (running) return;
  const message = /** @type {Message} */ ({ role: "user", content: text });
  if (attachments.length) message.attachments = attachments;
  current.messages.push(message);
  await answer();
}

export const isRunning = () => running !== null;

function stop() {
  running?.controller.abort();
}

const actions = {
  /** @param {Message} message @param {string} text */
  edit(message, text) {
    if (running || !text.trim()) return;
    current.messages.splice(current.messages.indexOf(message));
    send(text, message.attachments ?? []);
  },
  /** @param {Message} message */
  regenerate(message) {
    if (running) return;
    current.messages.splice(current.messages.indexOf(message));
    answer();
  },
  /** @param {Message} message */
  resume(message) {
    if (!running) receive(message, { continue_final_message: true, add_generation_prompt: false });
  },
  /** @param {Message} message @param {string[]} results */
  answerCalls(message, results) {
    if (running) return;
    (message.tool_calls ?? []).forEach((call, index) => {
      current.messages.push({ role: "tool", content: results[index], tool_call_id: call.id });
    });
    answer();
  },
};

async function answer() {
  const message = /** @type {Message} */ ({ role: "assistant", content: "" });
  await receive(message, {});
}

/** Receives an answer, or the rest of one. @param {Message} message @param {object} ways of the request */
async function receive(message, ways) {
  let request;
  try {
    request = { ...requestOf(current.messages), ...ways };
  } catch (failure) {
    showAll();
    return showError(/** @type {Error} */ (failure).message);
  }
  const conversation = current;
  const before = { content: message.content, reasoning: message.reasoning ?? "" };
  if (!conversation.messages.includes(message)) conversation.messages.push(message);
  Object.assign(message, { finish: "", stopped: false });
  following = true;
  say("");
  const view = viewOf(message, false);
  setRunning({ controller: new AbortController(), conversation, view });
  showAll();
  saveNow(conversation);
  changedList();
  await follow(request, message, before);
}

/** @param {object} request @param {Message} message @param {{content: string, reasoning: string}} before */
async function follow(request, message, before) {
  const { controller, conversation, view } = /** @type {NonNullable<typeof running>} */ (running);
  const answered = emptyAnswer();
  let failure = "";
  let saved = performance.now();
  try {
    await stream(request, answered, () => {
      if (performance.now() - saved > SAVE_MS) {
        saved = performance.now();
        saveNow(conversation);
      }
      message.content = before.content + answered.text;
      message.reasoning = before.reasoning + answered.reasoning;
      if (answered.calls.length) message.tool_calls = answered.calls;
      view.changed();
    }, controller.signal);
    message.finish = answered.finish;
    message.stats = statsOf(answered);
  } catch (error) {
    const { name, message: text } = /** @type {Error} */ (error);
    if (name === "AbortError") message.stopped = true;
    else failure = text;
  }
  if (isEmpty(message)) conversation.messages.splice(conversation.messages.indexOf(message), 1);
  setRunning(null);
  view.finish(true);
  await keep(conversation, message, failure);
}

/** @param {typeof current} conversation @param {Message} message @param {string} failure */
async function keep(conversation, message, failure) {
  if (conversation === current) {
    showAll();
    if (failure) showError(failure);
    say(failure ? "" : message.stopped ? "stopped" : "answered");
  }
  await saveNow(conversation);
  changedList();
}

/** @param {typeof current} conversation */
const saveNow = (conversation) =>
  save(conversation).catch(() => say("This browser could not keep the conversation: its storage is full."));

/** @param {Message} message */
const isEmpty = (message) => !message.content && !message.reasoning && !message.tool_calls?.length;

/** @param {ReturnType<typeof emptyAnswer>} answered */
function statsOf({ tokens, seconds, firstSeconds }) {
  const rate = seconds > firstSeconds + 0.01 && tokens > 1 ? (tokens - 1) / (seconds - firstSeconds) : 0;
  const parts = [`${tokens} tokens in ${seconds.toFixed(1)} s`, `first after ${firstSeconds.toFixed(2)} s`];
  if (rate) parts.push(`${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`);
  return parts.join(" · ");
}

/** @param {typeof running} next */
function setRunning(next) {
  running = next;
  element("send").hidden = next !== null;
  element("stop").hidden = next === null;
  element("messages").setAttribute("aria-busy", String(next !== null));
}

/** The request as the API takes it. Throws an Error for settings that are invalid. @param {Message[]} messages */
function requestOf(messages) {
  const { system, ...settings } = requestSettings();
  const told = messages.map(apiMessage);
  return { model: modelName(), messages: system ? [{ role: "system", content: system }, ...told] : told, ...settings };
}

/** @param {Message} message */
function apiMessage({ role, content, attachments, tool_calls, tool_call_id }) {
  if (role === "tool") return { role, content, tool_call_id };
  if (role === "assistant") return tool_calls ? { role, content, tool_calls } : { role, content };
  const files = (attachments ?? []).map(({ name, text }) => `File ${name}:\n\`\`\`\n${text}\n\`\`\``);
  return { role, content: [...files, content].join("\n\n") };
}

async function copyAsCurl() {
  const draft = field("prompt").value.trim();
  try {
    const request = requestOf(current.messages);
    if (draft || request.messages.length === 0) request.messages.push({ role: "user", content: draft || "Hello" });
    await copy(curl(PATH, request));
    say("copied");
  } catch (failure) {
    showError(/** @type {Error} */ (failure).message);
  }
}

/** @type {WeakMap<Message, MessageView>} */
const views = new WeakMap();

/** Shows the conversation; messages that are shown already are not drawn again. */
function showAll() {
  const { messages } = current;
  const nodes = messages.map((message, index) => viewOf(message, index === messages.length - 1).root);
  const log = element("messages");
  for (const old of [...log.children]) {
    if (!nodes.includes(/** @type {HTMLElement} */ (old))) old.remove();
  }
  for (const node of nodes) {
    if (!node.isConnected) log.append(node);
  }
  element("welcome").hidden = messages.length > 0;
  followEnd();
}

/** @param {Message} message @param {boolean} last of its conversation */
function viewOf(message, last) {
  const known = views.get(message);
  const view = known ?? new MessageView(message, actions, last);
  views.set(message, view);
  if (running?.view !== view && view.last !== last) view.finish(last);
  return view;
}

/** @param {string} text */
function showError(text) {
  const box = make("div", { class: "message error", role: "alert" }, make("p", {}, text));
  if (current.messages.length) {
    box.append(button("Try again", tryAgain, { class: "small" }));
  }
  element("messages").append(box);
  element("messages").scrollTop = element("messages").scrollHeight;
}

function tryAgain() {
  const last = current.messages[current.messages.length - 1];
  if (last?.role === "assistant") actions.regenerate(last);
  else if (last && !running) answer();
}

/** Whether new text is scrolled to: until its reader scrolls up. */
let following = true;

function noticeScrolling() {
  const log = element("messages");
  following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
}

function followEnd() {
  if (following) element("messages").scrollTop = element("messages").scrollHeight;
}

/** @param {string} text */
export function say(text) {
  element("said").textContent = text;
}
