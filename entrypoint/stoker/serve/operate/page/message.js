// One message of a conversation, with what can be done to it.

import { button, copyButton, make } from "./dom.js";
import { MarkdownView } from "./markdown.js";

const FASTEST_MS = 40;
const SLOWEST_MS = 1000;
const NAMES = { user: "You", assistant: "Model", tool: "Tool result" };

/**
 * @typedef {import("./conversations.js").Message} Message
 * @typedef {import("./completions.js").ToolCall} ToolCall
 * @typedef {{edit: (message: Message, text: string) => void, regenerate: (message: Message) => void,
 *   resume: (message: Message) => void, answerCalls: (message: Message, results: string[]) => void}} Actions
 */

export class MessageView {
  /** @param {Message} message @param {Actions} actions @param {boolean} last of the conversation */
  constructor(message, actions, last) {
    this.message = message;
    this.actions = actions;
    this.pause = FASTEST_MS;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.root = make("article", { class: `message ${message.role}`, "aria-label": NAMES[message.role] });
    this.body = make("div", { class: "body" });
    this.foot = make("div", { class: "foot" });
    this.root.append(this.body, this.foot);
    if (message.role === "assistant") this.buildAnswer();
    else this.body.append(make("div", { class: "said-text" }, message.content), ...(message.attachments ?? []).map(attachment));
    this.finish(last);
  }

  buildAnswer() {
    this.thought = make("details", { class: "reasoning", hidden: true }, make("summary", {}, "Reasoning"));
    this.thoughtText = make("div", { class: "thought" });
    this.thought.append(this.thoughtText);
    this.text = make("div", { class: "text" });
    this.calls = make("div", { class: "calls" });
    this.markdown = new MarkdownView(this.text);
    this.body.append(this.thought, this.text, this.calls);
  }

  /** Draws soon: at most every 40 ms, and less often for a text that takes long to draw. */
  changed() {
    this.timer ??= setTimeout(() => {
      const started = performance.now();
      this.draw(false);
      this.pause = Math.min(SLOWEST_MS, Math.max(FASTEST_MS, 4 * (performance.now() - started)));
    }, this.pause);
  }

  /** @param {boolean} complete */
  draw(complete) {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { content, reasoning, tool_calls: calls } = this.message;
    if (!this.thought || !this.thoughtText || !this.markdown || !this.calls) return;
    this.thought.hidden = !reasoning;
    if (this.thoughtText.textContent !== reasoning) this.thoughtText.textContent = reasoning ?? "";
    this.markdown.update(content, complete);
    this.calls.replaceChildren(...(calls ?? []).map(callCard));
    this.root.dispatchEvent(new Event("drawn", { bubbles: true }));
  }

  /** The message is whole: from now on it can be copied and acted on. @param {boolean} last of the conversation */
  finish(last) {
    const { message, actions } = this;
    this.last = last;
    if (message.role === "assistant") this.draw(true);
    const cut = message.finish === "length" || message.stopped;
    const parts = [copyButton(() => message.content)];
    if (message.role === "user") parts.push(small("Edit", () => this.edit()));
    if (message.role === "assistant") parts.push(small("Regenerate", () => actions.regenerate(message)));
    if (cut && last && message.content) parts.push(small("Continue", () => actions.resume(message)));
    parts.push(make("span", { class: "note" }, [finishText(message), message.stats].filter(Boolean).join(" · ")));
    this.foot.replaceChildren(...parts);
    if (last && message.finish === "tool_calls" && this.calls) this.calls.append(this.resultForm());
  }

  edit() {
    const area = /** @type {HTMLTextAreaElement} */ (
      make("textarea", { value: this.message.content, rows: 3, "aria-label": "Edit the message" }));
    const send = button("Send again", () => this.actions.edit(this.message, area.value), { class: "primary" });
    const form = make("div", { class: "edit" }, area, make("div", { class: "row" }, send, button("Cancel", cancel)));
    const view = this;
    function cancel() {
      form.remove();
      view.body.hidden = view.foot.hidden = false;
    }
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") cancel();
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send.click(), event.preventDefault();
    });
    this.body.hidden = this.foot.hidden = true;
    this.root.append(form);
    area.focus();
  }

  /** What the functions returned, typed by whoever tries them. */
  resultForm() {
    const areas = (this.message.tool_calls ?? []).map((call) => {
      const label = `Result of ${call.function.name}`;
      return /** @type {HTMLTextAreaElement} */ (make("textarea", { rows: 2, placeholder: label, "aria-label": label }));
    });
    const results = () => this.actions.answerCalls(this.message, areas.map((area) => area.value));
    return make("div", { class: "edit" }, ...areas, button("Send results", results, { class: "primary" }));
  }
}

/** @param {string} text @param {() => void} action */
const small = (text, action) => button(text, action, { class: "small" });

/** @param {Message} message */
function finishText(message) {
  if (message.stopped) return "stopped";
  return message.finish === "length" ? "cut off at the token limit" : "";
}

/** @param {import("./conversations.js").Attachment} file */
function attachment(file) {
  const text = make("pre", { tabIndex: 0 }, file.text);
  return make("details", { class: "attachment" }, make("summary", {}, file.name), text);
}

/** @param {ToolCall} call */
function callCard(call) {
  const head = make("div", { class: "code-head" }, make("span", {}, `call of ${call.function.name}`));
  return make("div", { class: "code" }, head, make("pre", { tabIndex: 0 }, indented(call.function.arguments)));
}

/** @param {string} json which may be incomplete */
function indented(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
