// The openai and anthropic SDKs for Node against a server: node clients.mjs URL. Prints one JSON object of what they saw.

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const url = process.argv[2];
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Who are you?" }];
const chat = { model: "demo", messages, temperature: 0, max_tokens: 60 };
const parameters = {
  type: "object",
  properties: { city: { type: "string", enum: ["Rome", "Bonn"] } },
  required: ["city"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "weather", parameters } }];

async function joined(stream, take) {
  let text = "";
  for await (const part of stream) text += take(part) ?? "";
  return text;
}

async function failure(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { status: error.status, name: error.constructor.name };
  }
}

const cases = {
  chat: async () => (await openai.chat.completions.create(chat)).choices[0].message.content,
  chat_stream: async () =>
    joined(await openai.chat.completions.create({ ...chat, stream: true }), (chunk) => chunk.choices[0]?.delta.content),
  chat_tool: async () => {
    const answer = await openai.chat.completions.create({ ...chat, tools, tool_choice: "required", max_tokens: 300 });
    return JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments).city;
  },
  completion_stream: async () =>
    joined(
      await openai.completions.create({ model: "demo", prompt: "Once", max_tokens: 8, stream: true }),
      (chunk) => chunk.choices[0]?.text,
    ),
  response: async () =>
    (await openai.responses.create({ model: "demo", input: "Who are you?", temperature: 0, max_output_tokens: 60 }))
      .output_text,
  response_stream: async () =>
    joined(
      await openai.responses.create({
        model: "demo",
        input: "Who are you?",
        temperature: 0,
        max_output_tokens: 60,
        stream: true,
      }),
      (event) => (event.type === "response.output_text.delta" ? event.delta : ""),
    ),
  models: async () => (await openai.models.list()).data[0].id,
  refused: () => failure(openai.chat.completions.create({ ...chat, temperature: 9 })),
  missing: () => failure(openai.chat.completions.create({ ...chat, model: "none" })),
  message: async () =>
    (await anthropic.messages.create({ model: "demo", max_tokens: 60, messages })).content[0].type,
  message_stream: async () =>
    joined(
      anthropic.messages.stream({ model: "demo", max_tokens: 60, messages }),
      (event) => (event.type === "content_block_delta" ? event.delta.text : ""),
    ),
  message_tool: async () => {
    const stream = anthropic.messages.stream({
      model: "demo",
      max_tokens: 300,
      messages,
      tools: [{ name: "weather", input_schema: parameters }],
      tool_choice: { type: "any" },
    });
    return (await stream.finalMessage()).content.find((block) => block.type === "tool_use").input.city;
  },
  counted: async () => (await anthropic.messages.countTokens({ model: "demo", messages })).input_tokens,
  message_refused: () => failure(anthropic.messages.create({ model: "demo", max_tokens: 0, messages })),
};

const seen = {};
for (const [name, run] of Object.entries(cases)) {
  try {
    seen[name] = await run();
  } catch (error) {
    seen[name] = { unexpected: String(error) };
  }
}
console.log(JSON.stringify(seen));
