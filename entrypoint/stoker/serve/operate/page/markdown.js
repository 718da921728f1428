// Markdown as it streams. Models write what their users and documents tell them to, so nothing of it is trusted: HTML is
// text, links lead to http, https and mail only, pictures are links, and DOMPurify lets only the elements below through.

import { copyButton, make } from "./dom.js";
import { DOMPurify, MarkdownIt, highlighter } from "./libraries.js";
import { mathematics, typeset } from "./math.js";

const LONGEST = 400_000; // characters; a longer text is shown as it is
const LONGEST_CODE = 50_000; // of a block whose words are coloured
const DEEPEST = 100; // lists in lists, quotations in quotations
const ALLOWED = {
  ALLOWED_TAGS: [
    ...["p", "br", "hr", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "span"],
    ...["table", "thead", "tbody", "tr", "th", "td", "a", "em", "strong", "s"],
  ],
  ALLOWED_ATTR: ["href", "class", "start", "title"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

const markdown = new MarkdownIt({ html: false, linkify: true, maxNesting: DEEPEST, highlight: colour }).use(mathematics);
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
markdown.validateLink = (/** @type {string} */ address) => /^(?:https?:|mailto:)/i.test(address.trim());

const { rules } = markdown.renderer;
const escapeHtml = markdown.utils.escapeHtml;

/** A picture would be fetched from wherever the model says, and tell that place: it is shown as a link. */
rules.image = (/** @type {any[]} */ tokens, /** @type {number} */ index) => {
  const address = tokens[index].attrGet("src") ?? "";
  const text = tokens[index].content || address;
  return `<a href="${escapeHtml(address)}">${escapeHtml(text)}</a>`;
};
/** The page has h1 and h2 itself, and a level that is left out makes a text hard to follow by its headings. */
markdown.core.ruler.push("headings", (/** @type {any} */ state) => {
  let last = 2;
  for (const token of state.tokens) {
    if (token.type === "heading_open") last = Math.min(Number(token.tag[1]) + 2, last + 1, 6);
    if (token.type.startsWith("heading_")) token.tag = `h${last}`;
  }
});
// How a column is aligned is an inline style in markdown-it, which the page's policy forbids.
for (const cell of ["th", "td"]) {
  rules[`${cell}_open`] = (/** @type {any[]} */ tokens, /** @type {number} */ index) => {
    const side = /text-align:(left|right|center)/.exec(tokens[index].attrGet("style") ?? "")?.[1];
    return side ? `<${cell} class="${side}">` : `<${cell}>`;
  };
}

/** @param {string} code @param {string} language @returns {string} HTML; empty where nothing is to be coloured */
function colour(code, language) {
  if (!highlighter.getLanguage(language) || code.length > LONGEST_CODE) return "";
  return highlighter.highlight(code, { language, ignoreIllegals: true }).value;
}

/** A text that grows: `update` renders again only the blocks that changed. */
export class MarkdownView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {{source: string, node: HTMLElement}[]} */
    this.blocks = [];
  }

  /** @param {string} text @param {boolean} [complete] its last lines may define links of its first ones */
  update(text, complete = false) {
    if (text.length > LONGEST) return this.plain(text);
    const lines = text.split("\n");
    /** @type {any} */
    const environment = {};
    const groups = blocksOf(markdown.parse(text, environment));
    if (complete && Object.keys(environment.references ?? {}).length) this.clear();
    groups.forEach((tokens, index) => {
      const source = sourceOf(tokens, lines);
      if (this.blocks[index]?.source !== source) this.put(index, source, tokens, environment);
    });
    for (const { node } of this.blocks.splice(groups.length)) node.remove();
  }

  clear() {
    this.blocks = [];
    this.root.replaceChildren();
  }

  /** @param {string} text */
  plain(text) {
    this.blocks = [];
    this.root.replaceChildren(make("pre", { class: "plain" }, text));
  }

  /** @param {number} index @param {string} source @param {any[]} tokens @param {any} environment */
  put(index, source, tokens, environment) {
    const node = make("div", { class: "block" });
    node.append(DOMPurify.sanitize(markdown.renderer.render(tokens, markdown.options, environment), ALLOWED));
    // What is nested too deep is left out by the parser.
    if (!node.textContent?.trim() && source.length > DEEPEST) node.append(make("pre", { class: "plain" }, source));
    finish(node, languageOf(tokens[0]));
    if (this.blocks[index]) this.blocks[index].node.replaceWith(node);
    else this.root.append(node);
    this.blocks[index] = { source, node };
    typeset(node);
  }
}

/** The tokens of each block of the outermost level. @param {any[]} tokens */
function blocksOf(tokens) {
  /** @type {any[][]} */
  const groups = [];
  let begins = true;
  for (const token of tokens) {
    if (begins) groups.push([]);
    groups[groups.length - 1].push(token);
    begins = token.level === 0 && token.nesting <= 0;
  }
  return groups;
}

/** @param {any[]} tokens @param {string[]} lines */
function sourceOf([first], lines) {
  const [from, to] = first.map ?? [0, lines.length];
  return lines.slice(from, to).join("\n");
}

/** @param {any} token */
const languageOf = (token) => (token.type === "fence" ? token.info.trim().split(/\s/)[0].slice(0, 30) : "");

/** What a reader needs beside the text: links that leave the page, tables that scroll, code that can be copied.
 * @param {HTMLElement} node @param {string} language */
function finish(node, language) {
  for (const link of node.querySelectorAll("a")) Object.assign(link, { target: "_blank", rel: "noopener noreferrer" });
  for (const table of node.querySelectorAll("table")) {
    const frame = make("div", { class: "table", tabIndex: 0, role: "group", "aria-label": "Table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const code of node.querySelectorAll("pre")) {
    const head = make("div", { class: "code-head" }, make("span", {}, language), copyButton(() => code.textContent ?? ""));
    const frame = make("div", { class: "code" }, head);
    code.tabIndex = 0;
    code.replaceWith(frame);
    frame.append(code);
  }
}
