//! A call: made, and made again where that is safe.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use bytes::Bytes;
use hyper::body::Incoming;
use serde_json::Value;

use super::answer::{Answer, read_some};
use super::error::UpstreamError;
use super::retry;
use super::service::Upstream;
use crate::settings::Secret;

/// Longest piece of an error's message that is passed on, in characters.
const LONGEST_MESSAGE: usize = 1000;

/// The longest wait for the server's own limits towards a service.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// The shortest: the limits are looked at no more often.
const SHORTEST_TURN: Duration = Duration::from_millis(10);

/// Longest word for programs that is passed on, in bytes.
const LONGEST_CODE: usize = 64;

/// What is asked of a service.
#[derive(Debug)]
pub struct Ask {
    /// The path below its address.
    pub path: &'static str,
    /// The body, in JSON.
    pub body: Bytes,
    /// The key.
    pub key: Option<Secret>,
    /// A guess of the tokens that it takes.
    pub tokens: u64,
    /// When the answer has to be there.
    pub deadline: Option<Instant>,
    /// Whether it waits where the server allows itself no more for now, and is not refused.
    pub waits_its_turn: bool,
}

impl Upstream {
    /// Asks, and gives the answer once it begins well. What the service refuses for now, and what never
    /// reached it, is asked again a few times; what the server's own limits hold back goes out when they
    /// allow it, if it waits its turn.
    ///
    /// # Errors
    /// The last failure.
    pub async fn call(self: &Arc<Self>, ask: &Ask) -> Result<Answer, UpstreamError> {
        let mut retry = 0;
        loop {
            let failure = match self.attempt(ask, retry > 0).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let wait = match &failure {
                UpstreamError::Limited { excess, .. } => ask
                    .waits_its_turn
                    .then_some(excess.retry_after.max(SHORTEST_TURN))
                    .filter(|wait| *wait <= LONGEST_TURN),
                _ if failure.is_worth_a_retry() => {
                    let wait = retry::wait(retry, failure.retry_after(), retry::chance());
                    retry += 1;
                    wait
                }
                _ => None,
            };
            let in_time = |wait| {
                ask.deadline
                    .is_none_or(|deadline| Instant::now() + wait < deadline)
            };
            let Some(wait) = wait.filter(|wait| in_time(*wait)) else {
                tracing::warn!(upstream = self.name(), error = %failure, "a call failed");
                return Err(failure);
            };
            tracing::debug!(upstream = self.name(), error = %failure, ?wait, "a call is made again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(self: &Arc<Self>, ask: &Ask, is_retry: bool) -> Result<Answer, UpstreamError> {
        let upstream = || self.name().to_owned();
        let now = (self.clock)();
        let permit =
            self.dealings()
                .breaker
                .enter(now)
                .map_err(|retry_after| UpstreamError::LeftAlone {
                    upstream: upstream(),
                    retry_after,
                })?;
        let body = Body::from(ask.body.clone());
        let request = self.request(Method::POST, ask.path, ask.key.as_ref(), body);
        let request = request.map_err(|_| UpstreamError::BadKey {
            upstream: upstream(),
        })?;
        let number = self
            .dealings()
            .allowance
            .take(ask.tokens, now)
            .map_err(|excess| UpstreamError::Limited {
                upstream: upstream(),
                excess,
            })?;
        let mut counted = self.count_request(is_retry);

        let answered = match self.before(ask.deadline, self.client.send(request)).await {
            Ok(answered) => answered.map_err(|error| UpstreamError::Unreachable {
                upstream: upstream(),
                cause: causes(&error),
                is_unsent: error.is_connect(),
            }),
            Err(late) => Err(late),
        };
        let response = match answered {
            Ok(response) => response,
            Err(failure) => {
                match failure {
                    UpstreamError::Unreachable {
                        is_unsent: true, ..
                    } => {
                        counted.take_back();
                        self.dealings().allowance.take_back(number);
                    }
                    _ => self.dealings().allowance.settle(number, 0),
                }
                // A client's own deadline says nothing of the service.
                if !matches!(failure, UpstreamError::Deadline { .. }) {
                    permit.failed((self.clock)());
                    self.count_failure();
                    self.heard(false);
                }
                return Err(failure);
            }
        };
        self.heard(!response.status().is_server_error());
        if response.status().is_success() {
            permit.succeeded();
            let deadline = ask.deadline;
            return Ok(Answer::new(Arc::clone(self), response, number, deadline));
        }
        self.dealings().allowance.settle(number, 0);
        match response.status().is_server_error() {
            true => {
                permit.failed((self.clock)());
                self.count_failure();
            }
            false => permit.succeeded(),
        }
        Err(self.refused(response, ask).await)
    }

    /// What an answer that is none says.
    async fn refused(&self, response: Response<Incoming>, ask: &Ask) -> UpstreamError {
        let (head, body) = response.into_parts();
        let status = head.status;
        if status == StatusCode::UNAUTHORIZED {
            return UpstreamError::KeyRefused {
                upstream: self.name().to_owned(),
                service: self.kind().word(),
            };
        }
        let said = read_some(body).await;
        let Said { message, code } = Said::of(&said);
        let reason = || status.canonical_reason().unwrap_or("an error").to_owned();
        let mut message = message.unwrap_or_else(reason);
        if let Some(key) = &ask.key {
            message = message.replace(key.expose(), "***");
        }
        UpstreamError::Answered {
            upstream: self.name().to_owned(),
            status,
            message: message.chars().take(LONGEST_MESSAGE).collect(),
            code,
            retry_after: retry::told(&head.headers, SystemTime::now()),
        }
    }

    /// Awaits `work` as long as the service may take, and not past `deadline`.
    ///
    /// # Errors
    /// [`UpstreamError::Silent`], [`UpstreamError::Deadline`].
    pub(super) async fn before<T>(
        &self,
        deadline: Option<Instant>,
        work: impl Future<Output = T>,
    ) -> Result<T, UpstreamError> {
        let patience = Instant::now() + self.patience();
        let is_ours = deadline.is_some_and(|deadline| deadline < patience);
        let until = deadline.filter(|_| is_ours).unwrap_or(patience);
        let upstream = || self.name().to_owned();
        tokio::time::timeout_at(until.into(), work)
            .await
            .map_err(|_elapsed| match is_ours {
                true => UpstreamError::Deadline {
                    upstream: upstream(),
                },
                false => UpstreamError::Silent {
                    upstream: upstream(),
                    patience: self.patience(),
                },
            })
    }
}

/// An error with all its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// What the body of an error says.
#[derive(Debug, Default, PartialEq)]
struct Said {
    message: Option<String>,
    code: Option<String>,
}

impl Said {
    /// In the forms that are in use: `error.message` and `error.code`, `error`, `message`, `detail`.
    fn of(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let error = &body["error"];
        Self {
            message: [&error["message"], error, &body["message"], &body["detail"]]
                .into_iter()
                .find_map(text),
            code: text(&error["code"]).filter(|code| code.len() <= LONGEST_CODE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_the_forms_in_use() {
        for (body, message, code) in [
            (
                r#"{"error": {"message": "m", "type": "t", "param": null, "code": "c"}}"#,
                Some("m"),
                Some("c"),
            ),
            (
                r#"{"error": {"message": "m", "code": null}}"#,
                Some("m"),
                None,
            ),
            (r#"{"error": "m"}"#, Some("m"), None),
            (r#"{"object": "error", "message": "m"}"#, Some("m"), None),
            (r#"{"detail": "m"}"#, Some("m"), None),
            (r#"{"detail": ["m"]}"#, None, None),
            ("[1]", None, None),
            ("<html>", None, None),
        ] {
            let said = Said::of(body.as_bytes());
            assert_eq!(
                (said.message.as_deref(), said.code.as_deref()),
                (message, code),
                "{body}"
            );
        }
    }
}
