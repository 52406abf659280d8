//! What the dialects do alike with exported networks: the lookup by name and version.

use hearth_runtime::{Ask, Lease, ModelKind, ModelStatus, NetworkService};

use crate::caller::Caller;
use crate::metrics::Measure;
use crate::problem::{Kind, Problem};
use crate::state::App;
use crate::waiting::allow;

/// The one version that a model has.
pub const VERSION: &str = "1";

/// The fact of a problem that lists the versions there are.
pub const AVAILABLE_VERSIONS: &str = "available_versions";

/// The network called `name`, loaded if need be, once the caller may use it; it is noted in `measure`.
pub async fn network(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    name: &str,
    version: Option<&str>,
    ask: Ask,
) -> Result<Lease<NetworkService>, Problem> {
    allow(app, caller, name)?;
    check_version(app, name, version).await?;
    let lease = app.runtime.network(name, ask).await?;
    measure.model(lease.model());
    Ok(lease)
}

/// Where the network called `name` stands, once the caller may use it. Does not load it.
pub async fn status(
    app: &App,
    caller: &Caller,
    name: &str,
    version: Option<&str>,
) -> Result<ModelStatus, Problem> {
    allow(app, caller, name)?;
    check_version(app, name, version).await?;
    let status = app.runtime.status(name).await?;
    match status.kind {
        Some(ModelKind::Network) => Ok(status),
        _ => {
            let message = format!("model '{name}' is no exported network");
            Err(Problem::new(Kind::Invalid, message).at("model"))
        }
    }
}

/// Refuses versions that a model does not have.
async fn check_version(app: &App, name: &str, version: Option<&str>) -> Result<(), Problem> {
    let Some(other) = version.filter(|version| *version != VERSION) else {
        return Ok(());
    };
    // That there is no such model says more.
    app.runtime.model(name).await?;
    let message = format!("model '{name}' has no version {other:?}; it has {VERSION:?}");
    let problem = Problem::new(Kind::ModelNotFound, message).at("version");
    Err(problem.with(AVAILABLE_VERSIONS, vec![VERSION]))
}
