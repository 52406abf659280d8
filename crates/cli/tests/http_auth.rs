//! Accounts, sessions and keys: with authentication off and on, and every route with and without.

mod http_support;

use http_support::socket::Client;
use http_support::{CHAT, Reply, Server, chat, hearth};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

/// A server that asks for credentials, and its administrator's token.
fn guarded() -> (Server, String) {
    guarded_in(tempfile::tempdir().expect("a folder for the server's home"))
}

fn guarded_in(home: tempfile::TempDir) -> (Server, String) {
    let added = hearth(
        home.path(),
        &["user", "add", "root", "--admin"],
        &format!("{PASSWORD}\n"),
    );
    assert!(added.0, "{}", added.1);
    // Many requests from one address are what these tests do.
    let limits = [
        ("HEARTH_RATE_LIMIT", "100000"),
        ("HEARTH_BURST_LIMIT", "100000"),
    ];
    let server = Server::start_with(home, &["--auth"], &limits);
    let token = login(&server, "root");
    (server, token)
}

fn login(server: &Server, username: &str) -> String {
    let granted = server.ok(
        "/auth/login",
        &json!({"username": username, "password": PASSWORD}),
    );
    text(&granted["access_token"])
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

fn key(server: &Server, credential: &str, more: Value) -> String {
    let mut body = json!({"name": "test"});
    body.as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    let reply = server.ask("POST", "/v1/auth/keys", credential, &body);
    assert_eq!(reply.status, 201, "{}", reply.body);
    text(&reply.json()["api_key"])
}

fn code(reply: &Reply) -> (u16, String) {
    let body = reply.json();
    let code = ["/error/code", "/error"]
        .iter()
        .find_map(|place| body.pointer(place)?.as_str().map(str::to_owned));
    (reply.status, code.unwrap_or_default())
}

#[test]
fn accounts_work_while_authentication_is_off() {
    let server = Server::start(&[]);
    let made = server.ok(
        "/auth/register",
        &json!({"username": "alice", "password": PASSWORD, "email": "a@example.org"}),
    );
    assert_eq!(made["success"], true);
    assert_eq!(
        (&made["user"]["username"], &made["user"]["role"]),
        (&json!("alice"), &json!("user"))
    );
    assert!(made["user"]["user_id"].is_string() && made["user"]["created_at"].is_string());

    let granted = server.ok(
        "/auth/login",
        &json!({"username": "alice", "password": PASSWORD}),
    );
    assert_eq!(
        (&granted["token_type"], &granted["expires_in"]),
        (&json!("bearer"), &json!(3600))
    );
    let token = text(&granted["access_token"]);
    assert_eq!(token.split('.').count(), 3);

    let profile = server
        .ask("GET", "/auth/profile", &token, &Value::Null)
        .json();
    assert_eq!(
        (&profile["username"], &profile["role"]),
        (&json!("alice"), &json!("user"))
    );
    assert_eq!(
        (&profile["email"], &profile["api_keys"]),
        (&json!("a@example.org"), &json!(0))
    );
    assert!(profile["last_login"].is_string() && profile["created_at"].is_string());

    let body = json!({"name": "mine", "permissions": ["inference"], "expires_in": "1d"});
    let made = server.ask("POST", "/auth/generate-key", &token, &body);
    assert_eq!(made.status, 200, "{}", made.body);
    let made = made.json();
    assert_eq!(
        (&made["success"], &made["name"], &made["permissions"]),
        (&json!(true), &json!("mine"), &json!(["inference"]))
    );
    let api_key = text(&made["api_key"]);
    assert!(api_key.starts_with("sk-") && api_key.len() >= 19 && made["expires"].is_string());
    let user = server
        .ask("GET", "/v1/auth/user", &api_key, &Value::Null)
        .json();
    assert_eq!(
        (&user["username"], &user["permissions"], &user["api_keys"]),
        (&json!("alice"), &json!(["inference"]), &json!(1))
    );

    let out = server.ask("POST", "/auth/logout", &token, &Value::Null);
    assert_eq!((out.status, &out.json()["success"]), (200, &json!(true)));
    for (method, path) in [
        ("GET", "/auth/profile"),
        ("POST", "/auth/logout"),
        ("POST", "/auth/generate-key"),
        ("GET", "/v1/auth/user"),
    ] {
        for credential in [token.as_str(), "not.a.token", "sk-not-a-key"] {
            let reply = server.ask(method, path, credential, &json!({"name": "my-app"}));
            assert_eq!(reply.status, 401, "{path}: {}", reply.body);
        }
    }
    let refused = server.ask("GET", "/v1/auth/user", "sk-not-a-key", &Value::Null);
    assert_eq!(code(&refused), (401, "authentication_failed".into()));
    assert_eq!(refused.json()["error"]["type"], "authentication_error");

    let local = server.get("/v1/auth/user").json();
    assert_eq!(
        (&local["username"], &local["role"], &local["permissions"]),
        (&json!("local"), &json!("admin"), &json!(["*"]))
    );
    assert_eq!(
        server
            .ask("GET", "/v1/models", "not-needed", &Value::Null)
            .status,
        200
    );
}

#[test]
fn the_documented_key_is_made_shown_once_listed_and_revoked() {
    let server = Server::start(&[]);
    let body = json!({"name": "my-app", "permissions": ["inference", "model_management"], "expires_in": "30d"});
    let reply = server.post("/v1/auth/keys", &body);
    assert_eq!(reply.status, 201, "{}", reply.body);
    let made = reply.json();
    let (id, api_key) = (text(&made["key_id"]), text(&made["api_key"]));
    assert!(id.starts_with("key_") && made["expires"].is_string());
    assert_eq!(
        made["permissions"],
        json!(["inference", "model_management"])
    );

    let list = server.get("/v1/auth/keys");
    assert!(!list.body.contains(&api_key), "a key is shown once");
    assert_eq!(
        (
            &list.json()["data"][0]["key_id"],
            &list.json()["data"][0]["name"]
        ),
        (&json!(id), &json!("my-app"))
    );
    assert_eq!(
        server
            .ask("GET", "/v1/auth/user", &api_key, &Value::Null)
            .status,
        200
    );
    let path = format!("/v1/auth/keys/{id}");
    assert_eq!(server.send("DELETE", &path, &[], b"").status, 200);
    assert_eq!(
        server
            .ask("GET", "/v1/auth/user", &api_key, &Value::Null)
            .status,
        401,
        "at once"
    );
    assert_eq!(
        code(&server.send("DELETE", &path, &[], b"")),
        (404, "not_found".into())
    );
    for (body, field) in [
        (json!({"permissions": ["inference"]}), "name"),
        (
            json!({"name": "my-app", "permissions": ["levitation"]}),
            "permissions",
        ),
        (
            json!({"name": "my-app", "permissions": ["inference"], "expires_in": "someday"}),
            "expires_in",
        ),
    ] {
        let reply = server.post("/v1/auth/keys", &body);
        assert_eq!(code(&reply), (400, "invalid_parameters".into()));
        assert!(reply.body.contains(field), "{}", reply.body);
    }
    assert_eq!(
        code(&server.send("POST", "/v1/auth/keys", &[], b"name=my-app")),
        (400, "invalid_parameters".into())
    );
}

#[test]
fn wrong_registrations_and_logins_are_refused() {
    let server = Server::start(&[]);
    server.ok(
        "/auth/register",
        &json!({"username": "alice", "password": PASSWORD}),
    );
    for (body, status) in [
        (json!({"username": "alice", "password": PASSWORD}), 400),
        (json!({"username": "bob", "password": "abc"}), 400),
        (json!({"username": "bob"}), 422),
        (json!({"username": 5, "password": PASSWORD}), 422),
        (json!({"username": "two words", "password": PASSWORD}), 400),
        (
            json!({"username": "bob", "password": PASSWORD, "setup_token": "setup-guess"}),
            401,
        ),
    ] {
        let reply = server.post("/auth/register", &body);
        assert_eq!(reply.status, status, "{body}: {}", reply.body);
        assert_eq!(
            (&reply.json()["success"], &reply.json()["status_code"]),
            (&json!(false), &json!(status))
        );
    }
    assert_eq!(
        server
            .send("POST", "/auth/register", &[], b"{\"username\"")
            .status,
        400
    );
    assert_eq!(
        server
            .post("/auth/login", &json!({"username": "alice"}))
            .status,
        422
    );

    let [wrong, unknown] = ["alice", "nobody"].map(|username| {
        let reply = server.post(
            "/auth/login",
            &json!({"username": username, "password": "wrong password"}),
        );
        assert_eq!(reply.status, 401, "{}", reply.body);
        reply.json()["detail"].clone()
    });
    assert_eq!(
        wrong, unknown,
        "the answer does not tell which of the two it is"
    );
    let mut reply = server.post(
        "/auth/login",
        &json!({"username": "alice", "password": "wrong password"}),
    );
    for _ in 0..10 {
        reply = server.post(
            "/auth/login",
            &json!({"username": "alice", "password": "wrong password"}),
        );
    }
    assert_eq!(reply.status, 429, "{}", reply.body);
    assert!(
        reply
            .header("retry-after")
            .is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds >= 1))
    );
}

