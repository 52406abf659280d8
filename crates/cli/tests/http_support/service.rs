//! A service on another machine, played: it answers as a test tells it to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::Server;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The first line: `POST /v1/chat/completions HTTP/1.1`.
    pub line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        super::header(&self.headers, name)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the server sends JSON")
    }

    /// Whether a model is asked for something, and not only the service whether it is there.
    fn is_call(&self) -> bool {
        self.line.starts_with("POST ")
    }
}

/// A service that listens.
pub struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    /// Listens, and lets `play` answer each call over its connection, by the call's number and what it asks.
    /// Other requests are answered 404.
    pub fn start(play: impl Fn(usize, &Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (play, calls) = (Arc::new(play), Arc::clone(&asked));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (play, calls) = (Arc::clone(&play), Arc::clone(&calls));
                std::thread::spawn(move || serve(socket, &calls, &*play));
            }
        });
        Self { address, asked }
    }

    /// Answers every call with this.
    pub fn answering(status: u16, headers: &str, body: impl Into<String>) -> Self {
        let answer = answer(status, headers, &body.into());
        Self::start(move |_, _, socket| send(socket, &answer))
    }

    /// The address of its API.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The calls so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test has panicked").clone()
    }
}

fn serve(
    mut socket: TcpStream,
    calls: &Mutex<Vec<Asked>>,
    play: &(dyn Fn(usize, &Asked, &mut TcpStream) + Send + Sync),
) {
    let Some(asked) = read(&socket) else {
        return;
    };
    if !asked.is_call() {
        return send(&mut socket, &answer(404, "", "{}"));
    }
    let number = {
        let mut calls = calls.lock().expect("no test has panicked");
        calls.push(asked.clone());
        calls.len() - 1
    };
    play(number, &asked, &mut socket);
}

fn read(socket: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(socket);
    let line = |reader: &mut BufReader<&TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line(&mut reader)?;
    let mut headers = Vec::new();
    while let Some((name, value)) = line(&mut reader)?.split_once(':') {
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = super::header(&headers, "content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked {
        line: first,
        headers,
        body,
    })
}

/// An answer with its length, after which the connection is closed.
pub fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// The head of an answer that is a stream of events.
pub const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
                          Transfer-Encoding: chunked\r\n\r\n";

/// A piece of a chunked body; an empty one is its end.
pub fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Sends, whether or not anybody listens still.
pub fn send(socket: &mut TcpStream, text: &str) {
    let _ = socket.write_all(text.as_bytes());
}

/// A server with the entries `[[upstream]]`.
pub fn server(entries: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
    let home = tempfile::tempdir().expect("a folder for the server's home");
    std::fs::write(home.path().join("hearth.toml"), entries).expect("a file");
    Server::start_with(home, arguments, variables)
}

/// An entry of the kind `kind` that serves the model `big`.
pub fn entry(kind: &str, url: &str, more: &str) -> String {
    format!(
        "[[upstream]]\nname = 'far'\nservice = '{kind}'\nbase_url = '{url}'\nmodels = ['big']\n{more}\n"
    )
}

/// A server with one service of the operator's own, which has no limits.
pub fn with_service(service: &Service) -> Server {
    server(&entry("other", &service.url(), ""), &[], &[])
}
