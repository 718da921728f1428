// The API key, where the server asks for one: kept in this tab, or in this browser if its user wants that.

import { element, field } from "./dom.js";
import { hasKey, setKey } from "./server.js";

export function startKeys() {
  element("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setKey(field("key").value.trim(), field("key-remember").checked);
    field("key").value = "";
    element("key-form").hidden = true;
    showForget();
  });
  element("key-forget").addEventListener("click", () => {
    setKey("", false);
    location.reload();
  });
  showForget();
}

export function askForKey() {
  const form = element("key-form");
  if (!form.hidden) return;
  element("key-note").textContent = hasKey() ? "The server does not know this key." : "";
  form.hidden = false;
  element("key").focus();
}

function showForget() {
  element("key-forget").hidden = !hasKey();
}