#[test]
fn every_route_asks_for_what_it_takes() {
    let (server, root) = guarded();
    let every = ["inference", "model_management", "monitoring"];
    let keys = every.map(|permission| {
        (
            permission,
            key(&server, &root, json!({"permissions": [permission]})),
        )
    });
    let all = key(&server, &root, json!({"permissions": ["*"]}));
    let routes = hearth_serve::routes();
    let mut seen = 0;
    for route in routes.rows() {
        seen += 1;
        let path: String = route
            .path
            .split('/')
            .map(|part| {
                if part.starts_with('{') {
                    "no-such"
                } else {
                    part
                }
            })
            .collect::<Vec<_>>()
            .join("/");
        let method = route.method.as_str();
        let bare = server.send(method, &path, &[], b"{}");
        if route.access == hearth_serve::Access::Open {
            assert_ne!(bare.status, 403, "{method} {path}");
            continue;
        }
        assert_eq!(bare.status, 401, "{method} {path}: {}", bare.body);
        assert!(bare.header("www-authenticate").is_some(), "{method} {path}");
        let body = bare.json();
        let envelope = match route.family {
            hearth_serve::Family::Framework => ("/error", "Unauthorized"),
            hearth_serve::Family::Voice => ("/error/code", "AUTH_ERROR"),
            hearth_serve::Family::Torchserve => ("/type", "InvalidKeyException"),
            hearth_serve::Family::Kserve => (
                "/error",
                "this takes a credential: Authorization: Bearer with a token or an API key, or X-API-Key",
            ),
            hearth_serve::Family::Tursi | hearth_serve::Family::Inferno => {
                ("/error/code", "authentication_failed")
            }
        };
        assert_eq!(
            body.pointer(envelope.0),
            Some(&json!(envelope.1)),
            "{method} {path}: {body}"
        );
        for credential in ["sk-wrong", "not.a.token", ""] {
            let wrong = server.ask(method, &path, credential, &json!({}));
            assert_eq!(
                wrong.status, 401,
                "{method} {path} {credential}: {}",
                wrong.body
            );
        }
        // A key for a service behind this one is no credential here.
        assert_eq!(
            server
                .send(method, &path, &[("X-OpenAI-Key", &all)], b"{}")
                .status,
            401,
            "{method} {path}"
        );
        let needed = route
            .access
            .permission()
            .map(|permission| permission.name());
        for (permission, key) in &keys {
            let reply = server.ask(method, &path, key, &json!({}));
            let allowed = needed.is_none_or(|needed| needed == *permission);
            assert_eq!(
                reply.status == 403,
                !allowed && reply.status != 401,
                "{method} {path} {permission}: {}",
                reply.body
            );
            assert_ne!(
                reply.status, 401,
                "{method} {path} {permission}: {}",
                reply.body
            );
        }
        if route.path == "/auth/logout" {
            continue;
        }
        for headers in [
            ("Authorization", format!("Bearer {all}")),
            ("X-API-Key", all.clone()),
        ] {
            let reply = server.send(method, &path, &[(headers.0, &headers.1)], b"{}");
            assert!(
                ![401, 403].contains(&reply.status),
                "{method} {path}: {} {}",
                reply.status,
                reply.body
            );
        }
        match route.elsewhere {
            hearth_serve::Elsewhere::No => {}
            hearth_serve::Elsewhere::Body => {
                let body = |token: &str| json!({"token": token}).to_string();
                let reply = server.send(method, &path, &[], body(&all).as_bytes());
                assert!(
                    ![401, 403].contains(&reply.status),
                    "{method} {path}: {} {}",
                    reply.status,
                    reply.body
                );
                assert_eq!(
                    server
                        .send(method, &path, &[], body("sk-wrong").as_bytes())
                        .status,
                    401,
                    "{method} {path}"
                );
                let header = [("Authorization", "Bearer sk-wrong")];
                assert_eq!(
                    server
                        .send(method, &path, &header, body(&all).as_bytes())
                        .status,
                    401,
                    "a header counts first"
                );
            }
            hearth_serve::Elsewhere::Query => {
                let reply = server.send(method, &format!("{path}?token={all}"), &[], b"");
                assert!(
                    ![401, 403].contains(&reply.status),
                    "{method} {path}: {} {}",
                    reply.status,
                    reply.body
                );
                assert_eq!(
                    server
                        .send(method, &format!("{path}?token=sk-wrong"), &[], b"")
                        .status,
                    401
                );
            }
        }
    }
    assert!(seen > 10, "{seen} routes");
    // What a key was asked for, nothing of it is to be read in any file of the server.
    for (_, key) in &keys {
        assert_nowhere(&server, key);
    }
    for secret in [&all, &root, PASSWORD] {
        assert_nowhere(&server, secret);
    }
}

