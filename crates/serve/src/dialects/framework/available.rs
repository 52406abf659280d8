//! `GET /models/available`: the models that `models.json` lists, and those that are installed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use hearth_runtime::{ModelEntry, ModelKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::quantities::megabytes;
use crate::settings::{Offer, SPEECH};
use crate::state::App;

/// Words for how good speech sounds, the best first, as `models.json` has them.
const QUALITIES: [&str; 4] = ["very-high", "high", "medium", "low"];

/// Most models of a recommendation.
const MOST_RECOMMENDED: usize = 3;

/// The models that there are to be had.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AvailableModels)]
pub struct Available {
    /// What is known of each: those of `models.json`, and those that are installed.
    available_models: BTreeMap<String, AvailableModel>,
    /// How many there are.
    total_available: usize,
    /// Their names by purpose.
    categories: Categories,
    /// Those that speak, in the order of the file.
    popular_tts_models: Vec<String>,
    /// Those that speak, by what the file says of them.
    download_recommendations: Recommendations,
}

/// A model.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = framework::AvailableModel)]
pub struct AvailableModel {
    /// Its name here.
    #[schema(example = "speecht5_tts")]
    name: String,
    /// `huggingface`, `url`, `s3` or `local`; `hearth` for those that are part of the program.
    #[schema(example = "huggingface")]
    source: String,
    /// Its name there.
    #[schema(example = "microsoft/speecht5_tts")]
    model_id: String,
    /// What it is for.
    #[schema(example = "text-to-speech")]
    task: String,
    /// A sentence about it.
    description: String,
    /// What it takes on disk, in MiB; null where nobody says.
    size_mb: Option<f64>,
    /// Words that it is found by.
    tags: Vec<String>,
    /// How it speaks, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    tts_features: Option<SpeechFeatures>,
}

/// How a model speaks.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = framework::SpeechFeatures)]
pub struct SpeechFeatures {
    /// Always true.
    supports_tts: bool,
    /// How good it sounds.
    #[schema(example = "very-high")]
    quality: String,
    /// How fast it is.
    #[schema(example = "medium")]
    speed: String,
    /// Whether it takes another model to make sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    vocoder_required: Option<bool>,
    /// Whether it can speak as somebody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    supports_voice_cloning: Option<bool>,
    /// Whether it can sound moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    supports_emotions: Option<bool>,
}

/// Names by purpose.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AvailableCategories)]
pub struct Categories {
    /// Those that speak.
    tts_models: Vec<String>,
    /// The others.
    general_models: Vec<String>,
}

/// Models that speak, by what the file says of them.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = framework::DownloadRecommendations)]
pub struct Recommendations {
    /// Those that take no other model, the smallest first.
    beginners: Vec<String>,
    /// Those that clone voices or sound moved.
    advanced: Vec<String>,
    /// The smallest.
    fast_setup: Vec<String>,
    /// Those that sound best.
    highest_quality: Vec<String>,
}

/// Lists the models that can be fetched and those that are installed.
#[utoipa::path(
    get, path = "/models/available", tag = "framework", operation_id = "models_available",
    responses((status = 200, description = "The models that there are to be had", body = Available), Errors)
)]
pub async fn list(State(app): State<App>) -> Result<Json<Available>, ApiError> {
    let offers = app.settings().offers.clone();
    let installed = app.runtime.models().await?;
    let installed = installed.iter().filter(|entry| entry.alias_of.is_none());
    let mut models: BTreeMap<String, AvailableModel> = installed
        .map(|entry| (entry.name.clone(), entry.into()))
        .collect();
    // What the file says of a model says more.
    models.extend(
        offers
            .iter()
            .map(|offer| (offer.name.clone(), offer.into())),
    );
    let speaking: Vec<&Offer> = offers.iter().filter(|offer| offer.task == SPEECH).collect();
    let general = models.values().filter(|model| model.task != SPEECH);
    Ok(Json(Available {
        total_available: models.len(),
        categories: Categories {
            tts_models: names(speaking.iter().copied()),
            general_models: general.map(|model| model.name.clone()).collect(),
        },
        popular_tts_models: names(speaking.iter().copied()),
        download_recommendations: Recommendations::of(speaking),
        available_models: models,
    }))
}

fn names<'o>(offers: impl IntoIterator<Item = &'o Offer>) -> Vec<String> {
    offers.into_iter().map(|offer| offer.name.clone()).collect()
}

