//! `config.pbtxt`: what Triton's repositories say of a model.
//!
//! <https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto>. What has a meaning here is read; a
//! field by which answers would be other ones is refused by name, one that only tunes Triton is told of and not used.

mod text;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use std::path::{Path, PathBuf};

use super::NetworkPlace;
use super::config::{LONGEST_CONFIG, read_text};
use super::policy::VersionPolicy;
use text::{Field, Message, Value};

/// The file in the model's folder.
const CONFIG: &str = "config.pbtxt";

/// Most instances that are started because a file says so.
const MOST_INSTANCES: i64 = 64;
/// Longest wait for other inputs that makes sense, in microseconds.
const LONGEST_DELAY_US: i64 = 10_000_000;

/// The element types that Triton has.
const TYPES: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
    "FP32", "FP64", "STRING", "BF16",
];

/// What makes other answers, or none, and is not had here.
const REFUSED: [&str; 8] = [
    "batch_input",
    "batch_output",
    "cc_model_filenames",
    "ensemble_scheduling",
    "model_operations",
    "model_repository_agents",
    "runtime",
    "sequence_batching",
];

/// Fields that may be there several times.
const MANY: [&str; 6] = [
    "input",
    "instance_group",
    "metric_tags",
    "model_warmup",
    "output",
    "parameters",
];

/// What only tunes Triton.
const UNUSED: [&str; 6] = [
    "metric_tags",
    "model_metrics",
    "model_warmup",
    "optimization",
    "parameters",
    "response_cache",
];

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TritonConfig {
    pub name: Option<String>,
    /// Most inputs that run as one; 0 where tensors have no dimension that counts them.
    pub max_batch_size: Option<usize>,
    pub inputs: Vec<DeclaredTensor>,
    pub outputs: Vec<DeclaredTensor>,
    /// Outputs with the files of their labels.
    pub labels: Vec<(String, String)>,
    pub preferred_batch_sizes: Vec<usize>,
    pub max_delay: Option<Duration>,
    pub instances: Option<usize>,
    pub versions: Option<VersionPolicy>,
    /// The name of a version's file.
    pub file_name: Option<String>,
    /// How the file has to end.
    pub endings: Option<&'static [&'static str]>,
    /// Fields that are not used.
    pub unused: Vec<String>,
}

impl TritonConfig {
    /// Whether the folder of a model is one of a repository of Triton.
    pub fn is_there(model: &Path) -> bool {
        model.join(CONFIG).is_file()
    }

    /// What is said in the folder of a model; `None` where nothing is.
    ///
    /// # Errors
    /// A sentence: the file, the line, and what is wrong there.
    pub fn of(model: &Path) -> Result<Option<TritonConfig>, String> {
        if !Self::is_there(model) {
            return Ok(None);
        }
        let path = model.join(CONFIG);
        let config = read(&path).map_err(|problem| format!("{}: {problem}", path.display()))?;
        Ok(Some(config))
    }

    /// Refuses batches to wait for that are larger than any is: the largest is what this file says, else `most`.
    pub fn check_batches(&self, model: &Path, most: usize) -> Result<(), String> {
        let most = self.max_batch_size.unwrap_or(most);
        let mut sizes = self.preferred_batch_sizes.iter();
        match sizes.find(|size| **size > most) {
            None => Ok(()),
            Some(size) => Err(format!(
                "{}: dynamic_batching.preferred_batch_size: {size} is more than max_batch_size, {most}",
                model.join(CONFIG).display()
            )),
        }
    }

    /// Outputs with the files of their labels.
    ///
    /// # Errors
    /// A sentence: which file is not there.
    pub fn labels(&self, place: &NetworkPlace) -> Result<Vec<(String, PathBuf)>, String> {
        let found = self
            .labels
            .iter()
            .map(|(output, file)| match place.beside(file) {
                Some(path) => Ok((output.clone(), path)),
                None => {
                    let folder = place.folders().last().cloned().unwrap_or_default();
                    let config = folder.join(CONFIG);
                    Err(format!(
                        "{}: label_filename: there is no {file:?}",
                        config.display()
                    ))
                }
            });
        found.collect()
    }

