// Asks a gateway by OpenAI's client for Node: node - BASE SCENE…, with this as input.
// Prints, as one JSON object, what the client made of each scene.

import OpenAI from "openai";

const [base, ...wanted] = process.argv.slice(2);
const client = new OpenAI({ apiKey: "unused", baseURL: `${base}/v1`, maxRetries: 0 });
const model = "tiny";
const messages = [{ role: "user", content: "hi" }];
const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [
  { type: "function", function: { name: "weather", parameters } },
];

const said = ({ message, finish_reason }) => ({
  text: message.content,
  calls: (message.tool_calls ?? []).map((call) => call.function),
  finish: finish_reason,
});

const scenes = {
  async whole() {
    const found = await client.chat.completions.create({ model, messages });
    return { ...said(found.choices[0]), tokens: found.usage.completion_tokens };
  },
  async stream() {
    const stream = client.chat.completions.stream({
      model, messages, stream_options: { include_usage: true },
    });
    let chunks = 0;
    for await (const chunk of stream) chunks += chunk.choices.length;
    const found = await stream.finalChatCompletion();
    return {
      ...said(found.choices[0]),
      tokens: found.usage.completion_tokens,
      isStreamed: chunks > 3,
    };
  },
  async tools() {
    return called(await client.chat.completions.create({ model, messages, tools }));
  },
  async streamedTools() {
    const stream = client.chat.completions.stream({ model, messages, tools });
    return called(await stream.finalChatCompletion());
  },
  async response() {
    const first = await client.responses.create({ model, input: "hi" });
    const next = { model, input: "and?", previous_response_id: first.id };
    const second = await client.responses.create(next);
    return { text: second.output_text, status: second.status };
  },
  async streamedResponse() {
    const stream = client.responses.stream({ model, input: "hi" });
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    const found = await stream.finalResponse();
    return { text: found.output_text, first: kinds[0], last: kinds.at(-1) };
  },
  async responseWithTools() {
    const flat = [{ type: "function", name: "weather", parameters, strict: false }];
    const found = await client.responses.create({ model, input: "hi", tools: flat });
    const call = found.output.find((item) => item.type === "function_call");
    return { name: call.name, arguments: JSON.parse(call.arguments) };
  },
  async models() {
    const found = [];
    for await (const each of client.models.list()) found.push(each.id);
    return found;
  },
  async unknownModel() {
    return client.chat.completions.create({ model: "nobody's", messages });
  },
  broken: readToTheEnd,
  cut: readToTheEnd,
};

async function readToTheEnd() {
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const chunk of stream) void chunk;
}

// Gives the results of the calls back; answers the calls and what was said to that.
async function called(found) {
  const { message } = found.choices[0];
  const results = message.tool_calls.map(({ id }) => ({
    role: "tool", tool_call_id: id, content: "sunny",
  }));
  const all = [...messages, message, ...results];
  const told = await client.chat.completions.create({ model, messages: all, tools });
  const calls = message.tool_calls.map(({ function: { name, arguments: text } }) => ({
    name, arguments: JSON.parse(text),
  }));
  return { calls, told: told.choices[0].message.content };
}

const found = {};
for (const scene of wanted) {
  try {
    found[scene] = await scenes[scene]();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    found[scene] = {
      error: error.constructor.name, status: error.status, code: error.code,
    };
  }
}
console.log(JSON.stringify(found));
