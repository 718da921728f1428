// Where a message is written, with text files attached.

import { isRunning, say, send } from "./chat.js";
import { button, element, field, make } from "./dom.js";

const LARGEST = 1 << 20; // bytes of a file
const TALLEST = 240; // pixels of the text area

/** @type {import("./conversations.js").Attachment[]} */
let attachments = [];

export function startComposer() {
  const prompt = field("prompt");
  element("chat-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  prompt.addEventListener("input", grow);
  element("attach").addEventListener("click", () => field("files").click());
  field("files").addEventListener("change", () => {
    attach([...(field("files").files ?? [])]);
    field("files").value = "";
  });
  startDropping(element("chat"));
}

/** @param {HTMLElement} place */
function startDropping(place) {
  place.addEventListener("dragover", (event) => event.preventDefault());
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    attach([...(event.dataTransfer?.files ?? [])]);
  });
}

function submit() {
  const prompt = field("prompt");
  const text = prompt.value.trim();
  if ((!text && attachments.length === 0) || isRunning()) return;
  send(text, attachments);
  attachments = [];
  prompt.value = "";
  grow();
  showAttachments();
}

/** The text area is as tall as its text, up to a limit. */
function grow() {
  const prompt = field("prompt");
  prompt.style.height = "auto";
  prompt.style.height = `${Math.min(TALLEST, prompt.scrollHeight + 2)}px`;
}

/** @param {File[]} files */
async function attach(files) {
  for (const file of files) {
    try {
      attachments.push({ name: file.name, text: await textOf(file) });
    } catch (failure) {
      say(/** @type {Error} */ (failure).message);
    }
  }
  showAttachments();
  element("prompt").focus();
}

/** Throws an Error for what is no text, or is too large. @param {File} file */
async function textOf(file) {
  if (file.size > LARGEST) throw new Error(`${file.name} is larger than 1 MiB.`);
  const bytes = await file.arrayBuffer();
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {
    // said below
  }
  throw new Error(`${file.name} is not a text file in UTF-8.`);
}

function showAttachments() {
  const chips = attachments.map((file, index) => {
    const remove = () => {
      attachments.splice(index, 1);
      showAttachments();
    };
    return make("li", {}, file.name, " ", button("×", remove, { class: "icon", "aria-label": `Remove ${file.name}` }));
  });
  element("attachments").replaceChildren(...chips);
  element("attachments").hidden = chips.length === 0;
}
