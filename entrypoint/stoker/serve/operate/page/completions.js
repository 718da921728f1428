// Answers of /v1/chat/completions as they arrive.

import { ask } from "./server.js";

export const PATH = "v1/chat/completions";

/**
 * @typedef {{id: string, type: "function", function: {name: string, arguments: string}}} ToolCall
 * @typedef {{text: string, reasoning: string, calls: ToolCall[], finish: string, tokens: number,
 *   seconds: number, firstSeconds: number}} Answer
 */

/** @returns {Answer} */
export const emptyAnswer = () => ({
  text: "", reasoning: "", calls: [], finish: "", tokens: 0, seconds: 0, firstSeconds: 0,
});

/**
 * Fills `answer` as it comes and calls `changed` after each part. Throws ServerError, or an Error for one inside the stream.
 * @param {object} request
 * @param {Answer} answer
 * @param {() => void} changed
 * @param {AbortSignal} signal
 */
export async function stream(request, answer, changed, signal) {
  const started = performance.now();
  const response = await ask(PATH, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const data of events(/** @type {ReadableStream} */ (response.body))) {
    if (data === "[DONE]") break;
    take(answer, JSON.parse(data));
    const seconds = (performance.now() - started) / 1000;
    if (!answer.firstSeconds && (answer.text || answer.reasoning || answer.calls.length)) answer.firstSeconds = seconds;
    answer.seconds = seconds;
    changed();
  }
}

/** The data of server-sent events, whatever pieces they arrive in. @param {ReadableStream<Uint8Array>} body */
async function* events(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = /** @type {string} */ (parts.pop());
    for (const part of parts) {
      if (part.startsWith("data: ")) yield part.slice("data: ".length);
    }
  }
}

/** @param {Answer} answer @param {any} chunk */
function take(answer, chunk) {
  if (chunk.error) throw new Error(chunk.error.message);
  if (chunk.usage) answer.tokens = chunk.usage.completion_tokens;
  const choice = chunk.choices[0];
  if (!choice) return;
  answer.text += choice.delta.content ?? "";
  answer.reasoning += choice.delta.reasoning_content ?? "";
  for (const part of choice.delta.tool_calls ?? []) takeCall(answer.calls, part);
  if (choice.finish_reason) answer.finish = choice.finish_reason;
}

/** @param {ToolCall[]} calls @param {any} part of the call with that index */
function takeCall(calls, part) {
  const call = (calls[part.index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
  call.id ||= part.id ?? "";
  call.function.name ||= part.function?.name ?? "";
  call.function.arguments += part.function?.arguments ?? "";
}
