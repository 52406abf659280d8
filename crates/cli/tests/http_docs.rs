//! The description of the API and its pages, from outside; and the guides in docs/api held against it.

mod http_support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use http_support::{CHAT, EMBED, Server};

#[test]
fn the_description_is_openapi_and_lists_the_documents_paths() {
    let server = Server::start(&[]);
    let reply = server.get("/openapi.json");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let document = reply.json();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    for (method, path) in [
        ("get", "/"),
        ("post", "/predict"),
        ("post", "/{model_name}/predict"),
        ("get", "/health"),
        ("delete", "/autoscaler/unload"),
        ("get", "/gpu/report"),
        ("get", "/metrics"),
        ("post", "/api/v1/generate"),
        ("get", "/api/v1/models/{model_name}/metrics"),
        ("post", "/v1/chat/completions"),
        ("post", "/v1/batch"),
        ("get", "/ws"),
        ("get", "/voices/{voice_name}"),
        ("get", "/docs"),
        ("post", "/v2/models/{model_name}/infer"),
        ("post", "/predictions/{model_name}"),
    ] {
        assert!(
            document["paths"][path][method].is_object(),
            "{method} {path}"
        );
    }
}

#[test]
fn the_pages_load_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    for page in ["/docs", "/redoc"] {
        let reply = server.get(page);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
        assert!(reply.body.contains("<html") && reply.body.contains("/openapi.json"));
        let tags = without_scripts(&reply.body);
        assert!(
            !tags.contains("src=") && !tags.contains("href=") && !tags.contains("http"),
            "{page}: {tags}"
        );
        let policy = reply.header("content-security-policy").expect("a policy");
        let scripts = policy
            .split("; ")
            .find(|part| part.starts_with("script-src"));
        assert!(
            scripts.is_some_and(|part| part
                .split(' ')
                .skip(1)
                .all(|word| word.starts_with("'sha256-"))),
            "{policy}"
        );
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("http"),
            "{policy}"
        );
    }
}

/// A page without what stands in its scripts and styles.
fn without_scripts(page: &str) -> String {
    let mut rest = page.to_owned();
    for (open, close) in [("<script>", "</script>"), ("<style>", "</style>")] {
        let mut kept = String::new();
        let mut left = rest.as_str();
        while let Some((before, after)) = left.split_once(open) {
            kept.push_str(before);
            left = after.split_once(close).expect("an end").1;
        }
        kept.push_str(left);
        rest = kept;
    }
    rest
}

/// Every example body of the description, sent as it stands: none is refused as wrong.
#[test]
fn examples_run_as_shown() {
    let server = Server::start(&[]);
    let document = server.get("/openapi.json").json();
    let mut sent = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let Some(body) = item["post"]["requestBody"].get("content") else {
            continue;
        };
        let Some(example) = body["application/json"].get("example") else {
            continue;
        };
        let path = path
            .replace("{model_name}/predict", "example/predict")
            .replace("/v2/models/{model_name}", "/v2/models/example")
            .replace(
                "/v2/repository/models/{model_name}",
                "/v2/repository/models/example",
            )
            .replace("/predictions/{model_name}", "/predictions/example")
            .replace("{model_version}", "1")
            .replace("{model_name}", CHAT)
            .replace("{model_id}", CHAT);
        let reply = server.post(&path, example);
        assert_eq!(reply.status, 200, "{path} {example}: {}", reply.body);
        sent += 1;
    }
    assert!(sent >= 6, "only {sent} requests have an example");
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api")
}

/// The Markdown files below a folder.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
}

/// What a page calls an endpoint: `GET /path` in code.
fn endpoints(text: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for code in text.split('`').skip(1).step_by(2) {
        if let Some((method, path)) = code.split_once(' ')
            && ["GET", "POST", "PUT", "DELETE"].contains(&method)
            && path.starts_with('/')
        {
            let path = path.split('?').next().unwrap_or(path);
            found.insert((method.to_ascii_lowercase(), path.to_owned()));
        }
    }
    found
}

#[test]
fn the_guides_name_every_endpoint_and_no_other() {
    let server = Server::start(&[]);
    let document = server.get("/openapi.json").json();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            described.insert((method.clone(), path.clone()));
        }
    }
    let mut files = Vec::new();
    pages(&docs(), &mut files);
    let mut told = BTreeSet::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a page");
        for endpoint in endpoints(&text) {
            assert!(
                described.contains(&endpoint),
                "{}: {endpoint:?} is not there",
                file.display()
            );
            told.insert(endpoint);
        }
    }
    let untold: Vec<_> = described.difference(&told).collect();
    assert!(untold.is_empty(), "no page of docs/api tells of {untold:?}");
}

/// The shell examples of the guides whose request body is JSON, sent as they stand.
#[test]
fn the_guides_requests_run_as_shown() {
    let mut files = Vec::new();
    pages(&docs(), &mut files);
    let mut sent = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a page");
        if !text.contains("```bash") {
            continue;
        }
        // A page of its own is a server of its own: what one loads is no matter of another's.
        let server = Server::start(&[]);
        for block in text.split("```bash\n").skip(1) {
            let block = block
                .split("```")
                .next()
                .unwrap_or_default()
                .replace("\\\n", " ");
            for line in block.lines().filter(|line| line.contains("curl ")) {
                let Some((method, path, body)) = request(line) else {
                    continue;
                };
                let reply = server.send(method, path, &[], body.as_bytes());
                let expected = [200, 501];
                assert!(
                    expected.contains(&reply.status),
                    "{}: {line}: {}",
                    file.display(),
                    reply.body
                );
                sent += 1;
            }
        }
    }
    assert!(sent >= 10, "only {sent} requests were found");
    assert_eq!(
        (CHAT, EMBED),
        ("ember", "ember-embed"),
        "the names that the guides use"
    );
}

/// Method, path and body of a curl command without a credential.
fn request(line: &str) -> Option<(&'static str, &str, String)> {
    if line.contains("Authorization") || line.contains("X-API-Key") || line.contains("/auth/") {
        return None;
    }
    let (_, rest) = line.split_once("http://localhost:8000")?;
    let path = rest.split([' ', '"', '\'']).next()?;
    let body = line
        .split_once("-d '")
        .and_then(|(_, rest)| rest.split_once('\''));
    let body = body.map_or("", |(body, _)| body);
    let method = match () {
        () if line.contains("-X DELETE") => "DELETE",
        () if line.contains("-X POST") || !body.is_empty() => "POST",
        () => "GET",
    };
    let path = if path.is_empty() { "/" } else { path };
    Some((method, path, body.to_owned()))
}

#[test]
fn every_page_of_the_index_is_there() {
    let index = std::fs::read_to_string(docs().join("README.md")).expect("the index");
    for link in index.split("](").skip(1) {
        let target = link.split(')').next().unwrap_or_default();
        if target.ends_with(".md") {
            assert!(docs().join(target).is_file(), "{target}");
        }
    }
}
