// The list of conversations: open, rename, delete, export, import.

import { closeConversation, openConversation, openId } from "./chat.js";
import { conversations, exportText, importText, loadConversations, remove, rename } from "./conversations.js";
import { button, download, element, field, make } from "./dom.js";
import { closeOverlays } from "./overlays.js";

export async function startList() {
  await loadConversations().catch(() => {});
  element("clear").addEventListener("click", () => {
    open();
    element("prompt").focus();
  });
  element("export").addEventListener("click", () => download("stoker-conversations.json", exportText()));
  element("import").addEventListener("click", () => field("import-file").click());
  field("import-file").addEventListener("change", importFile);
  showList();
}

async function importFile() {
  const file = field("import-file").files?.[0];
  field("import-file").value = "";
  if (!file) return;
  try {
    const count = await importText(await file.text());
    note(`${count} imported`);
  } catch (failure) {
    note(/** @type {Error} */ (failure).message);
  }
  showList();
}

/** @param {string} text */
const note = (text) => (element("list-note").textContent = text);

export function showList() {
  const rows = conversations().map(row);
  element("conversations").replaceChildren(...rows);
  /** @type {HTMLButtonElement} */ (element("export")).disabled = rows.length === 0;
}

/** @param {import("./conversations.js").Conversation} [one] a new one without */
function open(one) {
  openConversation(one);
  showList();
  closeOverlays();
}

/** @param {import("./conversations.js").Conversation} one */
function row(one) {
  const title = button(one.title, () => open(one), { class: "title" });
  if (one.id === openId()) title.setAttribute("aria-current", "true");
  const line = make("li", {}, title);
  const renaming = () => line.replaceChildren(renameForm(one));
  const label = { class: "icon", "aria-label": `Rename ${one.title}`, title: "Rename" };
  line.append(button("✎", renaming, label), deleteButton(one));
  return line;
}

/** @param {import("./conversations.js").Conversation} one */
function renameForm(one) {
  const input = /** @type {HTMLInputElement} */ (make("input", { value: one.title, "aria-label": "New name" }));
  const form = make("form", {}, input);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await rename(one, input.value).catch(() => {});
    showList();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") showList();
  });
  setTimeout(() => input.select());
  return form;
}

/** Deletes at the second press: deleting cannot be undone. @param {import("./conversations.js").Conversation} one */
function deleteButton(one) {
  const made = button("✕", async () => {
    if (made.textContent !== "Delete?") {
      made.textContent = "Delete?";
      made.setAttribute("aria-label", `Really delete ${one.title}?`);
      return;
    }
    await remove(one.id).catch(() => {});
    closeConversation(one.id);
    showList();
    element("clear").focus();
  }, { class: "icon", "aria-label": `Delete ${one.title}`, title: "Delete" });
  made.addEventListener("blur", () => {
    made.textContent = "✕";
    made.setAttribute("aria-label", `Delete ${one.title}`);
  });
  return made;
}
