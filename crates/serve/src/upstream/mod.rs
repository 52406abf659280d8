//! Models that other services serve over OpenAI's API: which there are, and calls to them.
//!
//! A call passes the circuit breaker and the limits that the server keeps towards the service, is made again
//! where that is safe, and its answer goes through as it comes.

mod allowance;
mod answer;
mod breaker;
mod call;
mod client;
mod error;
mod events;
mod retry;
mod service;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

pub use answer::Answer;
pub use call::Ask;
pub use client::Client;
pub use error::UpstreamError;
pub use events::{Part, Told, Usage};
pub use service::{Figures, Upstream};
pub use stream::Stream;

use crate::settings::{Service, Settings, Upstream as Entry};

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The services, and the models that they serve.
#[derive(Default)]
pub struct Upstreams {
    services: Vec<Arc<Upstream>>,
    models: BTreeMap<String, Model>,
    /// The services that have no entry any more, for what was asked of them.
    gone: Vec<Arc<Upstream>>,
}

/// A model that a service serves.
#[derive(Clone)]
pub struct Model {
    /// The service.
    pub upstream: Arc<Upstream>,
    /// The service's name for it.
    pub name: String,
}

impl Upstreams {
    /// The services of `settings`.
    pub fn of(settings: &Settings) -> Self {
        Self::default().renewed(settings)
    }

    /// The services of other settings. What was asked of those that are in both stays counted.
    #[must_use]
    pub fn renewed(&self, settings: &Settings) -> Self {
        self.renewed_with(settings, &(Arc::new(Instant::now) as Clock))
    }

    fn renewed_with(&self, settings: &Settings, clock: &Clock) -> Self {
        let mut renewed = Self::default();
        let mut client = self.services.first().map(|service| service.client.clone());
        let known = || self.services.iter().chain(&self.gone);
        for entry in &settings.upstreams {
            let old = known().find_map(|service| service.under(entry));
            let Some(upstream) = old.or_else(|| {
                let client = match &client {
                    Some(client) => client.clone(),
                    None => client.insert(new_client()?).clone(),
                };
                Some(Upstream::new(entry, client, Arc::clone(clock)))
            }) else {
                return renewed;
            };
            renewed.add(entry, Arc::new(upstream));
        }
        let is_gone = |service: &&Arc<Upstream>| {
            let mut still = renewed.services.iter();
            !still.any(|own| own.is_also(service))
        };
        renewed.gone = known().filter(is_gone).cloned().collect();
        renewed
    }

    fn add(&mut self, entry: &Entry, upstream: Arc<Upstream>) {
        for (name, theirs) in &entry.models {
            let model = Model {
                upstream: Arc::clone(&upstream),
                name: theirs.clone(),
            };
            self.models.insert(name.clone(), model);
        }
        self.services.push(upstream);
    }

    /// The model that requests here call `name`.
    pub fn find(&self, name: &str) -> Option<&Model> {
        self.models.get(name)
    }

    /// The models by the names that requests here use.
    pub fn models(&self) -> impl Iterator<Item = (&String, &Model)> {
        self.models.iter()
    }

    /// The services.
    pub fn services(&self) -> &[Arc<Upstream>] {
        &self.services
    }

    /// `connected` where every service of this kind answers, else `disconnected`; `not_configured` where
    /// there is none.
    pub async fn status(&self, kind: Service) -> &'static str {
        let ours = self.services.iter().filter(|own| own.kind() == kind);
        let answers = join_all(ours.map(|upstream| upstream.answers())).await;
        match (
            answers.is_empty(),
            answers.into_iter().all(|answers| answers),
        ) {
            (true, _) => "not_configured",
            (false, true) => "connected",
            (false, false) => "disconnected",
        }
    }

    /// What was asked of the services of this kind: requests, and the tokens that they told of.
    pub fn usage(&self, kind: Service) -> (u64, u64) {
        let all = self.services.iter().chain(&self.gone);
        let ours = all.filter(|own| own.kind() == kind);
        ours.map(|upstream| upstream.figures())
            .fold((0, 0), |(requests, tokens), figures| {
                (requests + figures.requests, tokens + figures.tokens)
            })
    }
}

fn new_client() -> Option<Client> {
    match Client::new() {
        Ok(client) => Some(client),
        Err(error) => {
            tracing::error!(%error, "no upstream service can be used; this is a bug");
            None
        }
    }
}

#[cfg(test)]
mod tests;
