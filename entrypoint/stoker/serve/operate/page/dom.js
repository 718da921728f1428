// Elements: found by their id, and made without ever parsing a string as HTML.

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function element(id) {
  return /** @type {T} */ (document.getElementById(id));
}

/** @param {string} id @returns {HTMLInputElement} a field: an input, a text area or a list of choices */
export const field = (id) => element(id);

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] of the element; `class`, `role`, `aria-*` and `data-*` are attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class" || name === "role" || name.includes("-")) made.setAttribute(name, String(value));
    else /** @type {any} */ (made)[name] = value;
  }
  made.append(...children);
  return made;
}

/**
 * @param {string} text shown
 * @param {(event: Event) => void} action
 * @param {Record<string, unknown>} [properties]
 */
export function button(text, action, properties = {}) {
  const made = make("button", { type: "button", ...properties }, text);
  made.addEventListener("click", action);
  return made;
}

/** A row of a table. @param {unknown[]} cells */
export const tableRow = (cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, String(cell))));

/** The clipboard exists only for https and for this machine; elsewhere the older way works. @param {string} text */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = /** @type {HTMLTextAreaElement} */ (make("textarea", { value: text }));
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** A button that copies, and says so for a moment. @param {() => string} text @param {string} [label] */
export function copyButton(text, label = "Copy") {
  const made = button(label, async () => {
    await copy(text());
    made.textContent = "Copied";
    setTimeout(() => (made.textContent = label), 1500);
  });
  made.classList.add("small");
  return made;
}

/** Offers a file for download. @param {string} name @param {string} text */
export function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** @type {Map<string, Promise<void>>} */
const loaded = new Map();

/** A script or style sheet of the libraries, loaded when it is first needed. @param {string} path */
export function load(path) {
  const known = loaded.get(path);
  if (known) return known;
  const address = new URL(path, import.meta.url).href;
  const promise = new Promise((resolve, reject) => {
    const node = path.endsWith(".css")
      ? make("link", { rel: "stylesheet", href: address })
      : make("script", { src: address });
    node.addEventListener("load", () => resolve(undefined));
    node.addEventListener("error", () => reject(new Error(`${path} did not load`)));
    document.head.append(node);
  });
  loaded.set(path, promise);
  promise.catch(() => loaded.delete(path));
  return promise;
}
