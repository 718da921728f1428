// What the browser keeps for this page. Where it keeps nothing, as with cookies blocked, values last as long as the page.

/** @typedef {"localStorage" | "sessionStorage"} Place this browser, or this tab */

/** @type {Map<string, string>} */
const otherwise = new Map();

/** @param {string} name @param {Place} [place] @returns {string | null} */
export function kept(name, place = "localStorage") {
  try {
    return window[place].getItem(name);
  } catch {
    return otherwise.get(place + name) ?? null;
  }
}

/** @param {string} name @param {string} value @param {Place} [place] */
export function keep(name, value, place = "localStorage") {
  try {
    window[place].setItem(name, value);
  } catch {
    otherwise.set(place + name, value);
  }
}

/** @param {string} name @param {Place} [place] */
export function forget(name, place = "localStorage") {
  otherwise.delete(place + name);
  try {
    window[place].removeItem(name);
  } catch {
    // There is nothing to forget.
  }
}
