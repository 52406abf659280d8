//! `models.json`: the models that can be fetched.

use serde_json::Value as Json;

use super::entry::{Entry, Fault};
use super::value::{Value, words};

/// The names that an entry may have.
const FIELDS: [&str; 8] = [
    "name",
    "source",
    "model_id",
    "task",
    "description",
    "size_mb",
    "tags",
    "tts_features",
];

/// The names that `tts_features` may have.
const SPEECH_FIELDS: [&str; 6] = [
    "supports_tts",
    "quality",
    "speed",
    "vocoder_required",
    "supports_voice_cloning",
    "supports_emotions",
];

/// The task of models that speak.
pub const SPEECH: &str = "text-to-speech";

words!(
    /// Where a model comes from.
    Source, "huggingface, url, s3 or local",
    /// A repository of Hugging Face's hub.
    HuggingFace = "huggingface",
    /// An address.
    Url = "url",
    /// A bucket.
    S3 = "s3",
    /// A path of this machine.
    Local = "local"
);

/// A model that can be fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// What it is called here.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// What it is called there.
    pub model_id: String,
    /// What it is for.
    pub task: String,
    /// A sentence about it.
    pub description: String,
    /// What it takes on disk, in MiB.
    pub size_mb: Option<f64>,
    /// Words that it is found by.
    pub tags: Vec<String>,
    /// How it speaks, if it does.
    pub speech: Option<Speech>,
}

/// How a model speaks, as the file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Speech {
    /// How good it sounds.
    pub quality: String,
    /// How fast it is.
    pub speed: String,
    /// Whether it takes another model to make sound.
    pub vocoder_required: Option<bool>,
    /// Whether it can speak as somebody does.
    pub supports_voice_cloning: Option<bool>,
    /// Whether it can sound moved.
    pub supports_emotions: Option<bool>,
}

/// Reads the file: an object with an entry for each name.
pub fn read(file: &Json) -> Result<Vec<Offer>, Fault> {
    let Some(entries) = file.as_object() else {
        let expected = "an object whose names are those of models";
        return Err(Fault::invalid("the file", expected));
    };
    let entries = entries.iter().map(|(name, value)| {
        let place = name.clone();
        match value.as_object() {
            Some(fields) if is_plain(name) => offer(name, &Entry { place, fields }),
            Some(_) => Err(Fault::invalid(place, "a plain name")),
            None => Err(Fault::invalid(place, "an object")),
        }
    });
    entries.collect()
}

/// Whether a file can be called so.
fn is_plain(name: &str) -> bool {
    let is_good = |letter: char| !letter.is_control() && !"/\\".contains(letter);
    (1..=255).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_good)
}

fn offer(name: &str, entry: &Entry<'_>) -> Result<Offer, Fault> {
    entry.check_names(&FIELDS)?;
    let own: Option<String> = entry.value("name")?;
    if own.is_some_and(|own| own != name) {
        let expected = format!("\"{name}\", as the entry is called");
        return Err(Fault::invalid(entry.place("name"), expected));
    }
    let task: String = entry.required("task")?;
    let speech = match entry.get("tts_features") {
        None => None,
        Some(value) => Some(speech(entry.place("tts_features"), value)?),
    };
    if task == SPEECH && speech.is_none() {
        let expected = format!("what it is like, for the task {SPEECH}");
        return Err(Fault::invalid(entry.place("tts_features"), expected));
    }
    let size_mb = match entry.get("size_mb") {
        None => None,
        Some(value) => {
            let size = value.as_f64().filter(|size| *size >= 0.0);
            let expected = "a number of MiB, or null";
            Some(size.ok_or_else(|| Fault::invalid(entry.place("size_mb"), expected))?)
        }
    };
    Ok(Offer {
        name: name.to_owned(),
        source: entry.required("source")?,
        model_id: entry.required("model_id")?,
        task,
        description: entry.value("description")?.unwrap_or_default(),
        size_mb,
        tags: entry.texts("tags")?,
        speech,
    })
}

fn speech(place: String, value: &Json) -> Result<Speech, Fault> {
    let Some(fields) = value.as_object() else {
        return Err(Fault::invalid(place, "an object"));
    };
    let entry = Entry { place, fields };
    entry.check_names(&SPEECH_FIELDS)?;
    if entry.value("supports_tts")? == Some(false) {
        let expected = "true; a model that does not speak has no 'tts_features'";
        return Err(Fault::invalid(entry.place("supports_tts"), expected));
    }
    Ok(Speech {
        quality: entry.required("quality")?,
        speed: entry.required("speed")?,
        vocoder_required: entry.value("vocoder_required")?,
        supports_voice_cloning: entry.value("supports_voice_cloning")?,
        supports_emotions: entry.value("supports_emotions")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(change: Json) -> Result<Vec<Offer>, Fault> {
        let mut entry =
            json!({"source": "huggingface", "model_id": "a/b", "task": "text-generation"});
        let (Json::Object(entry), Json::Object(change)) = (entry.take(), change) else {
            panic!("not objects")
        };
        read(&json!({"b": entry.into_iter().chain(change).collect::<serde_json::Map<_, _>>()}))
    }

    #[test]
    fn entries_are_read() {
        let offers =
            with(json!({"name": "b", "size_mb": 2500, "tags": ["x"]})).expect("all is well");
        assert_eq!(
            (offers[0].size_mb, &offers[0].tags[..]),
            (Some(2500.0), &["x".to_owned()][..])
        );
        assert_eq!(
            (offers[0].source, offers[0].speech.as_ref()),
            (Source::HuggingFace, None)
        );
        assert_eq!(read(&json!({})), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        for (change, place) in [
            (json!({"name": "c"}), "b.name"),
            (json!({"source": "pigeon"}), "b.source"),
            (json!({"model_id": null}), "b.model_id"),
            (json!({"size_mb": "large"}), "b.size_mb"),
            (json!({"size_mb": -1}), "b.size_mb"),
            (json!({"tags": "x"}), "b.tags"),
            (json!({"task": "text-to-speech"}), "b.tts_features"),
            (
                json!({"tts_features": {"quality": "high"}}),
                "b.tts_features.speed",
            ),
        ] {
            let Err(Fault::Invalid(own, _)) = with(change.clone()) else {
                panic!("{change}")
            };
            assert_eq!(own, place, "{change}");
        }
        let unknown = Fault::Unknown("b.sorce".into(), Some("source"));
        assert_eq!(with(json!({"sorce": "url"})), Err(unknown));
        for name in ["", "../b", ".b", "a/b"] {
            assert!(read(&json!({name: {}})).is_err(), "{name}");
        }
    }
}