    /// Refuses what is said of another model, or of a file of another kind.
    pub fn check(&self, model: &Path, file: &Path) -> Result<(), String> {
        let wrong = |problem: String| Err(format!("{}: {problem}", model.join(CONFIG).display()));
        if let Some(name) = self.name.as_ref().filter(|name| !name.is_empty())
            && model.file_name() != Some(name.as_ref())
        {
            return wrong(format!("name: {name:?} is not the folder's"));
        }
        let ending = file
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        match self.endings.is_none_or(|endings| endings.contains(&ending)) {
            true => Ok(()),
            false => wrong(format!("the platform is not that of {}", file.display())),
        }
    }
}

/// What a file said, which holds as long as its size and time stay the same.
struct Known {
    stamp: (u64, SystemTime),
    said: Result<TritonConfig, String>,
}

/// By path: folders of models are looked at again and again.
static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Known>>> = LazyLock::new(Mutex::default);

/// A file that was written so long ago has a later time once it is written to again.
const SETTLED: Duration = Duration::from_secs(2);

/// Reads a file, where it is not known what it says.
fn read(path: &Path) -> Result<TritonConfig, String> {
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let stamp = std::fs::metadata(path)
        .and_then(|meta| Ok((meta.len(), meta.modified()?)))
        .ok();
    if let Some(stamp) = stamp
        && let Some(old) = known().get(path).filter(|old| old.stamp == stamp)
    {
        return old.said.clone();
    }
    let said = read_text(path, LONGEST_CONFIG).and_then(|text| parse(&text));
    let is_settled = |(_, modified): &(u64, SystemTime)| {
        let age = modified.elapsed();
        age.is_ok_and(|age| age >= SETTLED)
    };
    if let Some(stamp) = stamp.filter(is_settled) {
        let said = said.clone();
        known().insert(path.to_owned(), Known { stamp, said });
    }
    said
}

/// A tensor as a file says that the network takes or gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTensor {
    /// Its name.
    pub name: String,
    /// The type of its elements as Triton calls it, without `TYPE_`; `None` where that is not said.
    pub data_type: Option<String>,
    /// Its dimensions, -1 for any size, without the one that counts inputs where there is one.
    pub dims: Vec<i64>,
}

/// A field, and in which message it stands.
struct At<'a> {
    field: &'a Field,
    within: &'a str,
}

impl At<'_> {
    fn name(&self) -> &str {
        &self.field.name
    }

    fn wrong<T>(&self, what: impl std::fmt::Display) -> Result<T, String> {
        let Field { name, line, .. } = self.field;
        let within = self.within;
        let point = if within.is_empty() { "" } else { "." };
        Err(format!("line {line}: {within}{point}{name}: {what}"))
    }

    fn expected<T>(&self, what: &str) -> Result<T, String> {
        let found = match &self.field.value {
            Value::Word(text) | Value::Number(text) => format!("found {text}"),
            Value::Text(text) => format!("found {text:?}"),
            Value::Message(_) => format!("found {}", self.field.value.kind()),
        };
        self.wrong(format!("expected {what}, {found}"))
    }

    fn unknown<T>(&self) -> Result<T, String> {
        self.wrong("there is no such field")
    }

    fn refused<T>(&self) -> Result<T, String> {
        self.wrong("Hearth does not have this")
    }

    fn text(&self) -> Result<String, String> {
        match &self.field.value {
            Value::Text(text) => Ok(text.clone()),
            _ => self.expected("a text"),
        }
    }

    fn word(&self) -> Result<&str, String> {
        match &self.field.value {
            Value::Word(word) => Ok(word),
            _ => self.expected("a word"),
        }
    }

    fn boolean(&self) -> Result<bool, String> {
        match &self.field.value {
            Value::Word(word) if word == "true" || word == "True" || word == "t" => Ok(true),
            Value::Word(word) if word == "false" || word == "False" || word == "f" => Ok(false),
            Value::Number(number) if number == "1" => Ok(true),
            Value::Number(number) if number == "0" => Ok(false),
            _ => self.expected("true or false"),
        }
    }

    fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, String> {
        let number = match &self.field.value {
            Value::Number(number) => number.parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(number),
            None => self.expected(&format!(
                "a number from {} to {}",
                range.start(),
                range.end()
            )),
        }
    }

    fn size(&self, range: RangeInclusive<i64>) -> Result<usize, String> {
        let number = self.integer(range)?;
        usize::try_from(number).or_else(|_| self.expected("a size"))
    }

    fn message(&self) -> Result<&Message, String> {
        match &self.field.value {
            Value::Message(message) => Ok(message),
            _ => self.expected("a message"),
        }
    }

    /// Refuses what is said unless it is what holds anyway.
    fn only(&self, holds: bool) -> Result<(), String> {
        match self.boolean()? == holds {
            true => Ok(()),
            false => self.refused(),
        }
    }
}

