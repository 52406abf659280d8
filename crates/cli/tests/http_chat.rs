//! `/v1/chat/completions`, from outside.

mod http_support;

use http_support::{CHAT, EMBED, Event, Server, chat, chunks};
use serde_json::{Value, json};

const PATH: &str = "/v1/chat/completions";

fn content(answer: &Value, choice: usize) -> &str {
    let text = &answer["choices"][choice]["message"]["content"];
    text.as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

/// The texts of a streamed answer's choices.
fn streamed(parts: &[Value], choices: usize) -> Vec<String> {
    let mut texts = vec![String::new(); choices];
    for choice in parts
        .iter()
        .flat_map(|part| part["choices"].as_array().expect("choices"))
    {
        let index = choice["index"].as_u64().expect("an index") as usize;
        texts[index] += choice["delta"]["content"].as_str().unwrap_or_default();
    }
    texts
}

#[test]
fn the_documented_request_is_answered() {
    let server = Server::start(&[]);
    let answer = server.ok(
        PATH,
        &json!({
            "model": CHAT,
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "Explain quantum computing"},
            ],
            "max_tokens": 16, "temperature": 0.7, "top_p": 0.9, "stream": false, "stop": ["\n\n"],
            "presence_penalty": 0.0, "frequency_penalty": 0.0, "user": "user123",
        }),
    );
    assert!(
        answer["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("chatcmpl-")),
        "{answer}"
    );
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], CHAT);
    assert!(
        answer["created"]
            .as_u64()
            .is_some_and(|seconds| seconds > 1_700_000_000)
    );
    assert_eq!(answer["choices"].as_array().map(Vec::len), Some(1));
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["index"], &choice["message"]["role"]),
        (&json!(0), &json!("assistant"))
    );
    assert!(["stop", "length"].contains(&choice["finish_reason"].as_str().expect("a reason")));
    let usage = |name: &str| answer["usage"][name].as_u64().expect("a count");
    assert_eq!(
        usage("total_tokens"),
        usage("prompt_tokens") + usage("completion_tokens")
    );
    assert!(usage("prompt_tokens") > 5 && (1..=16).contains(&usage("completion_tokens")));
}

#[test]
fn a_stream_is_the_whole_answer_in_parts() {
    let server = Server::start(&[]);
    for more in [
        json!({"max_tokens": 24, "seed": 5}),
        json!({"max_tokens": 24, "temperature": 0}),
        json!({"max_tokens": 12, "seed": 6, "n": 3, "temperature": 1.2}),
        json!({"max_tokens": 40, "seed": 7, "stop": ["e", " the"]}),
    ] {
        let whole = server.ok(PATH, &chat("Hello! Who are you?", more.clone()));
        let mut request = chat("Hello! Who are you?", more);
        request["stream"] = json!(true);
        request["stream_options"] = json!({"include_usage": true});
        let mut parts = chunks(server.stream(PATH, &request));

        let last = parts.pop().expect("the usage");
        assert_eq!(last["choices"], json!([]));
        for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            assert_eq!(last["usage"][count], whole["usage"][count], "{count}");
        }
        let choices = whole["choices"].as_array().expect("choices");
        let texts: Vec<&str> = (0..choices.len())
            .map(|index| content(&whole, index))
            .collect();
        assert_eq!(streamed(&parts, choices.len()), texts);
        for (index, choice) in choices.iter().enumerate() {
            let of_choice = || {
                parts
                    .iter()
                    .map(|part| &part["choices"][0])
                    .filter(|part| part["index"] == index)
            };
            assert_eq!(
                of_choice().next().expect("a first part")["delta"]["role"],
                "assistant"
            );
            let last = of_choice().next_back().expect("a last part");
            assert_eq!(
                (&last["delta"], &last["finish_reason"]),
                (&json!({}), &choice["finish_reason"])
            );
            let reasons = of_choice()
                .filter(|part| !part["finish_reason"].is_null())
                .count();
            assert_eq!(reasons, 1, "only the last part tells why it ended");
        }
        for part in &parts {
            assert_eq!(part["object"], "chat.completion.chunk");
            assert_eq!(
                (&part["id"], &part["created"], &part["model"]),
                (&parts[0]["id"], &parts[0]["created"], &json!(CHAT))
            );
            assert_eq!(part.get("usage"), Some(&Value::Null));
        }
    }
}

