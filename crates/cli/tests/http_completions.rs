//! `/v1/completions`, from outside.

mod http_support;

use http_support::{CHAT, Server, chunks, completion};
use serde_json::{Value, json};

const PATH: &str = "/v1/completions";
const PROMPT: &str = "The future of AI is";

fn text(answer: &Value, choice: usize) -> &str {
    let text = &answer["choices"][choice]["text"];
    text.as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

fn list<'a>(answer: &'a Value, choice: usize, name: &str) -> &'a Vec<Value> {
    let list = &answer["choices"][choice]["logprobs"][name];
    list.as_array()
        .unwrap_or_else(|| panic!("no {name}: {answer}"))
}

#[test]
fn the_documented_request_is_answered() {
    let server = Server::start(&[]);
    let answer = server.ok(
        PATH,
        &json!({
            "model": CHAT, "prompt": "The future of artificial intelligence is", "max_tokens": 12, "temperature": 0.8,
            "top_p": 1.0, "n": 1, "stream": false, "logprobs": null, "echo": false, "stop": ["\n"],
            "presence_penalty": 0.0, "frequency_penalty": 0.0, "best_of": 1, "user": "user123",
        }),
    );
    assert!(
        answer["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("cmpl-")),
        "{answer}"
    );
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("text_completion"), &json!(CHAT))
    );
    assert_eq!(answer["choices"].as_array().map(Vec::len), Some(1));
    let choice = &answer["choices"][0];
    assert!(choice["logprobs"].is_null() && choice["index"] == 0 && choice["text"].is_string());
    let usage = |name: &str| answer["usage"][name].as_u64().expect("a count");
    assert_eq!(
        usage("total_tokens"),
        usage("prompt_tokens") + usage("completion_tokens")
    );
}

#[test]
fn a_text_and_its_tokens_are_the_same_prompt() {
    let server = Server::start(&[]);
    let more = json!({"max_tokens": 0, "echo": true, "logprobs": 0});
    let scored = server.ok(PATH, &completion(PROMPT, more));
    let count = list(&scored, 0, "tokens").len();
    // Token ids are not told, so they are found: the vocabulary begins with control tokens, then bytes.
    let request = |prompt: Value| {
        completion(
            prompt,
            json!({"max_tokens": 8, "temperature": 0, "echo": true}),
        )
    };
    let ids: Value = (0..count).map(|index| json!(300 + index)).collect();
    let echoed = server.ok(PATH, &request(ids.clone()));
    assert_eq!(echoed["usage"]["prompt_tokens"], count);
    let lists = server.ok(PATH, &request(json!([ids, ids])));
    assert_eq!(
        (text(&lists, 0), text(&lists, 1)),
        (text(&echoed, 0), text(&echoed, 0))
    );
}

#[test]
fn choices_are_numbered_prompt_by_prompt() {
    let server = Server::start(&[]);
    let more = json!({"max_tokens": 6, "n": 2, "best_of": 2, "seed": 1});
    let answer = server.ok(
        PATH,
        &completion(json!(["The future is", "The past was"]), more.clone()),
    );
    let indexes: Vec<&Value> = answer["choices"]
        .as_array()
        .expect("choices")
        .iter()
        .map(|choice| &choice["index"])
        .collect();
    assert_eq!(indexes, [0, 1, 2, 3]);
    // A prompt among several is answered as it is alone.
    let alone = server.ok(PATH, &completion("The past was", more));
    assert_eq!(
        (text(&answer, 2), text(&answer, 3)),
        (text(&alone, 0), text(&alone, 1))
    );
    let tokens = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().expect("a count");
    let first = server.ok(PATH, &completion("The future is", json!({"max_tokens": 1})));
    assert_eq!(
        tokens(&answer),
        tokens(&alone) + tokens(&first),
        "each prompt counts once"
    );
}

#[test]
fn an_echo_precedes_the_text() {
    let server = Server::start(&[]);
    let more = |echo: bool| json!({"max_tokens": 6, "temperature": 0, "echo": echo});
    let plain = server.ok(PATH, &completion(PROMPT, more(false)));
    let echoed = server.ok(PATH, &completion(PROMPT, more(true)));
    assert_eq!(text(&echoed, 0), format!("{PROMPT}{}", text(&plain, 0)));
    assert_eq!(echoed["usage"], plain["usage"]);
}

#[test]
fn log_probabilities_have_the_four_lists() {
    let server = Server::start(&[]);
    let prompt = "Grüße, 🦀 is a crab.";
    let more = json!({"max_tokens": 6, "temperature": 0, "logprobs": 2, "echo": true});
    let answer = server.ok(PATH, &completion(prompt, more));
    let whole: Vec<char> = text(&answer, 0).chars().collect();
    let [tokens, values, top, offsets] =
        ["tokens", "token_logprobs", "top_logprobs", "text_offset"]
            .map(|name| list(&answer, 0, name));
    assert!(
        tokens.len() == values.len() && values.len() == top.len() && top.len() == offsets.len()
    );
    assert!(
        values[0].is_null() && top[0].is_null(),
        "nothing comes before the first token"
    );
    for (index, token) in tokens.iter().enumerate() {
        let token = token.as_str().expect("a text");
        let offset = offsets[index].as_u64().expect("an offset") as usize;
        if !token.starts_with("bytes:") {
            let at: String = whole
                .iter()
                .skip(offset)
                .take(token.chars().count())
                .collect();
            assert_eq!(at, token, "token {index} at {offset}");
        }
        if index > 0 {
            let value = values[index].as_f64().expect("a number");
            assert!(value <= 0.0);
            let map = top[index].as_object().expect("alternatives");
            assert!(
                (2..=3).contains(&map.len()),
                "two, and the token itself if it is none of them"
            );
            assert_eq!(map[token].as_f64(), Some(value));
        }
    }
    let without = server.ok(
        PATH,
        &completion(
            prompt,
            json!({"max_tokens": 2, "logprobs": 0, "ignore_eos": true}),
        ),
    );
    assert!(without["choices"][0]["logprobs"]["top_logprobs"].is_null());
    assert_eq!(
        list(&without, 0, "text_offset")[0],
        0,
        "without an echo the text begins with the answer"
    );
}

