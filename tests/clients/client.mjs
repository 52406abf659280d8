// OpenAI's Node client against a running server: `node client.mjs BASE_URL`.
//
// Lists, chats, streams, completes and embeds with the built-in models, and sees the client's own typed errors on bad
// requests. Exits non-zero at the first expectation that does not hold.

import assert from "node:assert/strict";
import OpenAI from "openai";

const CHAT = "ember";
const EMBED = "ember-embed";
const HELLO = [{ role: "user", content: "Hello!" }];

async function models(client) {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert(names.includes(CHAT) && names.includes(EMBED), names.join());
  const model = await client.models.retrieve(CHAT);
  assert.equal(model.id, CHAT);
}

async function chat(client) {
  const request = { model: CHAT, messages: HELLO, max_tokens: 12, seed: 3 };
  const whole = await client.chat.completions.create(request);
  const choice = whole.choices[0];
  assert.equal(choice.message.role, "assistant");
  assert(["stop", "length"].includes(choice.finish_reason));
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);

  let text = "";
  let usage = null;
  const options = { stream: true, stream_options: { include_usage: true } };
  for await (const part of await client.chat.completions.create({ ...request, ...options })) {
    text += part.choices[0]?.delta?.content ?? "";
    usage = part.usage ?? usage;
  }
  assert.equal(text, choice.message.content);
  assert.deepEqual(usage.completion_tokens, whole.usage.completion_tokens);

  const helper = client.chat.completions.stream(request);
  assert.equal(await helper.finalContent(), choice.message.content);
}

async function hangUp(client) {
  const stream = await client.chat.completions.create({ model: CHAT, messages: HELLO, stream: true });
  for await (const part of stream) {
    assert.equal(part.object, "chat.completion.chunk");
    break; // closes the connection
  }
}

async function completions(client) {
  const prompt = "The future of AI is";
  const answer = await client.completions.create({ model: CHAT, prompt, max_tokens: 4, echo: true, logprobs: 1 });
  assert(answer.choices[0].text.startsWith(prompt));
  assert.equal(answer.choices[0].logprobs.tokens.length, answer.choices[0].logprobs.token_logprobs.length);

  const request = { model: CHAT, prompt, max_tokens: 6, seed: 1, n: 2 };
  const whole = await client.completions.create(request);
  const texts = ["", ""];
  for await (const part of await client.completions.create({ ...request, stream: true })) {
    for (const choice of part.choices) texts[choice.index] += choice.text;
  }
  assert.deepEqual(texts, whole.choices.map((choice) => choice.text));
}

async function embeddings(client) {
  const input = ["Hello world", "How are you?"];
  const packed = await client.embeddings.create({ model: EMBED, input });
  const plain = await client.embeddings.create({ model: EMBED, input, encoding_format: "float" });
  assert.equal(packed.data.length, 2);
  packed.data.forEach(({ embedding }, index) => {
    const other = plain.data[index].embedding;
    assert.equal(embedding.length, other.length);
    embedding.forEach((value, at) => assert(Math.abs(value - other[at]) < 1e-6));
  });
}

async function errors(client) {
  const ask = (change) => client.chat.completions.create({ model: CHAT, messages: HELLO, ...change });
  const raises = (kind, code, param, call) =>
    assert.rejects(call, (error) => {
      assert(error instanceof kind, `${error}`);
      assert.equal(error.code, code);
      assert.equal(error.param, param);
      return true;
    });
  const bad = OpenAI.BadRequestError;
  await raises(OpenAI.NotFoundError, "model_not_found", "model", ask({ model: "no-such-model" }));
  await raises(bad, "invalid_parameters", "temperature", ask({ temperature: 2.5 }));
  await raises(bad, "invalid_parameters", "messages[0].role", ask({ messages: [{ role: "oracle", content: "Hi" }] }));
  await raises(bad, "invalid_parameters", "response_format", ask({ response_format: { type: "json_object" } }));
  const long = [{ role: "user", content: "word ".repeat(100_000) }];
  await raises(bad, "context_length_exceeded", null, ask({ messages: long }));
  await raises(bad, "invalid_parameters", "model", client.embeddings.create({ model: CHAT, input: "Hello" }));
}

const client = new OpenAI({ baseURL: `${process.argv[2].replace(/\/$/, "")}/v1`, apiKey: "not-needed", maxRetries: 0 });
for (const check of [models, chat, hangUp, completions, embeddings, errors]) {
  await check(client);
  console.log(`node: ${check.name} ok`);
}
