// The list of conversations and the settings: beside the chat where there is room, over it on a phone.

import { element } from "./dom.js";

const OPENERS = { list: "open-list", settings: "open-settings" };

export function startOverlays() {
  for (const [name, opener] of Object.entries(OPENERS)) {
    element(opener).addEventListener("click", () => toggle(name));
    element(`close-${name}`).addEventListener("click", () => toggle(name));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && narrow.matches) closeOverlays();
  });
  show("list", !narrow.matches);
  narrow.addEventListener("change", () => show("list", !narrow.matches));
}

const narrow = matchMedia("(max-width: 55.99rem)");

/** On a phone, what is open over the chat makes room for it. */
export function closeOverlays() {
  if (!narrow.matches) return;
  for (const name of Object.keys(OPENERS)) show(name, false);
}

/** @param {string} name */
function toggle(name) {
  const opens = Boolean(element(name).hidden);
  if (opens) closeOverlays();
  show(name, opens);
  const target = opens ? element(`close-${name}`) : element(OPENERS[/** @type {"list" | "settings"} */ (name)]);
  target.focus();
}

/** @param {string} name @param {boolean} open */
function show(name, open) {
  element(name).hidden = !open;
  element(OPENERS[/** @type {"list" | "settings"} */ (name)]).setAttribute("aria-expanded", String(open));
}
