//! A client of `/ws`.

use std::net::TcpStream;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::Server;

/// A client of the socket.
pub struct Client(pub WebSocket<TcpStream>);

impl Client {
    /// Opens a connection.
    pub fn open(server: &Server) -> Self {
        Self::open_with(server, &[])
    }

    /// Opens a connection with headers of the handshake.
    pub fn open_with(server: &Server, headers: &[(&'static str, &str)]) -> Self {
        let url = server.url("ws", "/ws");
        let mut request = url.into_client_request().expect("an address");
        for (name, value) in headers {
            let value = value.parse().expect("a header's value");
            request.headers_mut().insert(*name, value);
        }
        let (socket, _answer) =
            tungstenite::client(request, server.connect()).expect("the server takes WebSockets");
        Self(socket)
    }

    /// Sends a message.
    pub fn say(&mut self, message: &Value) {
        self.raw(&message.to_string());
    }

    /// Sends a text, which need not be a message.
    pub fn raw(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("the server reads");
    }

    /// The next message of the server.
    pub fn hear(&mut self) -> Value {
        loop {
            match self.0.read().expect("the server answers in time") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("no message: {other:?}"),
            }
        }
    }

    /// The next message for `id`, others passed over.
    pub fn hear_of(&mut self, id: &str) -> Value {
        loop {
            let message = self.hear();
            if message["id"] == id {
                return message;
            }
        }
    }

    /// A chat's pieces together, and its last message.
    pub fn rest_of(&mut self, id: &str) -> (String, Value) {
        let mut text = String::new();
        loop {
            let message = self.hear_of(id);
            match message["type"].as_str() {
                Some("chat_chunk") => {
                    text += message["data"]["delta"]["content"]
                        .as_str()
                        .unwrap_or_default();
                }
                _ => return (text, message),
            }
        }
    }
}
