// Requests to the server that this page came from, with the API key if one is needed.

import { forget, keep, kept } from "./storage.js";

const KEY = "stoker-key";

let key = kept(KEY, "sessionStorage") ?? kept(KEY) ?? "";

export class ServerError extends Error {
  /** @param {number} status 0 when nobody answered @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @returns {Record<string, string>} */
export function headers() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export const hasKey = () => key !== "";

/** Keeps a key in this tab, or in this browser. An empty one forgets it. @param {string} value @param {boolean} remember */
export function setKey(value, remember) {
  key = value;
  forget(KEY, "sessionStorage");
  forget(KEY);
  if (value) keep(KEY, value, remember ? "localStorage" : "sessionStorage");
}

/**
 * @param {string} path
 * @param {RequestInit} [request]
 * @returns {Promise<Response>} with a good status; throws ServerError
 */
export async function ask(path, request = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...request, headers: { ...request.headers, ...headers() } });
  } catch (failure) {
    if (/** @type {Error} */ (failure).name === "AbortError") throw failure;
    throw new ServerError(0, "The server does not answer. Check that it is running, then send again.");
  }
  if (!answer.ok) throw new ServerError(answer.status, await messageOf(answer));
  return answer;
}

/** @param {Response} answer */
async function messageOf(answer) {
  const body = await answer.text();
  try {
    return JSON.parse(body).error.message;
  } catch {
    return `The server answered with status ${answer.status}.`;
  }
}

/** @param {string} path @returns {Promise<any>} */
export const get = async (path) => (await ask(path)).json();

/** The shell command that sends a request; of a key it names only the variable. @param {string} path @param {object} request */
export function curl(path, request) {
  const quoted = JSON.stringify(request, null, 1).replaceAll("'", "'\\''");
  const authorization = key ? " \\\n  -H \"Authorization: Bearer $STOKER_API_KEY\"" : "";
  const address = new URL(path, document.baseURI);
  return `curl ${address} \\\n  -H 'Content-Type: application/json'${authorization} \\\n  -d '${quoted}'`;
}
