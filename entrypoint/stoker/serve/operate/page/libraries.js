// The libraries, by the versions that vendor/manifest.json pins. The large ones are loaded when they are first needed.

import { load } from "./dom.js";

export { default as MarkdownIt } from "./vendor/markdown-it-15.0.3/markdown-it.esm.min.mjs";
export { default as DOMPurify } from "./vendor/dompurify-3.5.0/purify.es.mjs";
export { default as highlighter } from "./vendor/highlightjs-cdn-assets-11.12.0/highlight.min.js";

const KATEX = "./vendor/katex-0.19.1/katex.min";
const UPLOT = "./vendor/uplot-1.6.32/uPlot";

/** @returns {Promise<any>} KaTeX */
export async function katex() {
  await Promise.all([load(`${KATEX}.js`), load(`${KATEX}.css`)]);
  return /** @type {any} */ (window).katex;
}

/** @returns {Promise<any>} uPlot */
export async function uPlot() {
  await Promise.all([load(`${UPLOT}.iife.min.js`), load(`${UPLOT}.min.css`)]);
  return /** @type {any} */ (window).uPlot;
}
