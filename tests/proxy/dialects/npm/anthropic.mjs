// Asks a gateway by Anthropic's client for Node: node - BASE SCENE…, with this as input.
// Prints, as one JSON object, what the client made of each scene.

import Anthropic from "@anthropic-ai/sdk";

const [baseURL, ...wanted] = process.argv.slice(2);
const client = new Anthropic({ apiKey: "unused", baseURL, maxRetries: 0 });
const asked = {
  model: "tiny", max_tokens: 500, messages: [{ role: "user", content: "hi" }],
};
const input_schema = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ name: "weather", input_schema }];

const said = (message) => ({
  text: message.content.map((block) => block.text ?? "").join(""),
  finish: message.stop_reason,
  tokens: message.usage.output_tokens,
});

const scenes = {
  async whole() {
    return said(await client.messages.create(asked));
  },
  async stream() {
    const stream = client.messages.stream(asked);
    let deltas = 0;
    stream.on("text", () => { deltas += 1; });
    return { ...said(await stream.finalMessage()), isStreamed: deltas > 3 };
  },
  async tools() {
    return called(await client.messages.create({ ...asked, tools }));
  },
  async streamedTools() {
    return called(await client.messages.stream({ ...asked, tools }).finalMessage());
  },
  async count() {
    const { model, messages } = asked;
    const found = await client.messages.countTokens({ model, messages });
    return found.input_tokens > 0;
  },
  async unknownModel() {
    return client.messages.create({ ...asked, model: "nobody's" });
  },
  broken: readToTheEnd,
  cut: readToTheEnd,
};

function readToTheEnd() {
  return client.messages.stream(asked).finalMessage();
}

// Gives the results of the calls back; answers the calls and what was said to that.
async function called(message) {
  const uses = message.content.filter((block) => block.type === "tool_use");
  const content = uses.map(({ id }) => ({
    type: "tool_result", tool_use_id: id, content: "sunny",
  }));
  const turns = [{ role: "assistant", content: message.content }, { role: "user", content }];
  const told = await client.messages.create({
    ...asked, tools, messages: [...asked.messages, ...turns],
  });
  const calls = uses.map(({ name, input }) => ({ name, arguments: input }));
  return { calls, told: said(told).text };
}

const found = {};
for (const scene of wanted) {
  try {
    found[scene] = await scenes[scene]();
  } catch (error) {
    if (!(error instanceof Anthropic.APIError)) throw error;
    found[scene] = { error: error.constructor.name, status: error.status, type: error.type };
  }
}
console.log(JSON.stringify(found));
