//! `subscribe_models`: the state of every model, then each change of it.

use std::time::Duration;

use hearth_runtime::{ModelState, ModelStatus};
use serde_json::{Value, json};

use super::outbox::Outbox;
use crate::problem::Problem;
use crate::quantities::duration;
use crate::state::App;

/// Tells the state of every model, then each change, until the client has gone.
pub async fn run(app: App, outbox: Outbox, id: String) {
    // From before the first look, so that no change falls between.
    let mut events = app.runtime.events();
    let told = async {
        all(&app, &outbox, &id).await?;
        let mut lost = events.lost();
        while let Some(event) = events.next().await {
            if events.lost() != lost {
                // More changed than could be kept for this client: what holds now says it all.
                lost = events.lost();
                all(&app, &outbox, &id).await?;
                continue;
            }
            let eta = event.eta();
            let data = state(&event.model, event.state, event.progress(), eta);
            outbox.send("model_status", &id, data).await?;
        }
        Ok::<(), Problem>(())
    };
    if let Err(problem) = told.await {
        outbox.error(&id, problem).await;
    }
}

async fn all(app: &App, outbox: &Outbox, id: &str) -> Result<(), Problem> {
    for status in app.runtime.statuses().await? {
        outbox.send("model_status", id, of_status(&status)).await?;
    }
    Ok(())
}

fn of_status(status: &ModelStatus) -> Value {
    let load = status.progress.as_ref();
    let progress = match (status.state, load) {
        (_, Some(load)) => load.progress,
        (ModelState::Loaded, None) => 1.0,
        (_, None) => 0.0,
    };
    let eta = load.and_then(|load| load.eta);
    state(&status.name, status.state, progress, eta)
}

/// The data of a `model_status`; `progress` is a share, `eta` seconds.
fn state(model: &str, state: ModelState, progress: f64, eta: Option<f64>) -> Value {
    let eta = eta.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    json!({
        "model_id": model,
        "status": state,
        "progress": (progress * 100.0).clamp(0.0, 100.0),
        "eta": eta.map(duration),
    })
}
