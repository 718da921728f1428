// The API's description by Swagger UI, with the key that was entered at `/`.

import { element, make } from "./dom.js";
import { ServerError, get, headers } from "./server.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const showColours = () => document.documentElement.classList.toggle("dark-mode", dark.matches);

async function start() {
  dark.addEventListener("change", showColours);
  showColours();
  try {
    show(await get("openapi.json"));
  } catch (failure) {
    const { status, message } = /** @type {ServerError} */ (failure);
    const page = make("a", { href: "./" }, "the page of this server");
    const text = status === 401 ? make("p", {}, "The API needs a key. Enter it on ", page, ", then open this again.") : make("p", {}, message);
    element("api").replaceChildren(text);
  }
}

/** @param {any} spec */
function show(spec) {
  /** @type {any} */ (window).SwaggerUIBundle({
    spec,
    dom_id: "#api",
    deepLinking: true,
    validatorUrl: null,
    requestInterceptor: (/** @type {any} */ request) => {
      // Keys are this server's only.
      if (new URL(request.url, document.baseURI).origin === location.origin) Object.assign(request.headers, headers());
      return request;
    },
  });
}

start();