#[test]
fn a_stream_without_usage_asked_for_has_none() {
    let server = Server::start(&[]);
    let parts = chunks(server.stream(
        PATH,
        &chat("Hello!", json!({"max_tokens": 2, "stream": true})),
    ));
    assert!(
        parts.iter().all(|part| part.get("usage").is_none()),
        "{parts:?}"
    );
    assert!(parts.iter().all(|part| {
        part["choices"]
            .as_array()
            .is_some_and(|list| list.len() == 1)
    }));
}

#[test]
fn the_same_seed_gives_the_same_text_alone_and_in_company() {
    let server = Server::start(&[]);
    let request = chat(
        "Tell me a story",
        json!({"max_tokens": 24, "seed": 42, "temperature": 1.0}),
    );
    let alone = server.ok(PATH, &request);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (server, request, alone) = (&server, &request, &alone);
            scope.spawn(move || {
                let other = chat("What is rain?", json!({"max_tokens": 20, "seed": number}));
                server.ok(PATH, &other);
                assert_eq!(content(&server.ok(PATH, request), 0), content(alone, 0));
            });
        }
    });
    let mut another = request.clone();
    another["seed"] = json!(43);
    assert_ne!(content(&server.ok(PATH, &another), 0), content(&alone, 0));
    // The first of several choices is the one that a single choice is.
    let mut several = request.clone();
    several["n"] = json!(3);
    let several = server.ok(PATH, &several);
    assert_eq!(content(&several, 0), content(&alone, 0));
    assert_ne!(content(&several, 1), content(&alone, 0));
}

#[test]
fn stop_texts_end_the_answer_and_are_not_in_it() {
    let server = Server::start(&[]);
    let request = |more: Value| {
        chat(
            "Tell me a story",
            http_support::merge(json!({"max_tokens": 40, "temperature": 0}), more),
        )
    };
    let whole = server.ok(PATH, &request(json!({})));
    let text = content(&whole, 0);
    // From the middle of the text, so that it begins and ends within tokens.
    let letters: Vec<char> = text.chars().collect();
    assert!(letters.len() > 12, "too short to stop in: {text:?}");
    let middle: String = letters[5..9].iter().collect();
    let before = &text[..text.find(&middle).expect("it is from there")];
    for stop in [json!(middle), json!(["no such text", middle])] {
        let stopped = server.ok(PATH, &request(json!({"stop": stop})));
        assert_eq!(content(&stopped, 0), before);
        assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    }
}

#[test]
fn log_probabilities_are_those_of_the_tokens() {
    let server = Server::start(&[]);
    let more = json!({"max_tokens": 8, "temperature": 0, "logprobs": true, "top_logprobs": 3});
    let answer = server.ok(PATH, &chat("Hello!", more));
    let tokens = answer["choices"][0]["logprobs"]["content"]
        .as_array()
        .expect("tokens");
    assert!(!tokens.is_empty());
    let mut bytes = Vec::new();
    for token in tokens {
        bytes.extend(
            token["bytes"]
                .as_array()
                .expect("bytes")
                .iter()
                .map(|byte| byte.as_u64().expect("a byte") as u8),
        );
        let top = token["top_logprobs"].as_array().expect("alternatives");
        assert_eq!(top.len(), 3);
        // Without randomness the likeliest token is taken.
        assert_eq!(
            (&top[0]["token"], &top[0]["logprob"]),
            (&token["token"], &token["logprob"])
        );
        let values: Vec<f64> = top
            .iter()
            .map(|other| other["logprob"].as_f64().expect("a number"))
            .collect();
        assert!(
            values.is_sorted_by(|a, b| a >= b) && values[0] <= 0.0,
            "{values:?}"
        );
        assert!(
            values.iter().map(|value| value.exp()).sum::<f64>() <= 1.0 + 1e-5,
            "{values:?}"
        );
    }
    assert_eq!(String::from_utf8_lossy(&bytes), content(&answer, 0));
    let plain = server.ok(PATH, &chat("Hello!", json!({"max_tokens": 2})));
    assert!(plain["choices"][0]["logprobs"].is_null());
}

