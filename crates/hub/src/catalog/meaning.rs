//! What a network's inputs and outputs mean: what the files beside it say of images, texts and classes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hearth_vision::{ImageConfig, TimmConfig};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{NetworkConfig, NetworkPlace};

/// Longest of these files, in bytes.
const LONGEST: u64 = 4 << 20;

/// What the files beside a network say about its inputs and outputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetworkMeaning {
    /// How images are made inputs: `[image]` of `config.toml`, `preprocessor_config.json`, or timm's `pretrained_cfg` in
    /// `config.json`.
    pub image: Option<ImageConfig>,
    /// The folder with `tokenizer.json`.
    pub tokenizer: Option<PathBuf>,
    /// Most positions that the model has embeddings for, as `config.json` says.
    pub max_positions: Option<usize>,
    /// The token that fills up shorter texts, as `config.json` says.
    pub pad_token: Option<u32>,
    /// What the numbers of a classifier's output stand for.
    pub labels: Option<Labels>,
    /// The names of outputs' elements, by output, as `config.pbtxt` says.
    pub elements: BTreeMap<String, Vec<String>>,
}

/// The classes of a classifier: `classes` of `config.toml`, the labels of the one output that `config.pbtxt` names a file for,
/// `labels.txt`, or `id2label` or timm's `label_names` of `config.json`, the first that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Their names, in the order of the output's numbers.
    pub names: Vec<String>,
    /// What makes scores of the numbers: `activation` of `config.toml`, or what `problem_type` of `config.json` comes to;
    /// `None` where neither says it.
    pub activation: Option<Activation>,
    /// The output whose numbers they are, where it is said.
    pub output: Option<String>,
}

/// What makes scores of a classifier's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// One class of all is right: scores add up to 1.
    Softmax,
    /// Each class is right or not, by itself.
    Sigmoid,
    /// The numbers are scores already.
    None,
}

impl NetworkMeaning {
    /// Reads what lies beside the network at `place`.
    ///
    /// # Errors
    /// As of [`Entry::network_meaning`](super::Entry::network_meaning).
    pub fn of(place: &NetworkPlace, config: &NetworkConfig) -> Result<NetworkMeaning, String> {
        NetworkMeaning::read(config, |name| place.beside(name))
    }

    /// Reads what lies beside a network, which `beside` finds by its name.
    ///
    /// # Errors
    /// A sentence: which file is wrong, and what.
    pub(super) fn read(
        config: &NetworkConfig,
        beside: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<NetworkMeaning, String> {
        let about = |path: &Path, problem: String| format!("{}: {problem}", path.display());
        let text = |path: &Path| read_text(path).map_err(|problem| about(path, problem));
        let mut meaning = NetworkMeaning {
            image: config.image.clone(),
            tokenizer: beside("tokenizer.json").and_then(|file| Some(file.parent()?.to_owned())),
            ..NetworkMeaning::default()
        };
        if let (None, Some(path)) = (&meaning.image, beside("preprocessor_config.json")) {
            let image = serde_json::from_str(&text(&path)?);
            meaning.image = Some(image.map_err(|error| about(&path, error.to_string()))?);
        }
        meaning.elements = config.read_labels()?;
        let mut names = config.classes.clone();
        let mut output = None;
        if let (None, 1, Some((labelled, labels))) = (
            &names,
            meaning.elements.len(),
            meaning.elements.first_key_value(),
        ) {
            names = Some(labels.clone());
            output = Some(labelled.clone());
        }
        if let (None, Some(path)) = (&names, beside("labels.txt")) {
            let lines: Vec<String> = text(&path)?
                .lines()
                .map(|line| line.trim().to_owned())
                .collect();
            names = Some(lines);
        }
        let mut activation = config.activation;
        if let Some(path) = beside("config.json") {
            let model: ModelFile = serde_json::from_str(&text(&path)?)
                .map_err(|error| about(&path, error.to_string()))?;
            meaning.max_positions = model.positions();
            meaning.pad_token = model.pad_token();
            if let (None, Some(map)) = (&names, &model.id2label) {
                let listed = list(map).map_err(|problem| about(&path, problem))?;
                names = Some(listed);
            }
            names = names.or_else(|| model.label_names());
            if meaning.image.is_none() {
                let timm = model.timm();
                meaning.image = timm.map(|timm| ImageConfig {
                    pretrained_cfg: Some(timm),
                    ..ImageConfig::default()
                });
            }
            activation = activation.or_else(|| model.activation());
        }
        if let Some(names) = names.filter(|names| !names.is_empty()) {
            meaning.labels = Some(Labels {
                names,
                activation,
                output,
            });
        }
        Ok(meaning)
    }
}

/// What is read of a model's `config.json`.
#[derive(Deserialize)]
struct ModelFile {
    model_type: Option<String>,
    id2label: Option<Map<String, Value>>,
    problem_type: Option<String>,
    /// Not always numbers that mean something.
    max_position_embeddings: Option<Value>,
    pad_token_id: Option<Value>,
    /// Timm's, which has settings that there is no like of.
    pretrained_cfg: Option<Value>,
    label_names: Option<Value>,
}

impl ModelFile {
    /// Positions for a text. Some models count theirs from behind the padding token's number on.
    fn positions(&self) -> Option<usize> {
        const FROM_PADDING: [&str; 6] = [
            "roberta",
            "xlm-roberta",
            "camembert",
            "mpnet",
            "longformer",
            "roberta-prelayernorm",
        ];
        let model_type = self.model_type.as_deref().unwrap_or_default();
        let before = match FROM_PADDING.contains(&model_type) {
            true => usize::try_from(self.pad_token()?).ok()? + 1,
            false => 0,
        };
        let positions = self.max_position_embeddings.as_ref()?.as_u64()?;
        let positions = usize::try_from(positions).ok()?.checked_sub(before);
        positions.filter(|n| *n > 0)
    }

