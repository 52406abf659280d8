//! What `serve` does before and after it answers requests.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use super::Home;
use super::files;

#[test]
fn a_taken_port_says_what_to_do() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    home.hearth(["serve", "--port", &port])
        .failed(1, &[&port, "--port", "process"]);
}

#[test]
fn other_machines_are_let_in_only_when_asked_for() {
    let home = Home::new();
    home.hearth(["serve", "--host", "0.0.0.0", "--port", "0"])
        .failed(1, &["--allow-remote"]);
    home.hearth(["serve", "--host", "::", "--port", "0"])
        .failed(1, &["--allow-remote"]);
    home.hearth(["serve", "--host", "example.org"])
        .failed(2, &["127.0.0.1"]);
}

#[test]
fn wrong_models_are_refused() {
    let home = Home::new();
    home.hearth(["serve", "--port", "0", "--model", "nonsense"])
        .failed(2, &["NAME="]);
    home.hearth(["serve", "--port", "0", "--model", "a=/no/such/file"])
        .failed(1, &["/no/such/file"]);
    home.hearth(["serve", "--port", "0", "--models-dir", "/no/such/folder"])
        .failed(1, &["/no/such/folder"]);
}

#[test]
#[cfg(unix)]
fn it_greets_and_stops_at_a_signal() {
    for signal in ["INT", "TERM"] {
        let home = Home::new();
        let file = home.path().join("file.gguf");
        files::tiny(&file, 1);
        let model = format!("mine={}", file.display());
        let mut child = home
            .command(["serve", "--port", "0", "--model", &model])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let first = lines.next().unwrap();
        let address = first.split("listening on ").nth(1).unwrap();
        assert!(
            address.starts_with("http://127.0.0.1:") && !address.ends_with(":0"),
            "{first}"
        );
        let models = lines.next().unwrap();
        for name in ["ember", "ember-embed", "mine"] {
            assert!(models.contains(name), "{models}");
        }
        let curl = lines.next().unwrap();
        assert!(
            curl.contains(&format!("curl {address}/v1/")) && curl.contains("mine"),
            "{curl}"
        );

        let health = ureq::get(&format!("{address}/health")).call().unwrap();
        assert_eq!(health.status(), 200);
        super::signal(signal, &child);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
    }
}
