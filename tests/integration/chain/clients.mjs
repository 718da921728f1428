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
const forced = { ...chat, tools, tool_choice: "required", parallel_tool_calls: false, max_tokens: 300 };
const form = (schema) => ({ type: "json_schema", json_schema: { name: "answer", strict: true, schema } });
const city = (call) => JSON.parse(call.function.arguments).city;

async function say(extra) {
  return (await openai.chat.completions.create({ ...chat, ...extra })).choices[0].message.content;
}

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
    return { status: error.status, name: error.constructor.name, param: error.param };
  }
}

const cases = {
  chat: async () => (await openai.chat.completions.create(chat)).choices[0].message.content,
  chat_stream: async () =>
    joined(await openai.chat.completions.create({ ...chat, stream: true }), (chunk) => chunk.choices[0]?.delta.content),
  roles: () =>
    say({
      messages: [
        { role: "developer", content: "Be brief." },
        { role: "system", content: [{ type: "text", text: "Be kind." }], name: "s" },
        { role: "user", content: [{ type: "text", text: "Hello" }], name: "anna" },
        { role: "assistant", content: "Hello." },
        ...messages,
      ],
    }),
  tool_required: async () =>
    city((await openai.chat.completions.create(forced)).choices[0].message.tool_calls[0]),
  tool_named: async () => {
    const tool_choice = { type: "function", function: { name: "weather" } };
    const { message, finish_reason } = (await openai.chat.completions.create({ ...forced, tool_choice })).choices[0];
    return [finish_reason, city(message.tool_calls[0])];
  },
  tool_none: () => say({ tools, tool_choice: "none" }),
  tool_streamed: async () => {
    const stream = openai.chat.completions.stream(forced);
    let pieces = 0;
    stream.on("tool_calls.function.arguments.delta", () => (pieces += 1));
    const call = (await stream.finalChatCompletion()).choices[0].message.tool_calls[0];
    return [pieces, city(call)];
  },
  tool_answered: () => {
    const call = { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city": "Bonn"}' } };
    const answered = { role: "tool", tool_call_id: "call_1", content: "sunny" };
    return say({ tools, messages: [...messages, { role: "assistant", content: null, tool_calls: [call] }, answered] });
  },
  json_schema: async () => JSON.parse(await say({ response_format: form(parameters), max_tokens: 300 })).city,
  json_object: async () => (await say({ response_format: { type: "json_object" } }))[0],
  guided_choice: () => say({ guided_choice: ["yes", "no"] }),
  guided_regex: () => say({ guided_regex: "[xy]{4}" }),
  guided_json: async () => JSON.parse(await say({ guided_json: { enum: [1, 2] } })),
  guided_grammar: () => say({ guided_grammar: 'root ::= "(" [0-9] ")"' }),
  nvext: () => say({ nvext: { guided_choice: ["yes", "no"] } }),
  structured_outputs: () => say({ structured_outputs: { regex: "[xy]{4}" } }),
  template_arguments: () => say({ chat_template_kwargs: { anything: true } }),
  log_probabilities: async () => {
    const answer = await openai.chat.completions.create({ ...chat, logprobs: true, max_tokens: 5 });
    return answer.choices[0].logprobs.content.map((entry) => entry.token).join("");
  },
  choices: async () => (await openai.chat.completions.create({ ...chat, n: 3, max_tokens: 3 })).choices.length,
  seeds: async () => {
    const asked = { model: "demo", prompt: "Once", seed: 11, temperature: 1, max_tokens: 20 };
    const [first, second] = [await openai.completions.create(asked), await openai.completions.create(asked)];
    return first.choices[0].text === second.choices[0].text;
  },
  stop: () => say({ stop: [" "] }),
  usage: async () => {
    const stream_options = { include_usage: true };
    let last;
    for await (const chunk of await openai.chat.completions.create({ ...chat, stream: true, stream_options })) last = chunk;
    return last.usage.completion_tokens > 0 && last.choices.length === 0;
  },
  best_and_echo: async () =>
    (await openai.completions.create({ model: "demo", prompt: "Once", best_of: 2, echo: true, max_tokens: 5 })).choices[0]
      .text,
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
  response_tool: async () => {
    const tool = { type: "function", name: "weather", parameters, strict: true };
    const asked = { model: "demo", input: "Go", tools: [tool], tool_choice: "required", max_output_tokens: 300 };
    const { output } = await openai.responses.create(asked);
    return JSON.parse(output.find((item) => item.type === "function_call").arguments).city;
  },
  response_form: async () => {
    const format = { type: "json_schema", name: "trip", schema: parameters, strict: true };
    const asked = { model: "demo", input: "Where to?", text: { format }, max_output_tokens: 300 };
    return JSON.parse((await openai.responses.create(asked)).output_text).city;
  },
  tokens: async () => {
    const { tokens } = await openai.post("/../tokenize", { body: { prompt: "Once", add_special_tokens: false } });
    return (await openai.post("/../detokenize", { body: { tokens } })).prompt;
  },
  models: async () => (await openai.models.list()).data[0].id,
  refused: () => failure(openai.chat.completions.create({ ...chat, temperature: 9 })),
  refused_bias: () => failure(openai.chat.completions.create({ ...chat, logit_bias: { 1000000: 1 } })),
  refused_top: () => failure(openai.chat.completions.create({ ...chat, logprobs: true, top_logprobs: 21 })),
  refused_earlier: () =>
    failure(openai.responses.create({ model: "demo", input: "And?", previous_response_id: "resp_1" })),
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
