// Conversations, kept in this browser (IndexedDB). Where it keeps nothing, as in some private windows, they last as long as the page.

const DATABASE = "stoker";
const STORE = "conversations";
const FORMAT = "stoker-conversations";
const TITLE_LENGTH = 60;
const ROLES = ["user", "assistant", "tool"];

/**
 * @typedef {{name: string, text: string}} Attachment
 * @typedef {{role: "user" | "assistant" | "tool", content: string, reasoning?: string, finish?: string, stopped?: boolean,
 *   stats?: string, attachments?: Attachment[], tool_calls?: import("./completions.js").ToolCall[],
 *   tool_call_id?: string}} Message
 * @typedef {{id: string, title: string, updated: number, messages: Message[]}} Conversation
 */

/** @type {Map<string, Conversation>} */
const kept = new Map();
/** Deleted ones: an answer that still arrives must not bring its conversation back. @type {Set<string>} */
const removed = new Set();
/** @type {Promise<IDBDatabase | null>} */
const database = open();

/** @returns {Promise<IDBDatabase | null>} */
function open() {
  return new Promise((resolve) => {
    try {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
}

/** @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} action */
async function using(mode, action) {
  const opened = await database;
  if (!opened) return null;
  return new Promise((resolve, reject) => {
    const transaction = opened.transaction(STORE, mode);
    const request = action(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** Reads what earlier visits left. */
export async function loadConversations() {
  const found = /** @type {Conversation[] | null} */ (await using("readonly", (store) => store.getAll()));
  for (const each of found ?? []) kept.set(each.id, withoutHalfAnswer(each));
}

/** An answer that was arriving when the page was closed counts as stopped, or as none where nothing had come.
 * @param {Conversation} one */
function withoutHalfAnswer(one) {
  const last = one.messages[one.messages.length - 1];
  if (last?.role !== "assistant" || last.finish) return one;
  if (last.content || last.reasoning || last.tool_calls) last.stopped = true;
  else one.messages.pop();
  return one;
}

/** The newest first. */
export const conversations = () => [...kept.values()].sort((one, other) => other.updated - one.updated);

/** @returns {Conversation} one that is kept from its first message on */
export const newConversation = () => ({ id: randomId(), title: "", updated: Date.now(), messages: [] });

/** An id without `crypto.randomUUID`, which plain http does not have. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Keeps a conversation as it is now, also while an answer is arriving. @param {Conversation} one */
export async function save(one) {
  if (removed.has(one.id)) return;
  one.updated = Date.now();
  one.title ||= titleOf(one.messages[0]?.content ?? "");
  kept.set(one.id, one);
  await using("readwrite", (store) => store.put(structuredClone(one)));
}

/** @param {Conversation} one @param {string} title */
export async function rename(one, title) {
  one.title = title.trim().slice(0, 200) || one.title;
  await using("readwrite", (store) => store.put(structuredClone(one)));
}

/** @param {string} id */
export async function remove(id) {
  kept.delete(id);
  removed.add(id);
  await using("readwrite", (store) => store.delete(id));
}

/** @param {string} text */
function titleOf(text) {
  const line = text.trim().split("\n")[0];
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH)}…` : line || "New chat";
}

/** @returns {string} JSON that `importText` reads */
export const exportText = () => JSON.stringify({ format: FORMAT, version: 1, conversations: conversations() }, null, 1);

/**
 * Adds the conversations of a file. Throws an Error that says what is wrong with it; nothing is added then.
 * @param {string} text
 * @returns {Promise<number>} how many
 */
export async function importText(text) {
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON. Choose a file that Export wrote.");
  }
  if (document?.format !== FORMAT || !Array.isArray(document.conversations)) {
    throw new Error("This file holds no conversations. Choose a file that Export wrote.");
  }
  const read = document.conversations.map(checked);
  for (const one of read) {
    removed.delete(one.id);
    kept.set(one.id, one);
    await using("readwrite", (store) => store.put(one));
  }
  return read.length;
}

/** Only what the page itself writes. @param {any} given @returns {Conversation} */
function checked(given) {
  if (!given || !Array.isArray(given.messages)) throw new Error("A conversation of this file has no messages.");
  const id = /^[0-9a-f]{24}$/.test(given.id) ? given.id : randomId();
  const messages = given.messages.map(checkedMessage);
  return { id, title: String(given.title || "Imported").slice(0, 200), updated: Number(given.updated) || Date.now(), messages };
}

/** @param {any} given @returns {Message} */
function checkedMessage(given) {
  if (!ROLES.includes(given?.role)) throw new Error("A message of this file has an unknown role.");
  /** @type {any} */
  const message = { role: given.role, content: String(given.content ?? "") };
  for (const name of ["reasoning", "finish", "stats", "tool_call_id"]) {
    if (typeof given[name] === "string") message[name] = given[name];
  }
  if (given.stopped === true) message.stopped = true;
  if (Array.isArray(given.attachments)) message.attachments = given.attachments.map(checkedAttachment);
  if (Array.isArray(given.tool_calls)) message.tool_calls = given.tool_calls.map(checkedCall);
  return message;
}

/** @param {any} given @returns {Attachment} */
const checkedAttachment = (given) => ({ name: String(given?.name ?? "file"), text: String(given?.text ?? "") });

/** @param {any} given @returns {import("./completions.js").ToolCall} */
function checkedCall(given) {
  const called = { name: String(given?.function?.name ?? ""), arguments: String(given?.function?.arguments ?? "") };
  return { id: String(given?.id ?? ""), type: "function", function: called };
}