#[test]
fn a_prompt_is_scored_as_its_tokens_would_be_generated() {
    let server = Server::start(&[]);
    let generated = server.ok(
        PATH,
        &completion(
            PROMPT,
            json!({"max_tokens": 6, "temperature": 0, "logprobs": 1}),
        ),
    );
    let longer = format!("{PROMPT}{}", text(&generated, 0));
    let score = json!({"max_tokens": 0, "echo": true, "logprobs": 1});
    let scored = server.ok(PATH, &completion(longer.clone(), score));
    assert_eq!(text(&scored, 0), longer);
    assert_eq!(
        (
            &scored["usage"]["completion_tokens"],
            &scored["choices"][0]["finish_reason"]
        ),
        (&json!(0), &json!("length"))
    );
    let (own, again) = (list(&generated, 0, "tokens"), list(&scored, 0, "tokens"));
    // Only where the longer text is cut into the same tokens can the scores be compared, bit for bit then.
    if again.ends_with(own) {
        let values = list(&scored, 0, "token_logprobs");
        assert_eq!(
            &values[values.len() - own.len()..],
            list(&generated, 0, "token_logprobs").as_slice()
        );
    }
}

#[test]
fn the_best_of_several_is_the_likeliest() {
    let server = Server::start(&[]);
    let more = |n: u64, best_of: u64| json!({"max_tokens": 8, "n": n, "best_of": best_of, "seed": 3, "logprobs": 0});
    let all = server.ok(PATH, &completion(PROMPT, more(6, 6)));
    let mean = |choice: usize| {
        let values = list(&all, choice, "token_logprobs");
        values
            .iter()
            .map(|value| value.as_f64().expect("a number"))
            .sum::<f64>()
            / values.len().max(1) as f64
    };
    let mut order: Vec<usize> = (0..6)
        .filter(|&choice| !list(&all, choice, "tokens").is_empty())
        .collect();
    order.sort_by(|&a, &b| mean(b).total_cmp(&mean(a)));
    let best = server.ok(PATH, &completion(PROMPT, more(2, 6)));
    assert_eq!(
        (text(&best, 0), text(&best, 1)),
        (text(&all, order[0]), text(&all, order[1]))
    );
    assert_eq!(best["usage"], all["usage"], "every candidate counts");
    assert_eq!(best["choices"].as_array().map(Vec::len), Some(2));
}

#[test]
fn streamed_choices_are_the_whole_ones() {
    let server = Server::start(&[]);
    for more in [
        json!({"max_tokens": 12, "seed": 8, "n": 2}),
        json!({"max_tokens": 12, "seed": 8, "n": 2, "echo": true}),
        json!({"max_tokens": 8, "seed": 9, "echo": true, "logprobs": 1}),
        json!({"max_tokens": 0, "echo": true, "logprobs": 1}),
    ] {
        let prompts = json!(["The future is", "Grüße 🦀"]);
        let whole = server.ok(PATH, &completion(prompts.clone(), more.clone()));
        let streaming = json!({"stream": true, "stream_options": {"include_usage": true}});
        let request = completion(prompts, http_support::merge(more.clone(), streaming));
        let mut parts = chunks(server.stream(PATH, &request));
        let usage = |value: &Value| {
            let count = |name: &str| value["usage"][name].clone();
            [
                count("prompt_tokens"),
                count("completion_tokens"),
                count("total_tokens"),
            ]
        };
        assert_eq!(usage(&parts.pop().expect("the usage")), usage(&whole));
        for (index, choice) in whole["choices"]
            .as_array()
            .expect("choices")
            .iter()
            .enumerate()
        {
            let of_choice = || {
                parts
                    .iter()
                    .map(|part| &part["choices"][0])
                    .filter(|part| part["index"] == index)
            };
            let joined: String = of_choice()
                .map(|part| part["text"].as_str().expect("a text"))
                .collect();
            assert_eq!(joined, choice["text"], "{more}");
            let last = of_choice().next_back().expect("a last part");
            assert_eq!(last["finish_reason"], choice["finish_reason"]);
            if choice["logprobs"].is_object() {
                for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                    let joined: Vec<&Value> = of_choice()
                        .filter_map(|part| part["logprobs"][name].as_array())
                        .flatten()
                        .collect();
                    let own: Vec<&Value> = choice["logprobs"][name]
                        .as_array()
                        .expect("a list")
                        .iter()
                        .collect();
                    assert_eq!(joined, own, "{name}");
                }
            }
        }
    }
}
