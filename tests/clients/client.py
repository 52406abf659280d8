"""OpenAI's Python client against a running server: `client.py BASE_URL`.

Lists, chats, streams, completes and embeds with the built-in models, and sees the client's own typed errors on bad
requests. Exits non-zero at the first expectation that does not hold.
"""

import sys

import openai

CHAT, EMBED = "ember", "ember-embed"
HELLO = [{"role": "user", "content": "Hello!"}]


def models(client):
    names = [model.id for model in client.models.list()]
    assert CHAT in names and EMBED in names, names
    model = client.models.retrieve(CHAT)
    assert (model.id, model.object) == (CHAT, "model"), model


def chat(client):
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=8, temperature=0)
    choice = answer.choices[0]
    assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion", answer
    assert choice.message.role == "assistant" and choice.message.content, answer
    assert choice.finish_reason in ("stop", "length"), answer
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage
    assert usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= 8, usage

    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo!"}]
    again = client.chat.completions.create(
        model=CHAT, messages=[{"role": "user", "content": parts}], max_completion_tokens=8, temperature=0
    )
    assert again.choices[0].message.content == choice.message.content, (again, answer)

    several = client.chat.completions.create(
        model=CHAT, messages=HELLO, max_tokens=4, n=2, seed=7, logprobs=True, top_logprobs=2, user="u", metadata={"a": "b"}
    )
    assert [choice.index for choice in several.choices] == [0, 1], several
    for choice in several.choices:
        for token in choice.logprobs.content:
            assert token.logprob <= 0 and len(token.top_logprobs) == 2, token
            assert bytes(token.bytes).decode(errors="replace") == token.token, token


def chat_stream(client):
    request = dict(model=CHAT, messages=HELLO, max_tokens=12, seed=3)
    whole = client.chat.completions.create(**request)
    parts = list(client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    assert parts[0].choices[0].delta.role == "assistant", parts[0]
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content, (text, whole)
    finish = [part.choices[0].finish_reason for part in parts if part.choices]
    assert finish[-1] == whole.choices[0].finish_reason and set(finish[:-1]) <= {None}, finish
    last = parts[-1]
    assert last.choices == [] and last.usage.completion_tokens == whole.usage.completion_tokens, (last, whole)
    assert len({part.id for part in parts}) == 1

    with client.chat.completions.stream(**request) as events:
        try:
            final = events.get_final_completion()
        except openai.LengthFinishReasonError as error:  # what this helper makes of finish_reason length
            final = error.completion
    assert final.choices[0].message.content == whole.choices[0].message.content, (final, whole)


def completions(client):
    prompt = "The future of AI is"
    answer = client.completions.create(model=CHAT, prompt=prompt, max_tokens=4, echo=True, logprobs=2, temperature=0)
    choice = answer.choices[0]
    assert answer.id.startswith("cmpl-") and choice.text.startswith(prompt), answer
    lists = choice.logprobs
    sizes = {len(lists.tokens), len(lists.token_logprobs), len(lists.top_logprobs), len(lists.text_offset)}
    assert len(sizes) == 1, lists
    assert lists.token_logprobs[0] is None and all(value <= 0 for value in lists.token_logprobs[1:]), lists

    score = client.completions.create(model=CHAT, prompt=prompt, max_tokens=0, echo=True, logprobs=1)
    assert score.choices[0].text == prompt and score.usage.completion_tokens == 0, score
    count = len(score.choices[0].logprobs.tokens)
    assert score.choices[0].logprobs.token_logprobs[1:] == lists.token_logprobs[1:count], (score, lists)

    several = client.completions.create(model=CHAT, prompt=["The future is", "The past was"], max_tokens=4, n=2, best_of=2)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3], several

    request = dict(model=CHAT, prompt=["One", "Two"], max_tokens=6, seed=1)
    whole = client.completions.create(**request)
    texts = ["", ""]
    for part in client.completions.create(**request, stream=True):
        for choice in part.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices], (texts, whole)


def embeddings(client):
    texts = ["Hello world", "How are you?"]
    packed = client.embeddings.create(model=EMBED, input=texts)  # the client asks for base64 by itself
    plain = client.embeddings.create(model=EMBED, input=texts, encoding_format="float")
    assert [item.index for item in plain.data] == [0, 1], plain
    for one, other in zip(packed.data, plain.data):
        assert len(one.embedding) == len(other.embedding) > 0
        assert max(abs(a - b) for a, b in zip(one.embedding, other.embedding)) < 1e-6
    assert plain.usage.prompt_tokens == plain.usage.total_tokens > 0, plain.usage
    short = client.embeddings.create(model=EMBED, input=texts[0], dimensions=8).data[0].embedding
    assert len(short) == 8 and abs(sum(value * value for value in short) - 1) < 1e-4, short


def errors(client):
    def raises(kind, code, param, call):
        try:
            call()
        except kind as error:
            assert error.code == code and error.param == param, (error.code, error.param, error)
            assert type(error) is kind, error
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    def ask(**change):
        return lambda: client.chat.completions.create(**{"model": CHAT, "messages": HELLO, **change})

    unknown = raises(openai.NotFoundError, "model_not_found", "model", ask(model="no-such-model"))
    assert unknown.type == "invalid_request_error", unknown
    assert CHAT in unknown.body["details"]["available_models"], unknown.body
    bad, invalid = openai.BadRequestError, "invalid_parameters"
    raises(bad, invalid, "temperature", ask(temperature=2.5))
    raises(bad, invalid, "messages", ask(messages=[]))
    raises(bad, invalid, "messages[0].role", ask(messages=[{"role": "oracle", "content": "Hello!"}]))
    raises(bad, invalid, "response_format", ask(response_format={"type": "json_object"}))
    raises(bad, invalid, "tools", ask(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}]))
    long = [{"role": "user", "content": "word " * 100_000}]
    raises(bad, "context_length_exceeded", None, ask(messages=long))
    raises(bad, invalid, "model", ask(model=EMBED))
    raises(bad, invalid, "model", lambda: client.embeddings.create(model=CHAT, input="Hello"))
    raises(bad, invalid, "best_of", lambda: client.completions.create(model=CHAT, prompt="a", n=3, best_of=2))
    raises(bad, invalid, "suffix", lambda: client.completions.create(model=CHAT, prompt="a", suffix="b"))
    raises(openai.NotFoundError, "model_not_found", "model", lambda: client.models.retrieve("org/none"))


def main():
    client = openai.OpenAI(base_url=f"{sys.argv[1].rstrip('/')}/v1", api_key="not-needed", max_retries=0)
    for check in (models, chat, chat_stream, completions, embeddings, errors):
        check(client)
        print(f"python {openai.__version__}: {check.__name__} ok", flush=True)


main()