/// Checks that no file in the server's home has `secret` in it.
fn assert_nowhere(server: &Server, secret: &str) {
    let mut folders = vec![server.home().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the home") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("a file");
            let is_there = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!is_there, "{} has a secret in it", path.display());
        }
    }
}

#[test]
fn a_key_may_be_limited_to_models() {
    let (server, root) = guarded();
    let limited = key(&server, &root, json!({"models": ["another"]}));
    let reply = server.ask(
        "POST",
        "/v1/chat/completions",
        &limited,
        &chat("Hello!", json!({"max_tokens": 3})),
    );
    assert_eq!(code(&reply), (403, "permission_denied".into()));
    let own = key(&server, &root, json!({"models": [CHAT]}));
    let reply = server.ask(
        "POST",
        "/v1/chat/completions",
        &own,
        &chat("Hello!", json!({"max_tokens": 3})),
    );
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[test]
fn a_key_for_a_network_is_one_for_a_version_that_has_just_come() {
    const PROGRAM: &[u8] = include_bytes!("../../graph/tests/fixtures/mlp.pt2");
    let home = tempfile::tempdir().expect("a folder for the server's home");
    let write = |folder: std::path::PathBuf| {
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("model.pt2"), PROGRAM).expect("written");
    };
    write(home.path().join("models/net/1"));
    let (server, root) = guarded_in(home);
    let own = key(&server, &root, json!({"models": ["net"]}));
    let other = key(&server, &root, json!({"models": ["another"]}));
    let ask = |model: &str, key: &str| {
        let body = json!({"model_name": model, "inputs": [1, 2, 3, 4, 5, 6]});
        server.ask("POST", "/predict", key, &body).status
    };
    assert_eq!(ask("net:1", &own), 200);
    write(server.home().join("models/net/2"));
    assert_eq!(ask("net:2", &own), 200);
    assert_eq!(ask("net:2", &other), 403);
    assert_eq!(ask("net:3", &own), 403);
    assert_eq!(ask("digits:1", &own), 403);
}

