//! What is said about running a network: its `config.toml`, and the `config.pbtxt` of a repository of Triton.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_formats::torchscript::{DeclaredDim, DeclaredInput};
use hearth_vision::ImageConfig;
use serde::Deserialize;

use super::super::meaning::Activation;
use super::NetworkPlace;
use super::policy::VersionPolicy;
use super::triton::{DeclaredTensor, TritonConfig};

/// The file in the model's folder.
const CONFIG: &str = "config.toml";
/// Longest of these files, in bytes.
pub(super) const LONGEST_CONFIG: u64 = 1 << 20;
/// Longest file of labels.
const LONGEST_LABELS: u64 = 16 << 20;

/// How a network is run, as `config.toml` and `config.pbtxt` beside it say.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// Most inputs that run as one batch, of one request or several; 32 unless told otherwise.
    pub max_batch_size: usize,
    /// How long an input waits for others to run with; not at all unless told otherwise, so that only those run together
    /// that arrive while others run.
    pub max_delay: Duration,
    /// The engine, where it is not left to the server.
    pub engine: Option<NetworkEngine>,
    /// The class of transformers that a checkpoint is built as, where it is not the one that its `config.json` names.
    pub architecture: Option<String>,
    /// Whether the first dimension of its tensors is said to count inputs, or not to; where it isn't said its shapes tell.
    pub counts_inputs: Option<bool>,
    /// Numbers of inputs that run at once where so many are there, without waiting for more.
    pub preferred_batch_sizes: Vec<usize>,
    /// Instances that are started, where nothing else is set.
    pub instances: Option<usize>,
    /// Which versions are served; all unless told otherwise.
    pub versions: VersionPolicy,
    /// What the inputs are, of a TorchScript module, which does not say so itself.
    pub inputs: Vec<DeclaredInput>,
    /// What `config.pbtxt` says that it takes, which has to be so.
    pub takes: Vec<DeclaredTensor>,
    /// What `config.pbtxt` says that it gives, which has to be so.
    pub gives: Vec<DeclaredTensor>,
    /// Outputs with the files that name their elements, a line each.
    pub labels: Vec<(String, PathBuf)>,
    /// What is said and not used: names of fields.
    pub unused: Vec<String>,
    /// The names of a classifier's classes.
    pub classes: Option<Vec<String>>,
    /// What makes scores of a classifier's numbers.
    pub activation: Option<Activation>,
    /// How images are made inputs.
    pub image: Option<ImageConfig>,
}

/// An engine that networks run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkEngine {
    /// Part of the program.
    Tract,
    /// ONNX Runtime, a library of its own.
    OnnxRuntime,
}

/// The file, field by field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    max_batch_size: Option<usize>,
    max_delay_ms: Option<f64>,
    engine: Option<NetworkEngine>,
    architecture: Option<String>,
    versions: Option<VersionPolicy>,
    #[serde(default)]
    inputs: BTreeMap<String, InputTable>,
    classes: Option<Vec<String>>,
    activation: Option<Activation>,
    image: Option<toml::Table>,
}

/// An input of the file, below `inputs.NAME`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputTable {
    dtype: Option<String>,
    shape: Option<Vec<DimField>>,
}

/// A size, -1 for any size, or a name for one that is the same wherever it stands.
#[derive(Deserialize)]
#[serde(untagged)]
enum DimField {
    Size(i64),
    Name(String),
}

impl InputTable {
    fn declared(self, name: String) -> Result<DeclaredInput, String> {
        let dim = |dim: DimField| match dim {
            DimField::Size(size) => DeclaredDim::of(size),
            DimField::Name(name) => name.parse(),
        };
        let shape = self.shape.map(|shape| shape.into_iter().map(dim).collect());
        DeclaredInput::new(name, self.dtype.as_deref(), shape.transpose()?)
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig {
            max_batch_size: 32,
            max_delay: Duration::ZERO,
            engine: None,
            architecture: None,
            counts_inputs: None,
            preferred_batch_sizes: Vec::new(),
            instances: None,
            versions: VersionPolicy::All,
            inputs: Vec::new(),
            takes: Vec::new(),
            gives: Vec::new(),
            labels: Vec::new(),
            unused: Vec::new(),
            classes: None,
            activation: None,
            image: None,
        }
    }
}