/// Calls `read` with each field; one that is there twice and is none of `many` is wrong.
fn each<'a>(
    message: &'a Message,
    within: &'a str,
    many: &[&str],
    mut read: impl FnMut(At<'a>) -> Result<(), String>,
) -> Result<(), String> {
    let mut seen: Vec<&str> = Vec::new();
    for field in &message.fields {
        let at = At { field, within };
        let is_single = !many.contains(&field.name.as_str());
        if is_single && seen.contains(&field.name.as_str()) {
            return at.wrong("it is there twice");
        }
        if is_single {
            seen.push(&field.name);
        }
        read(at)?;
    }
    Ok(())
}

/// Reads the text of a `config.pbtxt`.
///
/// # Errors
/// A sentence: the line, the field, and what is wrong with it.
pub(super) fn parse(text: &str) -> Result<TritonConfig, String> {
    let message = text::parse(text)?;
    let mut config = TritonConfig::default();
    each(&message, "", &MANY, |at| {
        match at.name() {
            "name" => config.name = Some(at.text()?),
            "platform" | "backend" => config.endings = format(&at, config.endings)?,
            "max_batch_size" => config.max_batch_size = Some(at.size(0..=i64::from(i32::MAX))?),
            "input" => config
                .inputs
                .push(tensor(at.message()?, "input", &mut config.unused)?.0),
            "output" => {
                let (tensor, labels) = tensor(at.message()?, "output", &mut config.unused)?;
                config
                    .labels
                    .extend(labels.map(|file| (tensor.name.clone(), file)));
                config.outputs.push(tensor);
            }
            "dynamic_batching" => dynamic_batching(at.message()?, &mut config)?,
            "instance_group" => instances(at.message()?, &mut config)?,
            "version_policy" => config.versions = Some(versions(&at)?),
            "model_transaction_policy" => {
                let within = "model_transaction_policy";
                each(at.message()?, within, &[], |at| match at.name() {
                    "decoupled" => at.only(false),
                    _ => at.unknown(),
                })?;
            }
            "default_model_filename" => config.file_name = file_name(&at)?,
            name if UNUSED.contains(&name) => config.unused.push(name.to_owned()),
            name if REFUSED.contains(&name) => return at.refused(),
            _ => return at.unknown(),
        }
        Ok(())
    })?;
    if config
        .instances
        .is_some_and(|count| count as i64 > MOST_INSTANCES)
    {
        return Err(format!(
            "instance_group: more than {MOST_INSTANCES} instances"
        ));
    }
    config.unused.sort();
    config.unused.dedup();
    Ok(config)
}

/// The endings that a file of the format has which `platform` or `backend` names.
fn format(
    at: &At,
    before: Option<&'static [&'static str]>,
) -> Result<Option<&'static [&'static str]>, String> {
    let endings: &[&str] = match at.text()?.as_str() {
        "" => return Ok(before),
        "onnxruntime_onnx" | "onnxruntime" => &["onnx"],
        "pytorch_libtorch" | "pytorch" => &["pt2", "pt"],
        _ => {
            return at.expected(
                "\"onnxruntime_onnx\", \"onnxruntime\", \"pytorch_libtorch\" or \"pytorch\"",
            );
        }
    };
    match before {
        Some(other) if other != endings => at.wrong("platform and backend are of different kinds"),
        _ => Ok(Some(endings)),
    }
}