impl Recommendations {
    fn of(mut speaking: Vec<&Offer>) -> Self {
        let some = |offers: &[&Offer], is_one: &dyn Fn(&Offer) -> bool| {
            let offers = offers.iter().copied().filter(|offer| is_one(offer));
            names(offers.take(MOST_RECOMMENDED))
        };
        let speech = |offer: &Offer, has: fn(&crate::settings::Speech) -> Option<bool>| {
            offer.speech.as_ref().and_then(has)
        };
        let advanced = |offer: &Offer| {
            speech(offer, |speech| speech.supports_voice_cloning) == Some(true)
                || speech(offer, |speech| speech.supports_emotions) == Some(true)
        };
        let quality = |offer: &Offer| {
            let own = offer.speech.as_ref().map(|speech| speech.quality.as_str());
            QUALITIES.iter().position(|word| Some(*word) == own)
        };
        let advanced = some(&speaking, &advanced);
        let best = speaking.iter().filter_map(|offer| quality(offer)).min();
        let highest_quality = some(&speaking, &|offer| best.is_some() && quality(offer) == best);
        speaking.retain(|offer| offer.size_mb.is_some());
        let size = |offer: &Offer| offer.size_mb.unwrap_or(f64::INFINITY);
        speaking.sort_by(|one, two| size(one).total_cmp(&size(two)));
        let alone = |offer: &Offer| speech(offer, |speech| speech.vocoder_required) != Some(true);
        Self {
            beginners: some(&speaking, &alone),
            advanced,
            fast_setup: some(&speaking, &|_| true),
            highest_quality,
        }
    }
}

impl From<&Offer> for AvailableModel {
    fn from(offer: &Offer) -> Self {
        let features = offer.speech.as_ref().map(|speech| SpeechFeatures {
            supports_tts: true,
            quality: speech.quality.clone(),
            speed: speech.speed.clone(),
            vocoder_required: speech.vocoder_required,
            supports_voice_cloning: speech.supports_voice_cloning,
            supports_emotions: speech.supports_emotions,
        });
        Self {
            name: offer.name.clone(),
            source: offer.source.word().to_owned(),
            model_id: offer.model_id.clone(),
            task: offer.task.clone(),
            description: offer.description.clone(),
            size_mb: offer.size_mb,
            tags: offer.tags.clone(),
            tts_features: features,
        }
    }
}

impl From<&ModelEntry> for AvailableModel {
    fn from(entry: &ModelEntry) -> Self {
        let task = match entry.kind {
            Some(ModelKind::Text) => "text-generation",
            Some(ModelKind::Embedding) => "feature-extraction",
            _ => "other",
        };
        let tags = [Some(entry.format.to_string()), entry.architecture.clone()];
        Self {
            name: entry.name.clone(),
            source: entry.owned_by.clone(),
            model_id: entry.name.clone(),
            task: task.to_owned(),
            description: entry.note.clone().unwrap_or_default(),
            size_mb: Some(megabytes(entry.bytes)),
            tags: tags.into_iter().flatten().collect(),
            tts_features: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Source, Speech};

    fn offer(name: &str, size_mb: Option<f64>, quality: &str, clones: bool) -> Offer {
        Offer {
            name: name.into(),
            source: Source::HuggingFace,
            model_id: name.into(),
            task: SPEECH.into(),
            description: String::new(),
            size_mb,
            tags: vec![],
            speech: Some(Speech {
                quality: quality.into(),
                speed: "fast".into(),
                vocoder_required: Some(name == "two"),
                supports_voice_cloning: Some(clones),
                supports_emotions: None,
            }),
        }
    }

    #[test]
    fn recommendations_follow_from_what_the_file_says() {
        let offers = [
            offer("large", Some(9.0), "high", true),
            offer("two", Some(1.0), "medium", false),
            offer("unknown", None, "high", false),
        ];
        let expected = Recommendations {
            beginners: vec!["large".into()],
            advanced: vec!["large".into()],
            fast_setup: vec!["two".into(), "large".into()],
            highest_quality: vec!["large".into(), "unknown".into()],
        };
        assert_eq!(Recommendations::of(offers.iter().collect()), expected);
        let none = Recommendations::of(vec![]);
        assert!(none.highest_quality.is_empty() && none.fast_setup.is_empty());
    }
}
