//! Calls to a service that is played here, under a clock that the tests move.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::breaker::{OPENS_AFTER, STAYS_OPEN};
use super::*;

/// A clock that stands until it is moved.
#[derive(Clone)]
struct Watch(Arc<Mutex<Instant>>);

impl Watch {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn forward(&self, by: Duration) {
        *self.0.lock().expect("no test has panicked") += by;
    }

    fn clock(&self) -> Clock {
        let Self(now) = self.clone();
        Arc::new(move || *now.lock().expect("no test has panicked"))
    }
}

/// A service that answers each request with the next of the statuses that it is given, and tells of each
/// request's first line.
async fn service() -> (String, UnboundedSender<u16>, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (give, mut statuses) = unbounded_channel::<u16>();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = socket.read(&mut head).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&head[..length]).into_owned();
            let _ = tell.send(text.lines().next().unwrap_or_default().to_owned());
            let Some(status) = statuses.recv().await else {
                return;
            };
            let answer = format!(
                "HTTP/1.1 {status} S\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            );
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (format!("http://{address}"), give, told)
}

fn upstreams(kind: Service, url: String, watch: &Watch) -> Upstreams {
    let entry = Entry {
        name: "far".into(),
        service: kind,
        base_url: url,
        key: None,
        models: [("big".to_owned(), "big".to_owned())].into(),
        timeout: Duration::from_secs(60),
    };
    let settings = Settings {
        upstreams: vec![entry],
        ..Settings::default()
    };
    Upstreams::default().renewed_with(&settings, &watch.clock())
}

async fn call(upstreams: &Upstreams) -> Result<Answer, UpstreamError> {
    let ask = Ask {
        path: "/chat/completions",
        body: Bytes::from_static(b"{}"),
        key: None,
        tokens: 1,
        deadline: None,
        waits_its_turn: false,
    };
    let model = upstreams.find("big").expect("the entry has it");
    model.upstream.call(&ask).await
}

#[tokio::test]
async fn a_service_that_fails_is_left_alone_and_tried_again_later() {
    let (url, give, mut told) = service().await;
    let watch = Watch::new();
    let upstreams = upstreams(Service::Other, url, &watch);
    let fail = async |upstreams: &Upstreams, give: &UnboundedSender<u16>| {
        give.send(500).expect("the service plays");
        let failure = call(upstreams).await.err().expect("a defect");
        assert!(
            matches!(failure, UpstreamError::Answered { .. }),
            "{failure}"
        );
    };
    let left_alone = async |upstreams: &Upstreams| match call(upstreams).await {
        Err(UpstreamError::LeftAlone { retry_after, .. }) => retry_after,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was asked"),
    };
    for _ in 0..OPENS_AFTER {
        fail(&upstreams, &give).await;
        assert!(told.recv().await.is_some());
    }
    assert_eq!(left_alone(&upstreams).await, STAYS_OPEN);
    assert_eq!(upstreams.status(Service::Other).await, "disconnected");
    assert!(told.is_empty(), "nothing reaches it");

    watch.forward(STAYS_OPEN);
    fail(&upstreams, &give).await;
    assert!(told.recv().await.is_some());
    assert_eq!(left_alone(&upstreams).await, STAYS_OPEN);

    watch.forward(STAYS_OPEN);
    for _ in 0..2 {
        give.send(200).expect("the service plays");
        assert!(call(&upstreams).await.is_ok());
        assert!(told.recv().await.is_some());
    }
    assert_eq!(upstreams.status(Service::Other).await, "connected");
    let figures = upstreams.services()[0].figures();
    let failures = u64::from(OPENS_AFTER) + 1;
    assert_eq!(
        (figures.requests, figures.failures),
        (failures + 2, failures)
    );
}

#[tokio::test]
async fn requests_that_are_too_many_do_not_go_out() {
    let (url, give, mut told) = service().await;
    let watch = Watch::new();
    let upstreams = upstreams(Service::OpenAi, url, &watch);
    let second = Duration::from_secs(1);
    for _ in 0..2 {
        for _ in 0..3 {
            give.send(200).expect("the service plays");
            assert!(call(&upstreams).await.is_ok());
            assert!(told.recv().await.is_some());
        }
        match call(&upstreams).await {
            Err(UpstreamError::Limited { excess, .. }) => assert_eq!(excess.retry_after, second),
            _ => panic!("the limit is passed"),
        }
        assert!(told.is_empty());
        watch.forward(second);
    }
    assert_eq!(upstreams.usage(Service::OpenAi), (6, 0));
}

#[tokio::test]
async fn how_a_service_does_is_known_for_a_while() {
    let (url, give, mut told) = service().await;
    let watch = Watch::new();
    let upstreams = upstreams(Service::Baseten, url, &watch);
    assert_eq!(upstreams.status(Service::OpenAi).await, "not_configured");
    // Without a key that is what a service says, and it shows that it is there.
    give.send(401).expect("the service plays");
    for _ in 0..2 {
        assert_eq!(upstreams.status(Service::Baseten).await, "connected");
    }
    assert_eq!(told.recv().await.as_deref(), Some("GET /models HTTP/1.1"));
    assert!(told.is_empty(), "it is asked once");
    watch.forward(Duration::from_secs(31));
    // It ends, and takes its address along.
    drop(give);
    assert_eq!(upstreams.status(Service::Baseten).await, "disconnected");
    assert_eq!(upstreams.usage(Service::Baseten), (0, 0));
}
