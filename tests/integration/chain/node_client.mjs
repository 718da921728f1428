// The openai SDK of Node.js against a server: node client.mjs URL. Says "all well" last, or throws.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const base = { model: "demo", messages: [{ role: "user", content: "Who are you?" }], max_tokens: 200 };
const tool = {
  type: "function",
  function: {
    name: "weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string", maxLength: 20 } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};

const whole = await client.chat.completions.create({ ...base, temperature: 0 });
assert.ok(whole.choices[0].message.content.length > 0);

let streamed = "";
for await (const chunk of await client.chat.completions.create({ ...base, temperature: 0, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(streamed, whole.choices[0].message.content);

const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"], additionalProperties: false };
const json = await client.chat.completions.create({
  ...base,
  response_format: { type: "json_schema", json_schema: { name: "answer", strict: true, schema } },
});
assert.equal(typeof JSON.parse(json.choices[0].message.content).ok, "boolean");

const called = await client.chat.completions.create({ ...base, tools: [tool], tool_choice: "required", parallel_tool_calls: false });
assert.equal(called.choices[0].finish_reason, "tool_calls");
assert.equal(typeof JSON.parse(called.choices[0].message.tool_calls[0].function.arguments).city, "string");

const stream = client.chat.completions.stream({ ...base, tools: [tool], tool_choice: "required", parallel_tool_calls: false });
let pieces = 0;
stream.on("tool_calls.function.arguments.delta", () => (pieces += 1));
const final = await stream.finalChatCompletion();
assert.ok(pieces > 3);
assert.equal(typeof JSON.parse(final.choices[0].message.tool_calls[0].function.arguments).city, "string");

const choice = await client.completions.create({ model: "demo", prompt: "Say:", guided_choice: ["yes", "no"], max_tokens: 9 });
assert.ok(["yes", "no"].includes(choice.choices[0].text));

const refused = await client.chat.completions.create({ ...base, logit_bias: { 5: 1 } }).catch((error) => error);
assert.equal(refused.status, 400);
assert.equal(refused.param, "logit_bias");

console.log("all well");
