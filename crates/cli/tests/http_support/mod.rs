//! A real server for a test, and a client that sees every byte.
//!
//! The server is the built program on a port that the system chooses, with a fresh home. The client
//! speaks HTTP/1.1 over a socket, so that tests can hang up where they like.

#![allow(dead_code, reason = "every test file uses a part of this")]

pub mod service;
pub mod socket;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The built-in models.
pub const CHAT: &str = "ember";
pub const EMBED: &str = "ember-embed";

/// Longest wait for anything; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    home: PathBuf,
    _home: Option<TempDir>,
}

impl Server {
    /// Starts `hearth serve` with `arguments` besides host and port.
    pub fn start(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a folder for the server's home");
        Self::start_with(home, arguments, &[])
    }

    /// Starts `hearth serve` in a home that has something already, with `variables` set.
    pub fn start_with(home: TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut server = Self::run(home.path(), arguments, variables);
        server._home = Some(home);
        server
    }

    /// Starts it in a home that outlives the server.
    pub fn start_in(home: &Path, arguments: &[&str]) -> Self {
        Self::run(home, arguments, &[])
    }

    fn run(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hearth"))
            .args(["serve", "--host", "127.0.0.1", "--port", "0"])
            .args(arguments)
            .env("HEARTH_HOME", home)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built with these tests");
        let (tell, told) = mpsc::channel();
        for output in [
            child
                .stdout
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ] {
            let (output, tell) = (output.expect("the pipes were asked for"), tell.clone());
            // Reads to the end, so that the server never waits for its log to be read.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
        drop(tell);
        let mut log = Vec::new();
        let address = loop {
            match told.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(address) = address_in(&line) {
                        break address;
                    }
                    log.push(line);
                }
                Err(_) => panic!("the server did not say where it listens: {log:#?}"),
            }
        };
        Self {
            child,
            address,
            home: home.to_owned(),
            _home: None,
        }
    }

    /// The server's home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// GET.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    /// POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    /// POST of JSON that has to be answered with 200.
    pub fn ok(&self, path: &str, body: &Value) -> Value {
        let reply = self.post(path, body);
        assert_eq!(reply.status, 200, "{path} {body}: {}", reply.body);
        reply.json()
    }

    /// Any request, answered whole.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.open(method, path, headers, body).finish()
    }

    /// Any request of JSON with a credential.
    pub fn ask(&self, method: &str, path: &str, credential: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {credential}");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(method, path, &[("Authorization", &bearer)], body.as_bytes())
    }

    /// POST of JSON, answered as an event stream: all its events.
    pub fn stream(&self, path: &str, body: &Value) -> Vec<Event> {
        let reply = self.post(path, body);
        assert_eq!(reply.status, 200, "{path} {body}: {}", reply.body);
        assert!(
            reply
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/event-stream"))
        );
        events(&reply.body)
    }

    /// Sends the head of a POST that announces a body of `length` bytes, and nothing of the body.
    pub fn announce(&self, path: &str, length: u64) -> TcpStream {
        let mut socket = self.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n",
            self.address
        );
        socket.write_all(head.as_bytes()).expect("the server reads");
        socket
    }

    /// The answer to a body that is announced and never sent.
    pub fn send_declared(&self, path: &str, length: u64) -> Reply {
        Answer::new(self.announce(path, length), false).finish()
    }

    /// POST of JSON by a client that goes away once its request is being worked on.
    pub fn send_and_hang_up(&self, path: &str, body: &Value) {
        let body = body.to_string();
        let mut socket = self.announce(path, body.len() as u64);
        socket.write_all(body.as_bytes()).expect("the server reads");
        let until = Instant::now() + PATIENCE;
        while self.engine()["running_sequences"] == 0 {
            assert!(Instant::now() < until, "the request is not worked on");
        }
    }

    /// Whether connections are accepted.
    pub fn is_listening(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }

    /// The address of `path` in the URL scheme `scheme`.
    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.address)
    }

    /// The port that the server listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A connection on which nothing has been said.
    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).expect("the server listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    }

    /// Sends a request and reads the answer's head.
    pub fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut socket = self.connect();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        // Head and body at once: an answer that does not wait for the body would be lost with a socket that
        // is closed before the body has come. One that is refused unread may meet such a socket all the same.
        let _ = socket.write_all(&[head.as_bytes(), body].concat());
        Answer::new(socket, method == "HEAD")
    }

    /// What `/health` says of the chat model's engine.
    pub fn engine(&self) -> Value {
        self.get("/health").json()["engine_stats"]["engines"][CHAT].clone()
    }

    /// Waits until the chat model's engine has nothing to do.
    pub fn wait_until_idle(&self) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let engine = self.engine();
            let idle = engine["running_sequences"] == 0 && engine["waiting_requests"] == 0;
            if idle {
                return engine;
            }
            assert!(Instant::now() < until, "the engine is not idle: {engine}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the server to stop, as a service manager does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends the server a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .expect("kill is there");
        assert!(status.success());
    }

    /// Waits for the server's end and answers whether it was a good one.
    pub fn wait(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program in a home, with `input` for it to read; gives its output and whether it did well.
pub fn hearth(home: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hearth"))
        .args(arguments)
        .env("HEARTH_HOME", home)
        .current_dir(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built with these tests");
    let mut stdin = child.stdin.take().expect("the pipe was asked for");
    stdin
        .write_all(input.as_bytes())
        .expect("the program reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it is our child");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8(text).expect("text"),
    )
}

/// The address in a line of the log.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://").or(line.split_once("https://"))?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':');
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

/// An answer that is being read.
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
    has_body: bool,
}