impl NetworkConfig {
    /// Reads the text of a `config.toml`; tells also which of its keys `config.pbtxt` may have in its own words.
    fn parse(text: &str) -> Result<(NetworkConfig, Vec<&'static str>), String> {
        /// Longest wait that makes sense for a request, in milliseconds.
        const LONGEST_DELAY_MS: f64 = 10_000.0;
        let file: ConfigFile = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.max_batch_size == Some(0) {
            return Err("max_batch_size is 0; a batch is one input or more".into());
        }
        let delay_ms = file.max_delay_ms.unwrap_or(0.0);
        if !(0.0..=LONGEST_DELAY_MS).contains(&delay_ms) {
            return Err(format!(
                "max_delay_ms is {delay_ms}; it goes from 0 to {LONGEST_DELAY_MS}"
            ));
        }
        if matches!(&file.versions, Some(VersionPolicy::Latest(0))) {
            return Err("versions: the latest 0 are none".into());
        }
        let said = [
            (file.max_batch_size.is_some(), "max_batch_size"),
            (file.max_delay_ms.is_some(), "max_delay_ms"),
            (file.versions.is_some(), "versions"),
        ];
        let inputs = file.inputs.into_iter().map(|(name, input)| {
            let key = format!("inputs.{name}");
            input
                .declared(name)
                .map_err(|problem| format!("{key}: {problem}"))
        });
        let default = NetworkConfig::default();
        let config = NetworkConfig {
            max_batch_size: file.max_batch_size.unwrap_or(default.max_batch_size),
            max_delay: Duration::from_secs_f64(delay_ms / 1e3),
            engine: file.engine,
            architecture: file.architecture,
            inputs: inputs.collect::<Result<_, _>>()?,
            versions: file.versions.unwrap_or(default.versions.clone()),
            classes: file.classes,
            activation: file.activation,
            image: file.image.map(image).transpose()?,
            ..default
        };
        Ok((
            config,
            said.into_iter()
                .filter(|(is_said, _)| *is_said)
                .map(|(_, key)| key)
                .collect(),
        ))
    }

    /// The same with what a repository of Triton says of the model; `said` was said before.
    fn with_triton(self, triton: TritonConfig, said: &[&str]) -> Result<NetworkConfig, String> {
        let twice = |key: &str, is_said: bool| match is_said && said.contains(&key) {
            true => Err(format!(
                "it says {key}, and config.pbtxt does too; keep one of them"
            )),
            false => Ok(()),
        };
        twice("max_batch_size", triton.max_batch_size.is_some())?;
        twice("max_delay_ms", triton.max_delay.is_some())?;
        twice("versions", triton.versions.is_some())?;
        Ok(NetworkConfig {
            max_batch_size: triton.max_batch_size.unwrap_or(self.max_batch_size).max(1),
            max_delay: triton.max_delay.unwrap_or(self.max_delay),
            counts_inputs: triton.max_batch_size.map(|most| most > 0),
            preferred_batch_sizes: triton.preferred_batch_sizes,
            instances: triton.instances,
            versions: match said.contains(&"versions") {
                true => self.versions,
                false => triton.versions.unwrap_or_default(),
            },
            takes: triton.inputs,
            gives: triton.outputs,
            unused: triton.unused,
            ..self
        })
    }

    /// What a part of the program says of itself in the words of a `config.toml`.
    pub(in crate::catalog) fn built_in(text: &str) -> Result<NetworkConfig, String> {
        NetworkConfig::parse(text).map(|(config, _)| config)
    }

    /// What is said about the network at `place`.
    ///
    /// # Errors
    /// A sentence: which file is wrong, and what.
    pub fn of(place: &NetworkPlace) -> Result<NetworkConfig, String> {
        let Some((model, version)) = place.folders().split_last() else {
            return Ok(NetworkConfig::default());
        };
        let about = |path: &Path, problem: String| format!("{}: {problem}", path.display());
        if let Some(misplaced) = { version.iter() }
            .map(|folder| folder.join(CONFIG))
            .find(|path| path.exists())
        {
            let problem = "all versions of a model have one, in the model's folder".to_owned();
            return Err(about(&misplaced, problem));
        }
        let path = model.join(CONFIG);
        let (config, said) = match path.is_file() {
            true => read_text(&path, LONGEST_CONFIG)
                .and_then(|text| NetworkConfig::parse(&text))
                .map_err(|problem| about(&path, problem))?,
            false => (NetworkConfig::default(), Vec::new()),
        };
        let Some(triton) = TritonConfig::of(model)? else {
            return Ok(config);
        };
        triton.check(model, &place.file)?;
        triton.check_batches(model, config.max_batch_size)?;
        let labels = triton.labels(place)?;
        let config = config.with_triton(triton, &said);
        let config = config.map_err(|problem| about(&path, problem))?;
        Ok(NetworkConfig { labels, ..config })
    }

