//! Many clients at once, some of whom hang up; and the end of the server under load.

mod http_support;

use std::sync::Barrier;

use http_support::{Event, Server, chat, chunks, completion, events};
use serde_json::{Value, json};

const PATH: &str = "/v1/chat/completions";

fn text(parts: &[Value]) -> String {
    let contents = parts
        .iter()
        .filter_map(|part| part["choices"][0]["delta"]["content"].as_str());
    contents.collect()
}

/// The answer's first piece with text in it.
fn wait_for_text(answer: &mut http_support::Answer) {
    loop {
        let piece = answer.piece();
        assert!(!piece.is_empty(), "the stream ended without text");
        let has_text =
            events(&String::from_utf8_lossy(&piece))
                .into_iter()
                .any(|event| match event {
                    Event::Data(data) => data["choices"][0]["delta"]["content"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty()),
                    Event::Done => false,
                });
        if has_text {
            return;
        }
    }
}

#[test]
fn sixty_four_streams_with_a_third_hanging_up() {
    const CLIENTS: u64 = 64;
    let server = Server::start(&[]);
    let request = |seed: u64, tokens: u64| {
        let more = json!({"max_tokens": tokens, "ignore_eos": true, "seed": seed, "stream": true});
        chat(&format!("Tell me about the number {seed}."), more)
    };
    let expected: Vec<(u64, String)> = [1, 30, 62]
        .into_iter()
        .map(|seed| (seed, text(&chunks(server.stream(PATH, &request(seed, 24))))))
        .collect();

    let start = Barrier::new(CLIENTS as usize);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, start, request, expected) = (&server, &start, &request, &expected);
            scope.spawn(move || {
                start.wait();
                if client % 3 == 0 {
                    // Would go on until the context is full.
                    let body = request(client, 32_768).to_string();
                    let mut answer = server.open("POST", PATH, &[], body.as_bytes());
                    assert_eq!(answer.status, 200);
                    wait_for_text(&mut answer);
                    return;
                }
                let parts = chunks(server.stream(PATH, &request(client, 24)));
                let last = parts.last().expect("parts");
                assert_eq!(last["choices"][0]["finish_reason"], "length");
                if let Some((_, alone)) = expected.iter().find(|(seed, _)| *seed == client) {
                    assert_eq!(&text(&parts), alone, "company changes nothing");
                }
            });
        }
    });
    let engine = server.wait_until_idle();
    assert_eq!(engine["cache_blocks_used"], 0, "{engine}");
    let cancelled = engine["cancelled"].as_u64().expect("a count");
    assert_eq!(
        cancelled,
        CLIENTS.div_ceil(3),
        "whoever hung up was cancelled: {engine}"
    );
}

#[test]
fn a_client_that_does_not_wait_for_its_whole_answer_is_cancelled() {
    let server = Server::start(&[]);
    server.ok(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 1})),
    );
    let endless = completion(
        "Hello",
        json!({"max_tokens": 32_768, "ignore_eos": true, "n": 4, "seed": 1}),
    );
    server.send_and_hang_up("/v1/completions", &endless);
    let engine = server.wait_until_idle();
    assert_eq!(
        (&engine["cache_blocks_used"], &engine["cancelled"]),
        (&json!(0), &json!(4)),
        "{engine}"
    );
}

#[test]
fn more_requests_than_there_are_places_are_turned_away() {
    let server = Server::start(&[]);
    server.ok(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 1})),
    );
    // Heads without bodies hold their places for as long as the server waits for them.
    let held: Vec<_> = (0..256)
        .map(|_| server.announce("/v1/completions", 1000))
        .collect();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while server.get("/health").json()["engine_stats"]["active_requests"] != 256 {
        assert!(
            std::time::Instant::now() < until,
            "the places are not taken"
        );
    }
    let refused = server.post(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 1})),
    );
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(refused.json()["error"]["code"], "overloaded");
    assert!(
        refused
            .header("retry-after")
            .is_some_and(|text| text.parse::<u64>().is_ok_and(|seconds| seconds > 0))
    );
    drop(held);
    while server.get("/health").json()["engine_stats"]["active_requests"] != 0 {
        assert!(
            std::time::Instant::now() < until,
            "the places are not given back"
        );
    }
    server.ok(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 1})),
    );
}

#[test]
fn the_server_ends_when_its_streams_have() {
    let mut server = Server::start(&[]);
    let body = chat(
        "Tell me a story",
        json!({"max_tokens": 120, "ignore_eos": true, "seed": 1, "stream": true}),
    );
    let alone = text(&chunks(server.stream(PATH, &body)));
    let mut answers: Vec<_> = (0..4)
        .map(|_| server.open("POST", PATH, &[], body.to_string().as_bytes()))
        .collect();
    answers.iter_mut().for_each(wait_for_text);
    server.terminate();
    for answer in answers {
        let rest = text(&chunks(events(&answer.finish().body)));
        assert!(
            alone.ends_with(&rest) && !rest.is_empty(),
            "the rest of the story is told"
        );
    }
    assert!(server.wait(), "the program ends well");
    assert!(!server.is_listening());
}

#[test]
fn a_conversation_goes_on_after_a_restart_without_being_computed_again() {
    let home = tempfile::tempdir().expect("a folder for the servers' home");
    let long = "Once upon a time there was a small house at the edge of a forest. ".repeat(12);
    let body = chat(
        &long,
        json!({"max_tokens": 12, "temperature": 0, "seed": 1}),
    );
    let answer = |server: &Server| {
        let answer = server.ok(PATH, &body);
        answer["choices"][0]["message"].clone()
    };
    let stop = |mut server: Server| {
        server.terminate();
        assert!(server.wait());
    };
    let server = Server::start_in(home.path(), &[]);
    let first = answer(&server);
    stop(server);
    let folder = home.path().join("cache/kv");
    assert!(folder.read_dir().expect("the folder").count() > 1);

    let server = Server::start_in(home.path(), &[]);
    assert_eq!(answer(&server), first);
    let engine = server.engine();
    assert!(engine["cache_blocks_read"].as_u64() > Some(5), "{engine}");
    let found = engine["prefix_hit_tokens"].as_u64();
    assert!(found > Some(100), "{engine}");
    stop(server);

    // Without a budget nothing is looked for and nothing written.
    std::fs::remove_dir_all(&folder).expect("ours");
    let server = Server::start_in(home.path(), &["--cache-disk", "0"]);
    assert_eq!(answer(&server), first);
    assert_eq!(server.engine()["cache_blocks_read"], 0);
    stop(server);
    assert!(!folder.exists());
}