    fn timm(&self) -> Option<TimmConfig> {
        TimmConfig::deserialize(self.pretrained_cfg.as_ref()?).ok()
    }

    /// In their order, or by their numbers where none is left out.
    fn label_names(&self) -> Option<Vec<String>> {
        match self.label_names.as_ref()? {
            Value::Object(map) => list(map).ok(),
            names => Vec::deserialize(names).ok(),
        }
    }

    fn pad_token(&self) -> Option<u32> {
        u32::try_from(self.pad_token_id.as_ref()?.as_u64()?).ok()
    }

    fn activation(&self) -> Option<Activation> {
        match self.problem_type.as_deref()? {
            "single_label_classification" => Some(Activation::Softmax),
            "multi_label_classification" => Some(Activation::Sigmoid),
            "regression" => Some(Activation::None),
            _ => None,
        }
    }
}

/// The names of `id2label` in the order of their numbers.
fn list(map: &Map<String, Value>) -> Result<Vec<String>, String> {
    let names = (0..map.len()).map(|at| {
        let name = map.get(&at.to_string()).and_then(Value::as_str);
        name.map(str::to_owned)
            .ok_or_else(|| format!("id2label has {} names, but none for {at}", map.len()))
    });
    names.collect()
}

fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if size.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)], config: &NetworkConfig) -> Result<NetworkMeaning, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let beside = |name: &str| Some(folder.path().join(name)).filter(|path| path.is_file());
        let read = NetworkMeaning::read(config, beside)?;
        Ok(NetworkMeaning {
            tokenizer: read.tokenizer.map(|_| "here".into()),
            ..read
        })
    }

    #[test]
    fn classes_are_read_from_the_first_file_that_has_them() {
        let none = NetworkConfig::default();
        let config = r#"{"model_type": "roberta", "id2label": {"1": "dog", "0": "cat"}, "problem_type": "multi_label_classification", "max_position_embeddings": 514, "pad_token_id": 1}"#;
        let read_config =
            read(&[("config.json", config), ("tokenizer.json", "{}")], &none).unwrap();
        let labels = |names: &[&str], activation| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            Some(Labels {
                names,
                activation,
                output: None,
            })
        };
        let expected = NetworkMeaning {
            tokenizer: Some("here".into()),
            max_positions: Some(512),
            pad_token: Some(1),
            labels: labels(&["cat", "dog"], Some(Activation::Sigmoid)),
            ..NetworkMeaning::default()
        };
        assert_eq!(read_config, expected);
        let text = ("labels.txt", "one\n two \n");
        let both = read(&[text, ("config.json", config)], &none).unwrap();
        assert_eq!(
            both.labels,
            labels(&["one", "two"], Some(Activation::Sigmoid))
        );
        let own = NetworkConfig {
            classes: Some(vec!["a".into()]),
            activation: Some(Activation::None),
            ..none.clone()
        };
        let own = read(&[text, ("config.json", config)], &own).unwrap();
        assert_eq!(own.labels, labels(&["a"], Some(Activation::None)));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("names.csv");
        std::fs::write(&file, "x\ny\n").unwrap();
        let triton = NetworkConfig {
            labels: vec![("scores".into(), file)],
            ..none.clone()
        };
        let triton = read(&[text, ("config.json", config)], &triton).unwrap();
        let expected = labels(&["x", "y"], Some(Activation::Sigmoid));
        let expected = expected.map(|labels| Labels {
            output: Some("scores".into()),
            ..labels
        });
        assert_eq!(triton.labels, expected);
        let timm = r#"{"architecture": "resnet18", "label_names": ["n1", "n2"], "pretrained_cfg": {"input_size": [3, 64, 64], "crop_pct": 0.9, "classifier": "fc"}}"#;
        let timm = read(&[("config.json", timm)], &none).unwrap();
        assert_eq!(timm.labels, labels(&["n1", "n2"], None));
        let image = timm.image.and_then(|image| image.pretrained_cfg);
        assert_eq!(image.and_then(|timm| timm.input_size), Some([3, 64, 64]));
        assert_eq!(read(&[], &none), Ok(NetworkMeaning::default()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let none = NetworkConfig::default();
        for (name, text, words) in [
            ("config.json", "{", "config.json: EOF"),
            (
                "config.json",
                r#"{"id2label": {"0": "a", "2": "b"}}"#,
                "config.json: id2label has 2 names, but none for 1",
            ),
            (
                "preprocessor_config.json",
                r#"{"resample": "soft"}"#,
                "preprocessor_config.json: resample is 0 to 5",
            ),
        ] {
            let error = read(&[(name, text)], &none).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
