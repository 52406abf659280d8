//! What the dialects do alike with models that come and go.

use hearth_runtime::ModelState;

use crate::caller::Caller;
use crate::problem::Problem;
use crate::state::App;
use crate::waiting::allow;

/// The documents' word for where a model stands: `loaded`, `loading` or `not_loaded`.
pub fn word(state: ModelState) -> &'static str {
    match state {
        ModelState::Loaded => "loaded",
        ModelState::Loading => "loading",
        ModelState::Unloading | ModelState::NotLoaded | ModelState::Failed => "not_loaded",
    }
}

/// Unloads a model that the caller may use, once the requests in progress have ended; gives the documents' sentence.
pub async fn unload(app: &App, caller: &Caller, model: &str) -> Result<&'static str, Problem> {
    allow(app, caller, model)?;
    Ok(match app.runtime.unload(model, false).await? {
        true => "Model unloaded successfully",
        false => "Model was not loaded",
    })
}