#[test]
fn nobody_grants_what_he_does_not_have() {
    let (server, _root) = guarded();
    server.ok(
        "/auth/register",
        &json!({"username": "alice", "password": PASSWORD}),
    );
    let alice = login(&server, "alice");
    for permission in ["admin", "*", "model_management"] {
        let reply = server.ask(
            "POST",
            "/v1/auth/keys",
            &alice,
            &json!({"name": "x", "permissions": [permission]}),
        );
        assert_eq!(
            code(&reply),
            (403, "permission_denied".into()),
            "{permission}"
        );
    }
    let key = key(&server, &alice, json!({}));
    let reply = server.ask("POST", "/v1/auth/keys", &key, &json!({"name": "x"}));
    assert_eq!(
        code(&reply),
        (403, "permission_denied".into()),
        "a key makes no keys"
    );
    let list = server
        .ask("GET", "/v1/auth/keys", &alice, &Value::Null)
        .json();
    assert_eq!(
        list["data"].as_array().map(Vec::len),
        Some(1),
        "her own only: {list}"
    );
}

#[test]
fn a_session_is_renewed_once_a_token() {
    let (server, _) = guarded();
    let granted = server.ok(
        "/auth/login",
        &json!({"username": "root", "password": PASSWORD}),
    );
    let renewed = server.ok(
        "/auth/refresh",
        &json!({"refresh_token": granted["refresh_token"]}),
    );
    let token = text(&renewed["access_token"]);
    assert_eq!(
        server
            .ask("GET", "/auth/profile", &token, &Value::Null)
            .status,
        200
    );
    let again = server.post(
        "/auth/refresh",
        &json!({"refresh_token": granted["refresh_token"]}),
    );
    assert_eq!(again.status, 401, "{}", again.body);
}

