//! Traces: sent to a collector that the test plays, and carried through to a service that it plays too.

mod http_support;

use http_support::Server;
use http_support::service::Service;
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"big","choices":[{"index":0,
  "message":{"role":"assistant","content":"Hello!"},"finish_reason":"stop"}],
  "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// A server with the model `big` of another service.
fn server(far: &Service, variables: &[(&str, &str)]) -> Server {
    let home = tempfile::tempdir().expect("a folder for the server's home");
    let entry = format!(
        "[[upstream]]\nname = 'far'\nservice = 'other'\nbase_url = '{}'\nmodels = ['big']\n",
        far.url()
    );
    std::fs::write(home.path().join("hearth.toml"), entry).expect("a file");
    Server::start_with(home, &[], variables)
}

/// Asks for an answer of the far model, within a trace.
fn ask(server: &Server) {
    let body = json!({"model": "big", "messages": [{"role": "user", "content": "Hello!"}]});
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "a=b")];
    let body = body.to_string();
    let reply = server.send("POST", "/v1/chat/completions", &headers, body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// All spans that a collector was sent.
fn spans(collector: &Service) -> Vec<Value> {
    let mut spans = Vec::new();
    for asked in collector.asked() {
        assert!(asked.line.starts_with("POST /v1/traces "), "{}", asked.line);
        let body = asked.json();
        for resource in body["resourceSpans"].as_array().expect("resources") {
            let attributes = &resource["resource"]["attributes"];
            assert_eq!(
                attribute(attributes, "service.name")["stringValue"],
                "hearth"
            );
            for scope in resource["scopeSpans"].as_array().expect("scopes") {
                spans.extend(scope["spans"].as_array().expect("spans").clone());
            }
        }
    }
    spans
}

fn attribute(attributes: &Value, name: &str) -> Value {
    let all = attributes.as_array().expect("attributes");
    let found = all.iter().find(|own| own["key"] == name);
    found.map_or(Value::Null, |own| own["value"].clone())
}

#[test]
fn a_request_is_a_span_within_its_callers_trace() {
    let collector = Service::answering(200, "", "{}");
    let far = Service::answering(200, "", ANSWER);
    let url = collector.url();
    let endpoint = url.strip_suffix("/v1").expect("the address of its API");
    // So late that the server's end sends them.
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ];
    let mut server = server(&far, &variables);
    ask(&server);
    assert_eq!(server.get("/v1/models/no-such").status, 404);
    assert_eq!(server.get("/health").status, 200);
    server.terminate();
    assert!(server.wait());

    let spans = spans(&collector);
    let named = |name: &str| {
        let found = spans.iter().find(|span| span["name"] == name);
        found.unwrap_or_else(|| panic!("no span {name}: {spans:#?}"))
    };
    assert_eq!(spans.len(), 2, "probes have none: {spans:#?}");
    let chat = named("POST /v1/chat/completions");
    assert_eq!(
        (&chat["traceId"], &chat["parentSpanId"]),
        (&json!(TRACE), &json!(PARENT))
    );
    assert_eq!(chat["kind"], 2, "a server's");
    let attributes = &chat["attributes"];
    assert_eq!(
        attribute(attributes, "http.route")["stringValue"],
        "/v1/chat/completions"
    );
    let status = attribute(attributes, "http.response.status_code");
    assert!(
        status["intValue"] == "200" || status["intValue"] == 200,
        "{status}"
    );
    let lost = named("GET /v1/models/{model_id}");
    assert_ne!(lost["traceId"], TRACE);
    assert_eq!(
        attribute(&lost["attributes"], "url.path")["stringValue"],
        "/v1/models/no-such"
    );

    let id = chat["spanId"].as_str().expect("an id");
    let asked = far.asked();
    assert_eq!(
        asked[0].header("traceparent"),
        Some(format!("00-{TRACE}-{id}-01").as_str())
    );
    assert_eq!(asked[0].header("tracestate"), Some("a=b"));
}

#[test]
fn a_trace_is_carried_through_without_a_collector() {
    let far = Service::answering(200, "", ANSWER);
    let server = server(&far, &[]);
    ask(&server);
    let asked = far.asked();
    assert_eq!(
        asked[0].header("traceparent"),
        Some(format!("00-{TRACE}-{PARENT}-01").as_str())
    );
}

#[test]
fn a_collector_that_is_not_there_harms_no_request() {
    let far = Service::answering(200, "", ANSWER);
    // The port was free a moment ago, and nobody answers there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", nobody.local_addr().expect("it is bound"));
    drop(nobody);
    let mut server = server(&far, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    ask(&server);
    server.terminate();
    assert!(server.wait());
    let log = std::fs::read_to_string(server.home().join("logs/server.log")).expect("the log");
    assert!(log.contains("traces cannot be sent"), "{log}");
}
