//! What the dialects do alike with exported networks: the lookup by name and version.

use std::borrow::Cow;

use hearth_runtime::{
    Ask, Lease, ModelKind, ModelState, ModelStatus, NetworkService, split_version,
};

use crate::caller::Caller;
use crate::metrics::Measure;
use crate::problem::{Kind, Problem};
use crate::state::App;
use crate::waiting::{allow, permit};

/// The fact of a problem that lists the versions there are.
pub const AVAILABLE_VERSIONS: &str = "available_versions";

/// The network called `name`, loaded if need be, once the caller may use it; it is noted in `measure`. Where no version is named it
/// is the newest that is ready.
pub async fn network(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    name: &str,
    version: Option<&str>,
    ask: Ask,
) -> Result<Lease<NetworkService>, Problem> {
    allow_network(app, caller, name).await?;
    let named = versioned(app, name, version).await?;
    let lease = app.runtime.network(&named, ask).await?;
    measure.model(lease.model());
    Ok(lease)
}

/// Where the network called `name` stands, once the caller may use it: the version that was named, or each, the newest first.
/// Does not load it.
pub async fn statuses(
    app: &App,
    caller: &Caller,
    name: &str,
    version: Option<&str>,
) -> Result<Vec<ModelStatus>, Problem> {
    allow_network(app, caller, name).await?;
    let named = versioned(app, name, version).await?;
    let statuses = app.runtime.version_statuses(&named).await?;
    let is_network = |status: &ModelStatus| status.kind == Some(ModelKind::Network);
    match statuses.iter().all(is_network) {
        true => Ok(statuses),
        false => {
            let message = format!("model '{name}' is no exported network");
            Err(Problem::new(Kind::Invalid, message).at("model"))
        }
    }
}

/// [`allow`] for a network, or for `NAME:VERSION` of one that the caller may use, which may be newer than the last look at the
/// folder of models.
async fn allow_network(app: &App, caller: &Caller, name: &str) -> Result<(), Problem> {
    let Err(problem) = allow(app, caller, name) else {
        return Ok(());
    };
    match split_version(name) {
        Some((model, _)) if permit(app, caller, model).is_ok() => {
            app.runtime.note_versions(model).await;
            allow(app, caller, name)
        }
        _ => Err(problem),
    }
}

/// Why none of the versions of a network is ready; `None` where one is, or will be when it is asked for.
pub fn unready(statuses: &[ModelStatus]) -> Option<String> {
    let has_failed = |status: &ModelStatus| status.state == ModelState::Failed;
    let newest = statuses.first().filter(|_| statuses.iter().all(has_failed));
    newest.map(|status| status.error.clone().unwrap_or_default())
}

/// The name of the version of a model that was asked for: the model's own where none was.
///
/// # Errors
/// There is no such model; it has no such version.
pub async fn versioned<'a>(
    app: &App,
    name: &'a str,
    version: Option<&str>,
) -> Result<Cow<'a, str>, Problem> {
    let Some(asked) = version else {
        return Ok(name.into());
    };
    let number = number(asked);
    if let Some(loaded) = number.and_then(|number| app.runtime.loaded_version(name, number)) {
        return Ok(loaded.into());
    }
    let versions = app.runtime.model(name).await?.versions;
    if let Some(found) = versions.iter().find(|own| Some(own.number) == number) {
        return Ok(found.name.clone().into());
    }
    let numbers: Vec<String> = versions.iter().map(|own| own.number.to_string()).collect();
    let quoted: Vec<String> = numbers.iter().map(|number| format!("{number:?}")).collect();
    let message = format!(
        "model '{name}' has no version {asked:?}; it has {}",
        quoted.join(", ")
    );
    let problem = Problem::new(Kind::ModelNotFound, message).at("version");
    Err(problem.with(AVAILABLE_VERSIONS, numbers))
}

/// A version as it is written: a number without zeros before it.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_in_one_way() {
        assert_eq!(number("12"), Some(12));
        for other in [
            "",
            "01",
            "+1",
            "-1",
            "1.0",
            " 1",
            "v1",
            "99999999999999999999",
        ] {
            assert_eq!(number(other), None, "{other:?}");
        }
    }
}