/// A tensor, and the file of its labels.
fn tensor(
    message: &Message,
    within: &'static str,
    unused: &mut Vec<String>,
) -> Result<(DeclaredTensor, Option<String>), String> {
    let mut tensor = DeclaredTensor {
        name: String::new(),
        data_type: None,
        dims: Vec::new(),
    };
    let mut labels = None;
    each(message, within, &["dims"], |at| {
        match at.name() {
            "name" => tensor.name = at.text()?,
            "data_type" => {
                let known = at
                    .word()?
                    .strip_prefix("TYPE_")
                    .filter(|name| TYPES.contains(name));
                match known {
                    Some(name) => tensor.data_type = Some(name.to_owned()),
                    None => return at.expected("a type such as TYPE_FP32"),
                }
            }
            "dims" => tensor.dims.push(at.integer(-1..=i64::MAX)?),
            "label_filename" if within == "output" => labels = file_name(&at)?,
            "format" if within == "input" => match at.word()? {
                "FORMAT_NONE" => {}
                "FORMAT_NHWC" | "FORMAT_NCHW" => unused.push("input.format".to_owned()),
                _ => return at.expected("FORMAT_NONE, FORMAT_NHWC or FORMAT_NCHW"),
            },
            "is_shape_tensor" | "allow_ragged_batch" | "optional" | "is_non_linear_format_io" => {
                at.only(false)?
            }
            "reshape" => return at.refused(),
            _ => return at.unknown(),
        }
        Ok(())
    })?;
    match tensor.name.is_empty() {
        true => Err(format!("{within}: a tensor has no name")),
        false => Ok((tensor, labels)),
    }
}

fn dynamic_batching(message: &Message, config: &mut TritonConfig) -> Result<(), String> {
    each(
        message,
        "dynamic_batching",
        &["preferred_batch_size"],
        |at| {
            match at.name() {
                "preferred_batch_size" => {
                    config
                        .preferred_batch_sizes
                        .push(at.size(1..=i64::from(i32::MAX))?);
                }
                "max_queue_delay_microseconds" => {
                    let delay = at.integer(0..=LONGEST_DELAY_US)?;
                    config.max_delay = Some(Duration::from_micros(delay.unsigned_abs()));
                }
                "preserve_ordering" => at.only(false)?,
                "priority_levels" | "default_priority_level" => {
                    at.integer(0..=0).or_else(|_| at.refused())?;
                }
                "default_queue_policy" | "priority_queue_policy" => return at.refused(),
                _ => return at.unknown(),
            }
            Ok(())
        },
    )
}

/// Adds the instances of a group.
fn instances(message: &Message, config: &mut TritonConfig) -> Result<(), String> {
    let mut count = 1;
    each(
        message,
        "instance_group",
        &["gpus", "profile", "secondary_devices"],
        |at| {
            match at.name() {
                "count" => count = at.size(1..=MOST_INSTANCES)?,
                "kind" => match at.word()? {
                    "KIND_AUTO" | "KIND_CPU" | "KIND_MODEL" => {}
                    "KIND_GPU" => {
                        return at
                            .wrong("networks compute on the processor; say KIND_CPU or KIND_AUTO");
                    }
                    _ => return at.expected("KIND_AUTO or KIND_CPU"),
                },
                "name" => drop(at.text()?),
                "passive" => at.only(false)?,
                "host_policy" | "rate_limiter" => {
                    config.unused.push(format!("instance_group.{}", at.name()))
                }
                "gpus" | "profile" | "secondary_devices" => return at.refused(),
                _ => return at.unknown(),
            }
            Ok(())
        },
    )?;
    config.instances = Some(config.instances.unwrap_or(0) + count);
    Ok(())
}