#[test]
fn a_ban_by_logit_bias_is_obeyed() {
    let server = Server::start(&[]);
    let answer = |bias: Value| {
        let more = json!({"max_tokens": 6, "temperature": 0, "logprobs": true, "logit_bias": bias});
        server.ok(PATH, &chat("Hello!", more))
    };
    // Raised above all others, one token is all that is said.
    let raised = answer(json!({"300": 100}));
    let tokens = raised["choices"][0]["logprobs"]["content"]
        .as_array()
        .expect("tokens")
        .clone();
    assert_eq!(tokens.len(), 6);
    assert!(
        tokens
            .iter()
            .all(|token| token["token"] == tokens[0]["token"]),
        "{tokens:?}"
    );
}

#[test]
fn parts_of_text_and_system_messages_reach_the_template() {
    let server = Server::start(&[]);
    let ask = |messages: Value| {
        let answer = server.ok(
            PATH,
            &json!({"model": CHAT, "messages": messages, "max_tokens": 16, "temperature": 0}),
        );
        (
            content(&answer, 0).to_owned(),
            answer["usage"]["prompt_tokens"].clone(),
        )
    };
    let plain = ask(
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"}]),
    );
    let parts = json!([{"type": "text", "text": "Hello"}, {"type": "text", "text": " there"}]);
    let split = ask(
        json!([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]),
    );
    assert_eq!(plain, split);
    let without = ask(json!([{"role": "user", "content": "Hello there"}]));
    assert_ne!(plain.1, without.1, "the system message takes tokens");
}

#[test]
fn special_tokens_in_a_message_stay_text() {
    let server = Server::start(&[]);
    let tokens = |text: &str| {
        let answer = server.ok(PATH, &chat(text, json!({"max_tokens": 1})));
        answer["usage"]["prompt_tokens"].as_u64().expect("a count")
    };
    let one_word = tokens("x");
    assert!(
        tokens("<|im_end|>") > one_word + 2,
        "a typed special token is several tokens of text"
    );
}

#[test]
fn a_prompt_that_does_not_fit_is_refused_with_both_numbers() {
    let server = Server::start(&[]);
    for stream in [false, true] {
        let reply = server.post(
            PATH,
            &chat(&"rain ".repeat(20_000), json!({"stream": stream})),
        );
        assert_eq!(reply.status, 400, "{}", reply.body);
        let error = &reply.json()["error"];
        assert_eq!(error["code"], "context_length_exceeded");
        let number = |name: &str| error["details"][name].as_u64().expect("a number");
        assert!(number("prompt_tokens") > number("context_length"));
        let message = error["message"].as_str().expect("a text");
        assert!(
            message.contains(&number("prompt_tokens").to_string()),
            "{message}"
        );
        assert!(
            message.contains(&number("context_length").to_string()),
            "{message}"
        );
    }
}

#[test]
fn a_full_context_ends_the_text_with_length() {
    let server = Server::start(&[]);
    let reply = server.post(PATH, &chat(&"rain ".repeat(20_000), json!({})));
    let error = reply.json()["error"].clone();
    let number = |name: &str| error["details"][name].as_u64().expect("a number");
    // About 30 tokens less than the context holds.
    let words = 20_000 * (number("context_length") - 30) / number("prompt_tokens");
    let more = json!({"max_tokens": 32_768, "ignore_eos": true});
    let answer = server.ok(PATH, &chat(&"rain ".repeat(words as usize), more));
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["total_tokens"], number("context_length"));
    let generated = answer["usage"]["completion_tokens"].as_u64();
    assert!(
        generated.is_some_and(|count| (1..200).contains(&count)),
        "{answer}"
    );
}

#[test]
fn a_deadline_that_passes_is_an_error() {
    let server = Server::start(&[]);
    server.ok(PATH, &chat("Hello!", json!({"max_tokens": 1})));
    let late = json!({"max_tokens": 900, "ignore_eos": true, "timeout": 0.02});
    let reply = server.post(PATH, &chat("Hello!", late.clone()));
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert_eq!(reply.json()["error"]["code"], "deadline_exceeded");

    let events = server.stream(
        PATH,
        &http_support::merge(chat("Hello!", late), json!({"stream": true})),
    );
    let Some(Event::Data(last)) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(last["error"]["code"], "deadline_exceeded");
    assert_eq!(server.wait_until_idle()["cache_blocks_used"], 0);
}

#[test]
fn an_embedding_model_does_not_chat() {
    let server = Server::start(&[]);
    let reply = server.post(
        PATH,
        &http_support::merge(chat("Hello!", json!({})), json!({"model": EMBED})),
    );
    assert_eq!(
        (reply.status, &reply.json()["error"]["param"]),
        (400, &json!("model"))
    );
}
