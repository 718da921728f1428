// Mathematics between $…$, $$…$$, \(…\) and \[…\]: found while Markdown is parsed, set by KaTeX.

import { katex } from "./libraries.js";

const LONGEST = 5000; // characters of one formula; a longer one stays text
const SETTING = { throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 };
const MARKS = [
  { open: "$$", close: "$$", display: true },
  { open: "\\[", close: "\\]", display: true },
  { open: "\\(", close: "\\)", display: false },
  { open: "$", close: "$", display: false },
];

/** @type {any} */
let library = null;

/** A plug-in of markdown-it. @param {any} markdown */
export function mathematics(markdown) {
  const ends = { alt: ["paragraph", "reference", "blockquote", "list"] };
  markdown.block.ruler.before("fence", "math_block", takeBlock, ends);
  markdown.inline.ruler.before("escape", "math_inline", takeInline);
  markdown.renderer.rules.math = (/** @type {any[]} */ tokens, /** @type {number} */ index) => {
    const { content, meta, block } = tokens[index];
    const text = markdown.utils.escapeHtml(content);
    const span = `<span class="${meta.display ? "math display" : "math"}">${text}</span>`;
    return block ? `<p>${span}</p>\n` : span;
  };
}

/** @param {any} state @param {boolean} silent */
function takeInline(state, silent) {
  const mark = MARKS.find(({ open }) => state.src.startsWith(open, state.pos));
  if (!mark) return false;
  const begin = state.pos + mark.open.length;
  const near = state.src.slice(begin, Math.min(state.posMax, begin + LONGEST));
  const length = near.indexOf(mark.close);
  if (length < 1) return false;
  const after = begin + length + mark.close.length;
  // "$5 and $6" is money: a formula has no space inside its marks and no digit after them.
  if (mark.open === "$" && (/^\s|\s$/.test(near.slice(0, length)) || /\d/.test(state.src[after] ?? ""))) return false;
  if (!silent) push(state, near.slice(0, length), mark.display);
  state.pos = after;
  return true;
}

/** A formula that has its lines for itself. @param {any} state @param {number} from @param {number} to @param {boolean} silent */
function takeBlock(state, from, to, silent) {
  const mark = MARKS.find(({ open, display }) => display && lineOf(state, from).startsWith(open));
  if (!mark) return false;
  let text = lineOf(state, from).slice(mark.open.length);
  let line = from;
  while (!text.trimEnd().endsWith(mark.close)) {
    line += 1;
    if (line >= to || text.length > LONGEST) return false;
    text += `\n${lineOf(state, line)}`;
  }
  const content = text.trimEnd().slice(0, -mark.close.length);
  if (content.includes(mark.close)) return false;
  if (silent) return true;
  push(state, content, true, [from, line + 1]);
  state.line = line + 1;
  return true;
}

/** @param {any} state @param {number} line */
const lineOf = (state, line) => state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);

/** @param {any} state @param {string} content @param {boolean} display @param {number[]} [map] lines, of a block */
function push(state, content, display, map) {
  const token = state.push("math", "span", 0);
  token.content = content;
  token.meta = { display };
  if (map) Object.assign(token, { block: true, map });
}

/** Sets the formulas below a node. One that KaTeX rejects is shown as it was written. @param {ParentNode} root */
export async function typeset(root) {
  const found = [...root.querySelectorAll(".math")];
  if (found.length === 0) return;
  library ??= await katex().catch(() => null);
  if (library) found.forEach(set);
}

/** @param {Element} node */
function set(node) {
  const text = node.textContent ?? "";
  try {
    library.render(text, node, { ...SETTING, displayMode: node.classList.contains("display") });
  } catch {
    node.textContent = text;
    node.classList.add("unset");
  }
  node.classList.remove("math");
  node.classList.add("formula");
}