fn versions(at: &At) -> Result<VersionPolicy, String> {
    let within = "version_policy";
    let mut policy = None;
    each(at.message()?, within, &[], |choice| {
        if policy.is_some() {
            return choice.wrong("there is another choice before it");
        }
        let message = choice.message()?;
        policy = Some(match choice.name() {
            "all" => {
                each(message, "version_policy.all", &[], |at| at.unknown())?;
                VersionPolicy::All
            }
            "latest" => {
                let mut count = 1;
                each(message, "version_policy.latest", &[], |at| {
                    match at.name() {
                        "num_versions" => {
                            count = at.size(1..=i64::from(u32::MAX))?;
                            Ok(())
                        }
                        _ => at.unknown(),
                    }
                })?;
                VersionPolicy::Latest(count)
            }
            "specific" => {
                let mut versions = Vec::new();
                each(
                    message,
                    "version_policy.specific",
                    &["versions"],
                    |at| match at.name() {
                        "versions" => {
                            versions.push(at.integer(1..=i64::MAX)?.unsigned_abs());
                            Ok(())
                        }
                        _ => at.unknown(),
                    },
                )?;
                VersionPolicy::Specific(versions)
            }
            _ => return choice.unknown(),
        });
        Ok(())
    })?;
    Ok(policy.unwrap_or_default())
}