impl Answer {
    fn new(socket: TcpStream, head_only: bool) -> Self {
        let mut reader = BufReader::new(socket);
        let line = read_line(&mut reader);
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = read_line(&mut reader);
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Self {
            status,
            headers,
            reader,
            has_body: !head_only && status != 204,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The next piece of a chunked body; empty at its end.
    pub fn piece(&mut self) -> Vec<u8> {
        assert_eq!(self.header("transfer-encoding"), Some("chunked"));
        let size = usize::from_str_radix(&read_line(&mut self.reader), 16).expect("a chunk's size");
        let mut piece = vec![0; size + 2];
        self.reader.read_exact(&mut piece).expect("a whole chunk");
        piece.truncate(size);
        piece
    }

    /// What still comes until the connection ends, as it comes.
    pub fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = self.reader.read_to_end(&mut rest);
        rest
    }

    /// Reads the rest, a text.
    pub fn finish(self) -> Reply {
        let (head, body) = self.finish_bytes();
        Reply {
            body: String::from_utf8(body).expect("answers are UTF-8"),
            ..head
        }
    }

    /// Reads the rest, whatever it is; the reply has no body.
    pub fn finish_bytes(mut self) -> (Reply, Vec<u8>) {
        let mut body = Vec::new();
        if self.has_body && self.header("transfer-encoding") == Some("chunked") {
            loop {
                let piece = self.piece();
                if piece.is_empty() {
                    break;
                }
                body.extend(piece);
            }
        } else if self.has_body {
            let length = self
                .header("content-length")
                .and_then(|length| length.parse().ok());
            body.resize(length.expect("a body without chunks has a length"), 0);
            self.reader.read_exact(&mut body).expect("a whole body");
        }
        let head = Reply {
            status: self.status,
            headers: self.headers,
            body: String::new(),
        };
        (head, body)
    }
}

fn read_line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .expect("the server answers in time");
    line.trim_end().to_owned()
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(own, _)| own == name)
        .map(|(_, value)| value.as_str())
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Data(Value),
    Done,
}

/// The events of a stream; comments are passed over.
pub fn events(body: &str) -> Vec<Event> {
    let blocks = body
        .split("\n\n")
        .filter(|block| !block.is_empty() && !block.starts_with(':'));
    let event = |block: &str| match block.strip_prefix("data: ") {
        Some("[DONE]") => Event::Done,
        Some(text) => Event::Data(serde_json::from_str(text).expect("events are JSON")),
        None => panic!("an event with more than data: {block:?}"),
    };
    blocks.map(event).collect()
}

/// The data of a stream that ended well.
pub fn chunks(events: Vec<Event>) -> Vec<Value> {
    let mut events = events;
    assert_eq!(events.pop(), Some(Event::Done));
    let data = events.into_iter().map(|event| match event {
        Event::Data(value) => value,
        Event::Done => panic!("[DONE] in the middle"),
    });
    data.collect()
}

/// The body of a chat with one message.
pub fn chat(text: &str, more: Value) -> Value {
    merge(
        json!({"model": CHAT, "messages": [{"role": "user", "content": text}]}),
        more,
    )
}

/// The body of a completion.
pub fn completion(prompt: impl Into<Value>, more: Value) -> Value {
    merge(json!({"model": CHAT, "prompt": prompt.into()}), more)
}

/// `base` with the members of `more`.
pub fn merge(mut base: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut base, more) else {
        panic!("bodies are objects")
    };
    members.extend(more);
    base
}

/// The events of a stream whose events have names; comments are passed over.
pub fn named_events(body: &str) -> Vec<(String, Value)> {
    let blocks = body
        .split("\n\n")
        .filter(|block| !block.is_empty() && !block.starts_with(':'));
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').expect("a name and data");
        let name = name.strip_prefix("event: ").expect("a name").to_owned();
        let data = data.strip_prefix("data: ").expect("data");
        (name, serde_json::from_str(data).expect("events are JSON"))
    };
    blocks.map(event).collect()
}

/// Whether `value` is a text of digits, at most one point among them, and one of `units`.
fn is_quantity(value: &Value, units: &[&str]) -> bool {
    let number = |unit: &&str| value.as_str()?.strip_suffix(unit)?.parse::<f64>().ok();
    units
        .iter()
        .find_map(number)
        .is_some_and(|number| number >= 0.0)
}

/// Whether `value` is a size such as `4.2GB`.
pub fn is_size(value: &Value) -> bool {
    is_quantity(value, &["KB", "MB", "GB", "TB", "B"])
}

/// Whether `value` is a share such as `25%`.
pub fn is_percent(value: &Value) -> bool {
    is_quantity(value, &["%"])
}

/// Whether `value` is a duration such as `2h 15m 30s`.
pub fn is_duration(value: &Value) -> bool {
    let part = |part: &str| is_quantity(&json!(part), &["d", "h", "m", "s"]);
    value.as_str().is_some_and(|text| text.split(' ').all(part))
}

/// Whether `value` is a moment such as `2024-01-15T10:30:00Z`.
pub fn is_datetime(value: &Value) -> bool {
    let digits = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "0");
    value
        .as_str()
        .is_some_and(|text| digits(text) == "0000-00-00T00:00:00Z")
}
