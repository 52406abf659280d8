//! `/v1/embeddings`, from outside.

mod http_support;

use http_support::{CHAT, EMBED, Server, merge};
use serde_json::{Value, json};

const PATH: &str = "/v1/embeddings";

fn request(input: Value, more: Value) -> Value {
    merge(json!({"model": EMBED, "input": input}), more)
}

fn vector(answer: &Value, index: usize) -> Vec<f32> {
    let values = answer["data"][index]["embedding"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    values
        .iter()
        .map(|value| value.as_f64().expect("a number") as f32)
        .collect()
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

#[test]
fn the_documented_request_is_answered() {
    let server = Server::start(&[]);
    let texts = json!(["Hello world", "How are you?"]);
    let answer = server.ok(PATH, &request(texts, json!({"user": "user123"})));
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("list"), &json!(EMBED))
    );
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(2));
    for index in 0..2 {
        let entry = &answer["data"][index];
        assert_eq!(
            (&entry["object"], &entry["index"]),
            (&json!("embedding"), &json!(index))
        );
        assert!((length(&vector(&answer, index)) - 1.0).abs() < 1e-4);
    }
    assert_eq!(vector(&answer, 0).len(), vector(&answer, 1).len());
    assert!(
        answer["usage"]["prompt_tokens"]
            .as_u64()
            .is_some_and(|count| count >= 7)
    );
    assert_eq!(
        answer["usage"]["prompt_tokens"],
        answer["usage"]["total_tokens"]
    );
}

#[test]
fn a_text_among_others_has_the_vector_that_it_has_alone() {
    let server = Server::start(&[]);
    let texts: Vec<String> = (0..40)
        .map(|number| "a word ".repeat(number % 7 + 1) + &number.to_string())
        .collect();
    let together = server.ok(PATH, &request(json!(texts), json!({})));
    for index in [0, 6, 39] {
        let alone = server.ok(PATH, &request(json!(texts[index]), json!({})));
        assert_eq!(vector(&together, index), vector(&alone, 0), "bit for bit");
    }
    assert_ne!(vector(&together, 0), vector(&together, 1));
}

#[test]
fn base64_holds_the_same_numbers() {
    let server = Server::start(&[]);
    let plain = server.ok(
        PATH,
        &request(json!("Hello world"), json!({"encoding_format": "float"})),
    );
    let packed = server.ok(
        PATH,
        &request(json!("Hello world"), json!({"encoding_format": "base64"})),
    );
    let text = packed["data"][0]["embedding"].as_str().expect("a text");
    let bytes = decode_base64(text);
    let values: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().expect("four")))
        .collect();
    assert_eq!(values, vector(&plain, 0));
}

fn decode_base64(text: &str) -> Vec<u8> {
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{:?} is no base64", char::from(other)),
    };
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let bits = four
            .iter()
            .fold(0_u32, |bits, &letter| bits << 6 | u32::from(digit(letter)));
        let bits = bits << (6 * (4 - four.len()));
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

#[test]
fn fewer_dimensions_are_the_first_ones_rescaled() {
    let server = Server::start(&[]);
    let whole = vector(
        &server.ok(PATH, &request(json!("Hello world"), json!({}))),
        0,
    );
    let short = vector(
        &server.ok(
            PATH,
            &request(json!("Hello world"), json!({"dimensions": 16})),
        ),
        0,
    );
    let scale = length(&whole[..16]);
    assert_eq!(short.len(), 16);
    for (short, whole) in short.iter().zip(&whole) {
        assert!((short - whole / scale).abs() < 1e-5, "{short} {whole}");
    }
    let reply = server.post(
        PATH,
        &request(json!("Hello world"), json!({"dimensions": whole.len() + 1})),
    );
    assert_eq!(
        (reply.status, &reply.json()["error"]["param"]),
        (400, &json!("dimensions"))
    );
}

#[test]
fn token_ids_are_taken_and_checked() {
    let server = Server::start(&[]);
    let one = server.ok(PATH, &request(json!([5, 6, 7]), json!({})));
    let many = server.ok(PATH, &request(json!([[5, 6, 7], [8]]), json!({})));
    assert_eq!(vector(&one, 0), vector(&many, 0));
    assert_eq!(many["usage"]["prompt_tokens"], 4);
    let reply = server.post(PATH, &request(json!([5, 4_000_000_000_u32]), json!({})));
    assert_eq!(
        (reply.status, &reply.json()["error"]["param"]),
        (400, &json!("input"))
    );
}

#[test]
fn an_input_that_does_not_fit_is_refused_with_both_numbers() {
    let server = Server::start(&[]);
    let reply = server.post(
        PATH,
        &request(json!(["short", "rain ".repeat(5000)]), json!({})),
    );
    assert_eq!(reply.status, 400, "{}", reply.body);
    let error = &reply.json()["error"];
    assert_eq!(error["code"], "context_length_exceeded");
    let number = |name: &str| error["details"][name].as_u64().expect("a number");
    assert!(number("prompt_tokens") >= 5000 && number("context_length") < 5000);
}

#[test]
fn a_chat_model_makes_no_embeddings() {
    let server = Server::start(&[]);
    let reply = server.post(PATH, &json!({"model": CHAT, "input": "Hello"}));
    assert_eq!(
        (reply.status, &reply.json()["error"]["param"]),
        (400, &json!("model"))
    );
}