    /// Reads the names of outputs' elements, by output.
    ///
    /// # Errors
    /// A sentence: which file can't be read, and why.
    pub fn read_labels(&self) -> Result<BTreeMap<String, Vec<String>>, String> {
        let read = |(output, path): &(String, PathBuf)| {
            let text = read_text(path, LONGEST_LABELS);
            let text = text.map_err(|problem| format!("{}: {problem}", path.display()))?;
            let lines = text.lines().map(|line| line.trim_end().to_owned());
            Ok((output.clone(), lines.collect()))
        };
        self.labels.iter().map(read).collect()
    }
}

/// Reads a file that is no longer than makes sense.
pub(super) fn read_text(path: &Path, longest: u64) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if size.len() > longest {
        return Err(format!("it is longer than {longest} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// What the table `image` says.
fn image(table: toml::Table) -> Result<ImageConfig, String> {
    let known = |name: &String| ImageConfig::NAMES.contains(&name.as_str());
    if let Some(name) = table.keys().find(|name| !known(name)) {
        let names = ImageConfig::NAMES.join(", ");
        return Err(format!("image.{name} is not known; there are {names}"));
    }
    let image = table.try_into::<ImageConfig>();
    image.map_err(|error| format!("image: {}", error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_config_toml_says_is_read_or_refused() {
        let read = |text: &str| NetworkConfig::parse(text).map(|(config, _)| config);
        assert_eq!(read(""), Ok(NetworkConfig::default()));
        let all = "max_batch_size = 8\nmax_delay_ms = 2.5\nengine = \"tract\"\narchitecture = \"BertModel\"";
        assert_eq!(
            read(all),
            Ok(NetworkConfig {
                max_batch_size: 8,
                max_delay: Duration::from_micros(2500),
                engine: Some(NetworkEngine::Tract),
                architecture: Some("BertModel".into()),
                ..NetworkConfig::default()
            })
        );
        let inputs = "[inputs.x]\ndtype = \"float32\"\nshape = [\"batch\", 3, -1]\n[inputs.mask]";
        let inputs = read(inputs).unwrap().inputs;
        assert_eq!(
            inputs[0],
            "mask=[]"
                .parse::<DeclaredInput>()
                .map(|mut mask| {
                    mask.shape = None;
                    mask
                })
                .unwrap()
        );
        assert_eq!(inputs[1], "x=float32[batch,3,-1]".parse().unwrap());
        let classifier = "classes = ['a', 'b']\nactivation = 'sigmoid'\n[image]\nsize = 28\nresample = 'box'\nimage_std = [2]";
        let classifier = read(classifier).unwrap();
        assert_eq!(classifier.classes, Some(vec!["a".into(), "b".into()]));
        assert_eq!(classifier.activation, Some(Activation::Sigmoid));
        assert_eq!(
            classifier.image.and_then(|image| image.image_std),
            Some(vec![2.0])
        );
        for (text, policy) in [
            ("versions = \"all\"", VersionPolicy::All),
            ("versions = { latest = 2 }", VersionPolicy::Latest(2)),
            ("versions = [1, 3]", VersionPolicy::Specific(vec![1, 3])),
        ] {
            assert_eq!(
                read(text).map(|config| config.versions),
                Ok(policy),
                "{text}"
            );
        }
        for (text, problem) in [
            ("max_batch_size = 0", "max_batch_size is 0"),
            ("max_delay_ms = -1.0", "max_delay_ms is -1"),
            ("max_delay_ms = nan", "max_delay_ms is NaN"),
            ("engine = \"torch\"", "torch"),
            ("versions = \"newest\"", "versions"),
            ("versions = { latest = 0 }", "the latest 0"),
            ("versions = [-1]", "versions"),
            ("batch = 8", "batch"),
            (
                "[inputs.x]\ndtype = \"float\"",
                "inputs.x: \"float\" is no type",
            ),
            ("[inputs.x]\nshape = [-3]", "-3 is no size"),
            ("[inputs.x]\nsize = 3", "size"),
            ("max_batch_size = ", "max_batch_size"),
            ("activation = 'relu'", "relu"),
            ("[image]\nmean = [1]", "image.mean is not known"),
            ("[image]\nresample = 'soft'", "image: resample is 0 to 5"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn one_config_is_for_all_versions_and_none_for_files_beside_each_other() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let config = |name: &str| NetworkConfig::of(&NetworkPlace::find(&at(name)).unwrap());
        for folder in ["m", "v/1"] {
            std::fs::create_dir_all(at(folder)).unwrap();
            std::fs::write(at(folder).join("model.onnx"), "").unwrap();
        }
        std::fs::write(at("m/other.onnx"), "").unwrap();
        assert_eq!(config("m"), Ok(NetworkConfig::default()));
        for folder in ["m", "v"] {
            std::fs::write(at(folder).join("config.toml"), "max_batch_size = 4").unwrap();
            assert_eq!(config(folder).unwrap().max_batch_size, 4);
        }
        assert_eq!(config("m/model.onnx").unwrap().max_batch_size, 4);
        assert_eq!(config("m/other.onnx"), Ok(NetworkConfig::default()));
        std::fs::write(at("v/1/config.toml"), "").unwrap();
        assert!(
            config("v")
                .unwrap_err()
                .contains("1/config.toml: all versions")
        );
        std::fs::write(at("m/config.toml"), "max_batch_size = 0").unwrap();
        let error = config("m").unwrap_err();
        assert!(error.contains("config.toml: max_batch_size"), "{error}");
    }

    #[test]
    fn what_triton_says_holds_unless_it_is_said_twice() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("net");
        std::fs::create_dir_all(folder.join("1")).unwrap();
        std::fs::write(folder.join("1/model.onnx"), "").unwrap();
        let config = |toml: &str, triton: &str| {
            std::fs::write(folder.join("config.toml"), toml).unwrap();
            std::fs::write(folder.join("config.pbtxt"), triton).unwrap();
            NetworkConfig::of(&NetworkPlace::find(&folder).unwrap())
        };
        let both = config(
            "engine = \"tract\"\nmax_delay_ms = 1.0",
            "name: \"net\" platform: \"onnxruntime_onnx\" max_batch_size: 8 optimization {}",
        );
        let expected = NetworkConfig {
            max_batch_size: 8,
            counts_inputs: Some(true),
            max_delay: Duration::from_millis(1),
            engine: Some(NetworkEngine::Tract),
            versions: VersionPolicy::Latest(1),
            unused: vec!["optimization".into()],
            ..NetworkConfig::default()
        };
        assert_eq!(both, Ok(expected));
        std::fs::write(folder.join("labels.txt"), "cat\r\ndog\n").unwrap();
        let text = "output { name: \"y\" label_filename: \"labels.txt\" }";
        let labels = config("", text).unwrap().read_labels().unwrap();
        assert_eq!(labels["y"], ["cat", "dog"]);
        let whole = config("versions = \"all\"", "max_batch_size: 0").unwrap();
        assert_eq!(
            (whole.counts_inputs, whole.max_batch_size),
            (Some(false), 1)
        );
        assert_eq!(whole.versions, VersionPolicy::All);
        // Whichever file says how large a batch is, no larger one is waited for.
        let preferred = "dynamic_batching { preferred_batch_size: 8 }";
        let sizes = |toml: &str, triton: &str| {
            let config = config(toml, &format!("{triton} {preferred}"))?;
            Ok::<_, String>((config.max_batch_size, config.preferred_batch_sizes))
        };
        assert_eq!(sizes("max_batch_size = 16", ""), Ok((16, vec![8])));
        assert_eq!(sizes("", "max_batch_size: 8"), Ok((8, vec![8])));
        for (toml, triton, most) in [
            ("max_batch_size = 4", "", 4),
            ("", "max_batch_size: 4", 4),
            ("", "max_batch_size: 0", 0),
        ] {
            let error = sizes(toml, triton).unwrap_err();
            let words = format!("preferred_batch_size: 8 is more than max_batch_size, {most}");
            assert!(error.contains(&words), "{toml} {triton}: {error}");
        }
        for (toml, triton, problem) in [
            (
                "max_batch_size = 4",
                "max_batch_size: 4",
                "config.toml: it says max_batch_size",
            ),
            (
                "versions = [1]",
                "version_policy { all {} }",
                "config.toml: it says versions",
            ),
            ("", "name: \"other\"", "config.pbtxt: name: \"other\""),
            ("", "backend: \"pytorch\"", "config.pbtxt: the platform"),
            (
                "",
                "output { name: \"y\" label_filename: \"no.txt\" }",
                "config.pbtxt: label_filename: there is no \"no.txt\"",
            ),
            (
                "",
                "max_batch_size: x",
                "config.pbtxt: line 1: max_batch_size",
            ),
        ] {
            let error = config(toml, triton).unwrap_err();
            assert!(error.contains(problem), "{toml} {triton}: {error}");
        }
    }
}