#[test]
fn registration_can_be_closed_and_the_first_administrator_registers_once() {
    let home = tempfile::tempdir().expect("a folder for the server's home");
    std::fs::write(
        home.path().join("auth.yaml"),
        "enabled: true\nregistration: false\n",
    )
    .expect("a file");
    let server = Server::start_with(home, &[], &[]);
    let reply = server.post(
        "/auth/register",
        &json!({"username": "alice", "password": PASSWORD}),
    );
    assert_eq!(reply.status, 403, "{}", reply.body);
    assert_eq!(
        server.get("/v1/models").status,
        401,
        "auth.yaml turned it on"
    );
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn the_command_line_keeps_accounts() {
    let home = tempfile::tempdir().expect("a folder");
    let hearth = |arguments: &[&str], input: &str| hearth(home.path(), arguments, input);
    assert!(hearth(&["user", "add", "root", "--admin"], "correct horse\n").0);
    let (again, text) = hearth(&["user", "add", "root"], "correct horse\n");
    assert!(!again && text.contains("taken"), "{text}");
    let (short, text) = hearth(&["user", "add", "bob"], "short\n");
    assert!(!short && text.contains("8 to 1024"), "{text}");
    let (_, list) = hearth(&["user", "list"], "");
    assert!(
        list.contains("root") && list.contains("admin") && !list.contains("local"),
        "{list}"
    );
    let (made, key) = hearth(
        &[
            "key",
            "create",
            "--user",
            "root",
            "--name",
            "ci",
            "--permission",
            "inference",
            "--expires-in",
            "30d",
        ],
        "",
    );
    assert!(made && key.contains("sk-"), "{key}");
    let (_, list) = hearth(&["key", "list"], "");
    assert!(
        list.contains("ci") && list.contains("root") && list.contains("until"),
        "{list}"
    );
    let id = list.split_whitespace().next().expect("an id");
    assert!(hearth(&["key", "revoke", id], "").0);
    assert!(!hearth(&["key", "revoke", id], "").0);
    assert!(hearth(&["user", "password", "root"], "another horse\n").0);
    assert!(hearth(&["user", "remove", "root"], "").0);
    assert!(!hearth(&["user", "remove", "root"], "").0);
}

#[test]
fn a_socket_serves_nobody_whose_session_has_ended() {
    let (server, token) = guarded();
    let bearer = format!("Bearer {token}");
    let mut client = Client::open_with(&server, &[("authorization", &bearer)]);
    let asked = |id: &str| {
        let data = chat("Hello!", json!({"max_tokens": 1}));
        json!({"type": "chat", "id": id, "data": data})
    };
    client.say(&asked("before"));
    assert_eq!(client.rest_of("before").1["type"], "chat_done");
    let reply = server.ask("POST", "/auth/logout", &token, &Value::Null);
    assert_eq!(reply.status, 200, "{}", reply.body);
    client.say(&asked("after"));
    let (_, last) = client.rest_of("after");
    assert_eq!(last["data"]["error"]["code"], "authentication_failed");
}