/// The name of a file in the model's folder, or a version's.
fn file_name(at: &At) -> Result<Option<String>, String> {
    let name = at.text()?;
    if name.is_empty() {
        return Ok(None);
    }
    let is_plain = std::path::Path::new(&name).file_name() == Some(name.as_ref());
    match is_plain && !name.contains(['/', '\\', '\0']) {
        true => Ok(Some(name)),
        false => at.expected("the name of a file, without folders"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: &str = r#"
        # As Triton's documents have it.
        name: "densenet"
        platform: "onnxruntime_onnx"
        max_batch_size: 8
        input [ { name: "data_0" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 224, 224 ] } ]
        input { name: "mask", data_type: TYPE_INT64; dims: -1 }
        output [
          { name: "fc6_1" data_type: TYPE_FP32 dims: [ 1000 ] label_filename: "labels.txt" }
        ]
        dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
        instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 } ]
        version_policy: { specific: { versions: [1, 3] } }
        default_model_filename: "net.onnx"
        parameters { key: "x" value: { string_value: "1" } }
        parameters: { key: "y" value: { string_value: "2" } }
    "#;

    #[test]
    fn what_triton_documents_is_read() {
        let tensor = |name: &str, data_type: &str, dims: &[i64]| DeclaredTensor {
            name: name.into(),
            data_type: Some(data_type.into()),
            dims: dims.to_vec(),
        };
        let expected = TritonConfig {
            name: Some("densenet".into()),
            max_batch_size: Some(8),
            inputs: vec![
                tensor("data_0", "FP32", &[3, 224, 224]),
                tensor("mask", "INT64", &[-1]),
            ],
            outputs: vec![tensor("fc6_1", "FP32", &[1000])],
            labels: vec![("fc6_1".into(), "labels.txt".into())],
            preferred_batch_sizes: vec![4, 8],
            max_delay: Some(Duration::from_micros(100)),
            instances: Some(3),
            versions: Some(VersionPolicy::Specific(vec![1, 3])),
            file_name: Some("net.onnx".into()),
            endings: Some(&["onnx"]),
            unused: vec!["input.format".into(), "parameters".into()],
        };
        assert_eq!(parse(WHOLE), Ok(expected));
        assert_eq!(parse(""), Ok(TritonConfig::default()));
        for (text, policy) in [
            ("version_policy { all {} }", VersionPolicy::All),
            (
                "version_policy: { latest: { num_versions: 2 } }",
                VersionPolicy::Latest(2),
            ),
            ("version_policy: { latest {} }", VersionPolicy::Latest(1)),
            ("version_policy {}", VersionPolicy::Latest(1)),
        ] {
            assert_eq!(
                parse(text).map(|config| config.versions),
                Ok(Some(policy)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_or_not_had_is_named() {
        for (text, problem) in [
            ("name: 1", "line 1: name: expected a text, found 1"),
            (
                "name: \"a\"\nname: \"b\"",
                "line 2: name: it is there twice",
            ),
            ("nme: \"a\"", "nme: there is no such field"),
            ("platform: \"tensorrt_plan\"", "platform: expected"),
            ("backend: \"python\"", "backend: expected"),
            (
                "platform: \"pytorch_libtorch\" backend: \"onnxruntime\"",
                "different kinds",
            ),
            (
                "max_batch_size: -1",
                "max_batch_size: expected a number from 0",
            ),
            ("max_batch_size: 1.5", "max_batch_size: expected a number"),
            (
                "max_batch_size: 99999999999999999999",
                "max_batch_size: expected a number",
            ),
            (
                "input { data_type: TYPE_FP32 }",
                "input: a tensor has no name",
            ),
            (
                "input { name: \"x\" data_type: FP32 }",
                "input.data_type: expected a type",
            ),
            ("input { name: \"x\" dims: -2 }", "input.dims"),
            (
                "input { name: \"x\" optional: true }",
                "input.optional: Hearth does not have this",
            ),
            (
                "input { name: \"x\" reshape { shape: [1] } }",
                "input.reshape",
            ),
            (
                "input { name: \"x\" label_filename: \"l\" }",
                "input.label_filename: there is no",
            ),
            (
                "sequence_batching {}",
                "sequence_batching: Hearth does not have this",
            ),
            ("ensemble_scheduling { step: [] }", "ensemble_scheduling"),
            ("instance_group { kind: KIND_GPU }", "say KIND_CPU"),
            ("instance_group { count: 1000 }", "instance_group.count"),
            (
                "instance_group [{ count: 40 }, { count: 40 }]",
                "more than 64",
            ),
            ("instance_group { gpus: [0] }", "instance_group.gpus"),
            (
                "dynamic_batching { preserve_ordering: true }",
                "preserve_ordering",
            ),
            (
                "dynamic_batching { priority_levels: 2 }",
                "priority_levels: Hearth does not",
            ),
            ("version_policy { all {} latest {} }", "another choice"),
            (
                "version_policy { specific { versions: 0 } }",
                "version_policy.specific.versions",
            ),
            ("version_policy { newest {} }", "version_policy.newest"),
            (
                "default_model_filename: \"../model.onnx\"",
                "default_model_filename",
            ),
            ("default_model_filename: \"..\"", "default_model_filename"),
            ("input { name: \"x\"", "found the end"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_is_read_again_once_it_has_changed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(CONFIG);
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        let write = |name: &str, at: SystemTime| {
            std::fs::write(&path, format!("name: {name:?}")).unwrap();
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(at).unwrap();
        };
        let name = || {
            TritonConfig::of(home.path())
                .unwrap()
                .unwrap()
                .name
                .unwrap()
        };
        // Of one size and time it need not be looked into.
        write("a", long_ago);
        assert_eq!(name(), "a");
        write("b", long_ago);
        assert_eq!(name(), "a");
        write("b", long_ago + Duration::from_secs(1));
        assert_eq!(name(), "b");
        // What has just been written may be written to again within the clock's step.
        let now = SystemTime::now();
        for other in ["c", "d"] {
            write(other, now);
            assert_eq!(name(), other);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(TritonConfig::of(home.path()), Ok(None));
    }

    proptest! {
        #[test]
        fn words_of_the_format_in_any_order_are_read_or_refused(words in prop::collection::vec(
            prop::sample::select(vec![
                "name", "input", "output", "dims", "version_policy", "latest", "num_versions", "specific", "versions",
                "instance_group", "count", "dynamic_batching", "preferred_batch_size", "max_batch_size", ":", "{", "}",
                "[", "]", ",", "\"a\"", "1", "-1", "TYPE_FP32", "data_type", "#", "\n",
            ]), 0..60)) {
            let _ = parse(&words.join(" "));
        }

        #[test]
        fn a_damaged_file_is_read_or_refused(at in 0..WHOLE.len(), with in any::<char>()) {
            let mut text = WHOLE.to_owned();
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                text.replace_range(at..at + 1, &with.to_string());
            }
            let _ = parse(&text);
        }
    }
}
