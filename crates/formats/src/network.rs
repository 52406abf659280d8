//! Networks whose architecture is known by name: weights with a `config.json` of transformers or timm, or state dicts of
//! torchvision, whose tensors' names and shapes tell all.
//!
//! What a class computes is no matter of this crate; [`CLASSES`] are those that `hearth-graph` builds.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Config, Error, Result, WeightFiles};

/// The classes of transformers that are built as networks, by their names in `config.json`, and [`RESNET`].
pub const CLASSES: [&str; 24] = [
    RESNET,
    "ResNetForImageClassification",
    "ViTForImageClassification",
    "DeiTForImageClassification",
    "DeiTForImageClassificationWithTeacher",
    "ConvNextForImageClassification",
    "BertModel",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "BertForMaskedLM",
    "BertForPreTraining",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertForQuestionAnswering",
    "DistilBertForMaskedLM",
    "RobertaForSequenceClassification",
    "RobertaForTokenClassification",
    "RobertaForQuestionAnswering",
    "RobertaForMaskedLM",
    "XLMRobertaForSequenceClassification",
    "XLMRobertaForTokenClassification",
    "XLMRobertaForQuestionAnswering",
    "XLMRobertaForMaskedLM",
];
/// The class of ResNets in torchvision and timm.
pub const RESNET: &str = "ResNet";
/// The names that timm has for ResNets as the paper describes them.
const TIMM_RESNETS: [&str; 5] = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"];
/// Classes whose folders are models for embeddings, of the text engine, unless they are asked for as networks.
const ENCODERS: [&str; 1] = ["BertModel"];
/// The file that makes a folder one of sentence-transformers, which is a model for embeddings whatever its class.
const SENTENCE_TRANSFORMERS: &str = "modules.json";
const CONFIG: &str = "config.json";
/// State dicts that need no `config.json`.
const STATE_DICTS: [&str; 2] = ["model.pth", "model.safetensors"];

/// The weights of a network whose architecture is known by name, with its settings.
#[derive(Debug)]
pub struct NetworkCheckpoint {
    folder: Option<PathBuf>,
    class: &'static str,
    config: Config,
    weights: WeightFiles,
}

impl NetworkCheckpoint {
    /// Where the network at `path` lies, if there is one: the folder, if its `config.json` names a class that is built as
    /// one, or `asked` does; or the file of a state dict, which is `path` or in that folder without `config.json`.
    pub fn at(path: &Path, asked: Option<&str>) -> Option<PathBuf> {
        if !path.join(CONFIG).is_file() {
            return state_dict(path);
        }
        let folder = Some(path.to_owned());
        if asked.is_some() {
            return folder;
        }
        let class = Config::open(&path.join(CONFIG)).and_then(|config| class_of(&config));
        let is_network = |class: &&str| !ENCODERS.contains(class);
        let class = class.ok().flatten().filter(is_network);
        folder.filter(|_| class.is_some() && !path.join(SENTENCE_TRANSFORMERS).is_file())
    }

    /// Opens the network at `path`, of the class that `asked` names, or else `config.json`.
    ///
    /// # Errors
    /// A file can't be read or is unsound, or the class is none of [`CLASSES`].
    pub fn open(path: &Path, asked: Option<&str>) -> Result<NetworkCheckpoint> {
        std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
        if path.join(CONFIG).is_file() {
            let config = Config::open(&path.join(CONFIG))?;
            let class = match asked {
                Some(asked) => CLASSES.into_iter().find(|class| *class == asked),
                None => class_of(&config)?,
            };
            let Some(class) = class else {
                let named = config.strings("architectures")?.unwrap_or_default();
                let named = asked.or(named.first().copied()).unwrap_or("missing");
                return Err(config.unsupported(format!(
                    "the architecture {named} as a network; supported: {}",
                    CLASSES.join(", ")
                )));
            };
            return Ok(NetworkCheckpoint {
                folder: Some(path.to_owned()),
                class,
                config,
                weights: WeightFiles::open(path)?,
            });
        }
        let label = path.display().to_string();
        let Some(file) = state_dict(path) else {
            let what = format!(
                "what is neither a folder with {CONFIG} or {} nor a state dict by itself",
                STATE_DICTS.join(" or ")
            );
            return Err(Error::unsupported(label, what));
        };
        let weights = WeightFiles::open_file(&file)?;
        let label = file.display().to_string();
        if asked.is_some_and(|asked| asked != RESNET) || !is_resnet(&weights) {
            let what = format!(
                "a state dict by itself that is none of a ResNet of torchvision; open the folder that also holds {CONFIG}"
            );
            return Err(Error::unsupported(label, what));
        }
        Ok(NetworkCheckpoint {
            folder: None,
            class: RESNET,
            config: Config::new(label, Value::Object(Map::new()))?,
            weights,
        })
    }

    /// The class, one of [`CLASSES`].
    pub fn class(&self) -> &'static str {
        self.class
    }

    /// `config.json`; empty where there is none.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The folder, where the network has one of its own with a `config.json`.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The tensors.
    pub fn weights(&self) -> &WeightFiles {
        &self.weights
    }

    /// The number of weights; a scalar is a counter and none.
    pub fn parameters(&self) -> u64 {
        let shapes = self
            .weights
            .names()
            .filter_map(|name| self.weights.shape(name));
        let elements = shapes.filter(|shape| !shape.is_empty()).map(|shape| {
            let sizes = shape.iter().map(|&size| size as u64);
            sizes.fold(1, u64::saturating_mul)
        });
        elements.fold(0, u64::saturating_add)
    }

    /// The files that hold weights and settings.
    pub fn files(&self) -> Vec<PathBuf> {
        let config = self.folder.iter().map(|folder| folder.join(CONFIG));
        self.weights
            .labels()
            .map(PathBuf::from)
            .chain(config)
            .collect()
    }
}

/// The file of a state dict: `path` itself, or the one in it. One of safetensors may be anything, so that it is looked into.
fn state_dict(path: &Path) -> Option<PathBuf> {
    let file = match path.is_file() {
        true => path.to_owned(),
        false => {
            let mut files = STATE_DICTS.iter().map(|name| path.join(name));
            files.find(|file| file.is_file())?
        }
    };
    let is_one = match file.extension()?.to_str()? {
        "pth" => true,
        "safetensors" => WeightFiles::open_file(&file).is_ok_and(|weights| is_resnet(&weights)),
        _ => false,
    };
    is_one.then_some(file)
}

/// The class that a `config.json` names, where it is one of [`CLASSES`].
fn class_of(config: &Config) -> Result<Option<&'static str>> {
    if let Some(name) = config.string("architecture")? {
        return Ok(TIMM_RESNETS.contains(&name).then_some(RESNET));
    }
    let classes = config.strings("architectures")?.unwrap_or_default();
    let named = |class: &&str| classes.first() == Some(class);
    Ok(CLASSES.into_iter().find(named))
}

/// Whether tensors are named as torchvision names those of a ResNet.
fn is_resnet(weights: &WeightFiles) -> bool {
    [
        "conv1.weight",
        "layer1.0.conv1.weight",
        "layer4.0.conv1.weight",
        "fc.weight",
    ]
    .iter()
    .all(|name| weights.shape(name).is_some())
}
