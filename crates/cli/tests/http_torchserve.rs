//! TorchServe's predictions, from outside.

mod http_support;

use http_support::Server;
use serde_json::{Value, json};

#[test]
fn predictions_are_made_of_bodies_of_every_form() {
    let server = Server::start(&[]);
    let ping = server.get("/ping");
    assert_eq!(
        (ping.status, ping.json()),
        (200, json!({"status": "Healthy"}))
    );
    let score = server.ok("/predict", &json!({"inputs": [1, 2, 3]}))["result"].clone();
    assert!(score.is_number());
    let part = "--b\r\nContent-Disposition: form-data; name=\"data\"; filename=\"x.json\"\r\n\r\n[1, 2, 3]\r\n--b--\r\n";
    let raw: Vec<u8> = [1f32, 2.0, 3.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    for (path, kind, body) in [
        (
            "/predictions/example",
            "application/json",
            &b"[1, 2, 3]"[..],
        ),
        (
            "/predictions/example/1",
            "application/json",
            b"{\"data\": [1, 2, 3]}",
        ),
        (
            "/predictions/example",
            "text/plain",
            b"{\"body\": [1, 2, 3]}",
        ),
        (
            "/predictions/example",
            "application/x-www-form-urlencoded",
            b"data=%5B1,2,3%5D",
        ),
        (
            "/predictions/example",
            "multipart/form-data; boundary=b",
            part.as_bytes(),
        ),
        ("/predictions/example", "application/octet-stream", &raw),
    ] {
        let reply = server.send("POST", path, &[("Content-Type", kind)], body);
        assert_eq!(
            (reply.status, reply.json()),
            (200, score.clone()),
            "{kind}: {}",
            reply.body
        );
    }
    let several = server.ok("/predictions/example", &json!([[1, 2, 3], [3, 2, 1]]));
    assert_eq!(several.as_array().map(Vec::len), Some(2));
}

#[test]
fn errors_have_code_type_and_message() {
    let server = Server::start(&[]);
    let good = json!([1, 2, 3]);
    for (method, path, body, code, word) in [
        (
            "POST",
            "/predictions/no-such",
            good.clone(),
            404,
            "ModelNotFoundException",
        ),
        (
            "POST",
            "/predictions/example/2",
            good.clone(),
            404,
            "ModelVersionNotFoundException",
        ),
        (
            "POST",
            "/predictions/ember",
            good.clone(),
            400,
            "BadRequestException",
        ),
        (
            "POST",
            "/predictions/example",
            json!([[[1]]]),
            400,
            "BadRequestException",
        ),
        (
            "POST",
            "/predictions/example",
            json!(null),
            400,
            "BadRequestException",
        ),
        (
            "GET",
            "/predictions/example",
            good.clone(),
            405,
            "MethodNotAllowedException",
        ),
        (
            "POST",
            "/predictions",
            good,
            404,
            "ResourceNotFoundException",
        ),
    ] {
        let reply = server.send(method, path, &[], body.to_string().as_bytes());
        assert_eq!(reply.status, code, "{path} {body}: {}", reply.body);
        let error: Value = reply.json();
        assert_eq!(
            (&error["code"], &error["type"]),
            (&json!(code), &json!(word))
        );
        assert!(error["message"].is_string(), "{error}");
    }
    for body in [&b""[..], b"{", b"\xff\xd8\xff"] {
        let reply = server.send("POST", "/predictions/example", &[], body);
        assert_eq!(reply.status, 400, "{}", reply.body);
    }
}
