//! Waiting for a model: with its load's progress told as comments in a stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use futures_util::Stream;
use hearth_runtime::{Ask, Lease, Runtime, TextService};

use crate::caller::{Caller, Denied};
use crate::metrics::Measure;
use crate::problem::{Kind, Problem};
use crate::state::App;

/// How long a stream waits for its model before it begins, so that what fails until then has a status of its own.
const HELD_BACK: Duration = Duration::from_secs(1);

/// The time between comments that tell how far the model's load is.
const BETWEEN_COMMENTS: Duration = Duration::from_secs(1);

/// Refuses a model that the caller's credential does not name, and one that is not served here.
pub fn allow(app: &App, caller: &Caller, model: &str) -> Result<(), Problem> {
    permit(app, caller, model)?;
    let Some(elsewhere) = app.upstream_model(model) else {
        return Ok(());
    };
    let message = format!(
        "the model '{model}' is served by the upstream service '{}'; only models of this server are loaded and measured",
        elsewhere.upstream.name()
    );
    let problem = Problem::new(Kind::Unsupported, message).at("model");
    Err(problem.with("reason", "unsupported"))
}

/// Refuses a model that the caller's credential does not name, by its own name or as an alias. Who may use a network may use
/// its versions.
pub fn permit(app: &App, caller: &Caller, model: &str) -> Result<(), Denied> {
    let Err(denied) = caller.check_model(model) else {
        return Ok(());
    };
    let target = app.runtime.resolve(model);
    let network = app.runtime.version_of(&target);
    let names = [Some(target), network].into_iter().flatten();
    match { names }.any(|name| caller.check_model(&name).is_ok()) {
        true => Ok(()),
        false => Err(denied),
    }
}

/// The text model called `model`, loaded if need be, once the caller may use it; it is noted in `measure`.
pub async fn text(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    model: &str,
    ask: Ask,
) -> Result<Lease<TextService>, Problem> {
    allow(app, caller, model)?;
    let lease = app.runtime.text(model, ask).await?;
    measure.model(lease.model());
    Ok(lease)
}

type Work<T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send>>;

/// The beginning of an answer that is streamed.
pub enum Begun<T> {
    /// It has begun.
    Now(T),
    /// It waits for its model.
    Later(Waiting<T>),
}

/// An answer that waits for its model.
pub struct Waiting<T> {
    work: Work<T>,
    runtime: Arc<Runtime>,
    model: String,
}

/// A step of an answer that waits.
pub enum Step<T> {
    /// What it waits for, as a comment for the stream.
    Waiting(String),
    /// The wait is over. This is the last step.
    Done(Result<T, Problem>),
}

/// Begins `work`, which waits for `model`, and gives it a moment to fail plainly or to begin at once.
///
/// # Errors
/// Those of `work` within that moment.
pub async fn begin<T>(
    app: &App,
    model: &str,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<Begun<T>, Problem> {
    let mut work: Work<T> = Box::pin(work);
    match tokio::time::timeout(HELD_BACK, &mut work).await {
        Ok(begun) => Ok(Begun::Now(begun?)),
        Err(_elapsed) => Ok(Begun::Later(Waiting {
            work,
            runtime: Arc::clone(&app.runtime),
            model: model.to_owned(),
        })),
    }
}

impl<T> Begun<T> {
    /// The steps until the answer begins.
    pub fn steps(self) -> impl Stream<Item = Step<T>> {
        async_stream::stream! {
            let mut waiting = match self {
                Self::Now(begun) => {
                    yield Step::Done(Ok(begun));
                    return;
                }
                Self::Later(waiting) => waiting,
            };
            loop {
                yield Step::Waiting(waits_for(&waiting.runtime, &waiting.model));
                tokio::select! {
                    biased;
                    ended = &mut waiting.work => {
                        yield Step::Done(ended);
                        return;
                    }
                    () = tokio::time::sleep(BETWEEN_COMMENTS) => {}
                }
            }
        }
    }
}

/// What a request waits for, in words.
fn waits_for(runtime: &Runtime, model: &str) -> String {
    // Names of models have no line breaks, but what a client sent has not been held against them.
    let model: String = model
        .chars()
        .filter(|letter| !letter.is_control())
        .collect();
    let Some(loading) = runtime.loading(&model) else {
        return format!("waiting for {model}");
    };
    let progress = loading.progress();
    let percent = (progress.progress * 100.0) as u32;
    let state = format!("{:?}", progress.state).to_lowercase();
    let eta = progress
        .eta
        .map(|seconds| format!(", {} s left", seconds.ceil()));
    format!(
        "loading {model}: {state}, {percent} %{}",
        eta.unwrap_or_default()
    )
}

/// Tells proxies such as nginx not to hold the stream back to fill their buffers.
pub fn unbuffered(mut response: Response) -> Response {
    let name = HeaderName::from_static("x-accel-buffering");
    let headers = response.headers_mut();
    headers.insert(name, HeaderValue::from_static("no"));
    response
}
