//! `run` without a terminal.

use super::Home;
use super::files;

const GREEDY: [&str; 4] = ["--temperature", "0", "--max-tokens", "12"];

#[test]
fn a_piped_prompt_is_answered() {
    let home = Home::new();
    let args = [&["run"], &GREEDY[..]].concat();
    let answer = home.pipe("Hello! Who are you?\n", &args).good();
    assert!(answer.trim().len() > 3, "{answer:?}");
    assert!(
        answer.ends_with('\n') && !answer.contains("<|"),
        "{answer:?}"
    );
    let named = home
        .hearth([&["run", "ember", "Hello! Who are you?"], &GREEDY[..]].concat())
        .good();
    assert_eq!(answer, named);
}

#[test]
fn a_seed_repeats_an_answer() {
    let home = Home::new();
    let ask = |seed: &str| {
        let args = [
            "run",
            "--temperature",
            "1.5",
            "--max-tokens",
            "24",
            "--seed",
            seed,
        ];
        home.pipe("Tell me a story.", args).good()
    };
    assert_eq!(ask("7"), ask("7"));
    assert!((8..12).any(|seed: u32| ask(&seed.to_string()) != ask("7")));
}

#[test]
fn a_system_prompt_is_part_of_the_prompt() {
    let home = Home::new();
    let tokens = |extra: &[&str]| {
        let args = [
            &["run", "ember", "Hello!", "--verbose", "--max-tokens", "1"],
            extra,
        ]
        .concat();
        let ran = home.hearth(args);
        let line = ran
            .stderr
            .lines()
            .find(|line| line.starts_with("prompt"))
            .unwrap()
            .to_owned();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    assert!(tokens(&["--system", "You always answer in one word."]) > tokens(&[]));
}

#[test]
fn timings_go_to_the_standard_error() {
    let home = Home::new();
    let args = [&["run", "--verbose"], &GREEDY[..]].concat();
    let ran = home.pipe("Count to five.", args);
    for word in ["load", "prompt", "answer", "tokens/s"] {
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
    assert!(!ran.good().contains("tokens/s"));
}

#[test]
fn what_cannot_be_answered_says_why() {
    let home = Home::new();
    home.pipe(" \n", ["run"])
        .failed(1, &["empty", "hearth run ember"]);
    home.hearth(["run", "nonsense", "Hello"])
        .failed(1, &["nonsense", "ember"]);
    home.hearth(["run", "ember-embed", "Hello"])
        .failed(1, &["embeddings", "hearth list"]);
    home.hearth(["run", "ember", "Hello", "--temperature", "-1"])
        .failed(2, &["temperature"]);
    home.hearth(["run", "ember", "Hello", "--max-tokens", "0"])
        .failed(2, &["max-tokens"]);
    let long = "word ".repeat(100_000);
    home.pipe(&long, ["run"]).failed(1, &["tokens", "context"]);
    files::tiny(&home.models().join("tiny.gguf"), 1);
    home.hearth(["run", "tiny", "Hello"]).failed(1, &["tiny"]);
}
