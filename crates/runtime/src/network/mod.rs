//! An exported network that is loaded.

mod batcher;
mod bounds;
mod declared;
mod images;
mod labels;
mod media;
mod padding;
mod planned;
mod texts;
mod uses;
mod warm_up;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hearth_graph::onnx::ValueInfo;
use hearth_graph::runtime::{
    Engine as GraphEngine, HostTensor, Network, SampleFormat, Samples, check_inputs, fill_defaults,
    join,
};
use hearth_hub::catalog::{NetworkConfig, NetworkMeaning};
use hearth_llm::engine::Shutdown;
use serde_json::{Map, Value};

use std::sync::{Arc, OnceLock};

use crate::Error;
use crate::engine::Engine;
use crate::figures::Figures;
use crate::preparation::Preparation;
use batcher::{Batcher, Batching, Piece, Ran};
use declared::Declared;
use labels::{Labels, Token};
use padding::Padding;
use texts::TextInputs;

pub use bounds::MOST_ROWS;
pub use labels::{ClassForm, ClassOptions, largest};
pub(crate) use media::Preparers;
pub use media::is_image;
pub(crate) use planned::numbers;
pub use uses::NetworkUses;
use warm_up::Cold;

/// Numbers for requests, so that a batch knows whether it is of several.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// Numbers and values up to which they are read or written at once; more of them on a thread for it.
const FEW: usize = 4096;

/// Most runs of a request. Each takes more memory than its numbers, so the length of a request would not bound them.
const MOST_PIECES: usize = 4096;

/// The inputs of a prediction.
#[derive(Debug, Clone)]
pub enum Inputs {
    /// One input of the network, or several: arrays of numbers, texts, images in base64, objects of these by name.
    Json(Value),
    /// An image file or a text, for a network that takes such; else the elements of one input, little-endian, for a network
    /// that takes one tensor.
    Bytes(Bytes),
}

/// What is to be predicted.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// What the network is run on.
    pub inputs: Inputs,
    /// Each element of `inputs` is one input; else its shape tells.
    pub each: bool,
    /// Whether inputs may run together, with each other and those of other requests.
    pub batching: bool,
    /// Whether texts that are too long are cut; else they are refused.
    pub truncation: bool,
    /// How the answer of a classifier is wanted.
    pub classes: ClassOptions,
    /// 0 to 10, higher is run first.
    pub priority: u8,
    /// When to give up.
    pub deadline: Option<Instant>,
}

/// What a network gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// For each input, or the one, what the network gives: classes with scores where it is a classifier whose classes are known;
    /// else a number or nested arrays, by name where it has several outputs.
    pub result: Value,
    /// Inputs that were sent.
    pub input_count: usize,
    /// Whether they were sent as a batch.
    pub is_batch: bool,
    /// Most inputs that ran as one, those of other requests included.
    pub batch_size: usize,
    /// Whether some ran together with other requests' inputs.
    pub shared: bool,
    /// Whether some were filled up to the length of others that they ran with.
    pub padded: bool,
}

/// Tensors to run a network on.
#[derive(Debug, Clone)]
pub struct InferRequest {
    /// By the names of the network's inputs. Where the first dimension counts inputs, it is the number of them.
    pub tensors: Vec<(String, HostTensor)>,
    /// Texts and images in place of tensors: `text`, `text_pair`, and `image` or the name of the input that it fills.
    pub files: Vec<(String, Vec<Bytes>)>,
    /// Whether texts that are too long are cut; else they are refused.
    pub truncation: bool,
    /// 0 to 10, higher is run first.
    pub priority: u8,
    /// When to give up.
    pub deadline: Option<Instant>,
}

/// An exported network at work.
pub struct NetworkService {
    name: String,
    version: u64,
    engine: GraphEngine,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    /// The names of outputs' elements, by output.
    names: BTreeMap<String, Vec<String>>,
    /// The numbers that inputs are made of where they are left out.
    defaults: Vec<Option<f64>>,
    format: SampleFormat,
    preparers: Arc<Preparers>,
    labels: Option<Labels>,
    uses: Arc<NetworkUses>,
    batching: Batching,
    batcher: Batcher,
    /// Bytes of the engine's copies of the weights, once it has all its plans.
    memory_bytes: u64,
    preparation: Preparation,
}

impl NetworkService {
    /// Starts a network that an engine has prepared, after a first run. All instances of one have their `preparers` in common,
    /// which the first makes.
    pub(crate) fn start(
        (name, version): (String, u64),
        network: Arc<dyn Network>,
        config: &NetworkConfig,
        (meaning, preparers): (&NetworkMeaning, &OnceLock<Arc<Preparers>>),
        file_bytes: u64,
        preparation: Preparation,
    ) -> Result<Self, Error> {
        let unfit = |problem: String| Error::Internal {
            message: format!("model '{name}' could not be loaded: {problem}"),
        };
        let declared = Declared::check(network.inputs(), network.outputs(), config);
        let declared = declared.map_err(|problem| unfit(format!("config.pbtxt: {problem}")));
        let Declared {
            inputs,
            outputs,
            is_batched,
        } = declared?;
        if !config.unused.is_empty() {
            let fields = config.unused.join(", ");
            tracing::info!(
                model = name,
                fields,
                "config.pbtxt says what is not used here"
            );
        }
        let new = || Arc::new(Preparers::new(meaning, &inputs, is_batched));
        let preparers = Arc::clone(preparers.get_or_init(new));
        match warm_up::warm_up(&*network, &preparers.narrowed(&inputs), is_batched) {
            Ok(()) => {}
            Err(Cold::Unfit(problem)) => {
                tracing::info!(
                    model = name,
                    problem,
                    "not warmed up: the sizes of its inputs are not known; its first request takes longer"
                );
            }
            Err(Cold::Broken(problem)) => {
                return Err(unfit(format!(
                    "it fails at inputs of its own shapes: {problem}"
                )));
            }
        }
        for problem in preparers.unused(meaning) {
            tracing::warn!(
                model = name,
                problem,
                "a file beside the network is of no use"
            );
        }
        let pad = preparers
            .text()
            .and_then(TextInputs::pad)
            .or(meaning.pad_token);
        let padding = pad
            .filter(|_| is_batched)
            .and_then(|pad| Padding::of(&*network, pad));
        let padding = padding.filter(|padding| padding.is_harmless(&*network));
        let batching = Batching {
            is_batched,
            most: config.max_batch_size,
            delay: config.max_delay,
            preferred: config.preferred_batch_sizes.clone(),
            padding,
        };
        let plans = network.plans_kept().filter(|_| is_batched);
        let numbers = plans.map_or_else(Vec::new, |plans| numbers(batching.most, plans));
        let labels = meaning.labels.clone().and_then(|said| {
            let takes_text = preparers.text().is_some();
            Labels::new(said, &outputs, takes_text, |output| {
                network.are_scores(output)
            })
        });
        let uses = NetworkUses::new(&inputs, &preparers, labels.as_ref());
        let cannot_start = |error: std::io::Error| Error::Internal {
            message: format!("network '{name}' cannot be started: {error}"),
        };
        Ok(Self {
            engine: network.engine(),
            memory_bytes: network.weight_bytes(numbers.len()).unwrap_or(file_bytes),
            outputs,
            defaults: network.defaults().to_vec(),
            format: SampleFormat::new(&inputs, is_batched).with_defaults(network.defaults()),
            inputs,
            preparers,
            names: meaning.elements.clone(),
            uses: uses.into(),
            labels,
            batcher: Batcher::start(network, batching.clone(), numbers).map_err(cannot_start)?,
            batching,
            preparation,
            version,
            name,
        })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which version it is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The engine that runs it: `tract` or `onnxruntime`.
    pub fn runtime(&self) -> String {
        self.engine.to_string()
    }

    /// Whether sequences of different lengths can run together, the shorter ones filled up.
    pub fn is_padded(&self) -> bool {
        self.batching.padding.is_some()
    }

    /// Whether inputs can run together: the network's first dimension counts them.
    pub fn is_batched(&self) -> bool {
        self.batching.is_batched
    }

    /// What it takes.
    pub fn inputs(&self) -> &[ValueInfo] {
        &self.inputs
    }

    /// What it gives.
    pub fn outputs(&self) -> &[ValueInfo] {
        &self.outputs
    }

    /// The class of each number of the output at `place`; `None` where that is none of classes.
    pub fn classes_of(&self, place: usize) -> Option<&[String]> {
        let labels = self.labels.as_ref();
        let labels = labels.filter(|labels| labels.output() == place && !labels.is_per_token());
        let named = || self.names.get(&self.outputs.get(place)?.name);
        labels
            .map(Labels::names)
            .or_else(|| named().map(Vec::as_slice))
    }

    /// What it takes and gives besides tensors.
    pub fn uses(&self) -> &Arc<NetworkUses> {
        &self.uses
    }

    /// Most inputs that run together.
    pub fn max_batch_size(&self) -> usize {
        self.batching.most
    }

    /// Numbers of inputs that run at once where there are so many.
    pub fn preferred_batch_sizes(&self) -> &[usize] {
        &self.batching.preferred
    }

    /// How long an input waits for others.
    pub fn max_delay(&self) -> Duration {
        self.batching.delay
    }

    /// Runs the network. Callers have it from their lease, which counts it.
    pub(crate) async fn predict(
        self: &Arc<Self>,
        request: PredictRequest,
    ) -> Result<Prediction, Error> {
        let PredictRequest {
            inputs,
            each,
            batching,
            truncation,
            classes,
            priority,
            deadline,
        } = request;
        // The time that a text or an image takes is not told by its length.
        let is_plain = self.preparers.is_empty();
        let is_short = match &inputs {
            Inputs::Json(value) => is_short(value) && (is_plain || !has_texts(value)),
            Inputs::Bytes(_) => is_plain,
        };
        if self.classified_tokens(classes).is_some() && classes.top_k.is_some() {
            let problem = "top_k: each token has its most likely class alone";
            return Err(Error::invalid("parameters.top_k", problem));
        }
        let service = Arc::clone(self);
        let read = move || {
            let (format, mut media) = (&service.format, service.preparers.for_request(truncation));
            let read = match (inputs, each) {
                (Inputs::Json(inputs), true) => format.read_batch("inputs", &inputs, &mut media),
                (Inputs::Json(inputs), false) => format.read("inputs", &inputs, &mut media),
                (Inputs::Bytes(bytes), _) => format.read_bytes("inputs", bytes, &mut media),
            };
            let read = read.map_err(|problem| Error::invalid("inputs", problem))?;
            let samples = read.samples.iter();
            let tokens: Vec<Vec<Token>> = match service.classified_tokens(classes) {
                Some(text) => samples.map(|sample| text.tokens(sample)).collect(),
                None => vec![Vec::new(); samples.len()],
            };
            Ok((read, tokens))
        };
        let (Samples { samples, is_batch }, tokens) = self.prepare(is_short, read).await?;
        let input_count = samples.len();
        let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let pieces = samples.into_iter().map(|tensors| Piece {
            tensors: match self.batching.is_batched {
                true => tensors.into_iter().map(HostTensor::into_row).collect(),
                false => tensors,
            },
            rows: 1,
            alone: !batching,
            priority,
            deadline,
            request: number,
        });
        let ran = self.run(pieces.collect()).await?;
        let batch_size = ran.iter().map(|ran| ran.batch).max().unwrap_or(0);
        let shared = ran.iter().any(|ran| ran.shared);
        let padded = ran.iter().any(|ran| ran.padded);
        let outputs = ran.iter().flat_map(|ran| &ran.outputs);
        let elements: usize = outputs
            .map(|out| out.bytes().len() / out.dtype().bytes())
            .sum();
        let service = Arc::clone(self);
        let write = move || {
            let results = ran.into_iter().zip(tokens);
            let results = results.map(|(ran, tokens)| service.write(ran, &tokens, classes));
            let mut results = results.collect::<Result<Vec<Value>, _>>()?;
            Ok(match (is_batch, results.pop()) {
                (false, Some(result)) => result,
                (_, last) => results.into_iter().chain(last).collect(),
            })
        };
        Ok(Prediction {
            result: self.prepare(elements <= FEW, write).await?,
            input_count,
            is_batch,
            batch_size,
            shared,
            padded,
        })
    }

    /// Runs the network on tensors; one for each output comes back, in the outputs' order. Callers have it from their lease,
    /// which counts it.
    ///
    /// Where the first dimension counts inputs, they run together with those of other requests, and in several runs if they are
    /// more than a batch may have.
    pub(crate) async fn infer(
        self: &Arc<Self>,
        mut request: InferRequest,
    ) -> Result<Vec<HostTensor>, Error> {
        let files = std::mem::take(&mut request.files);
        if !files.is_empty() {
            let (service, truncation) = (Arc::clone(self), request.truncation);
            let read = move || {
                let made = service
                    .preparers
                    .columns(&service.inputs, &files, truncation);
                made.map_err(|problem| Error::invalid("inputs", problem))
            };
            request.tensors.extend(self.prepare(false, read).await?);
        }
        let tensors = self.in_order(request.tensors)?;
        let wrong = |problem: String| Error::invalid("inputs", problem);
        check_inputs(&self.inputs, &tensors).map_err(|error| wrong(error.to_string()))?;
        let infos = self.inputs.iter().zip(&tensors);
        if let Some((info, _)) = { infos }.find(|(_, tensor)| tensor.bytes().is_empty()) {
            return Err(wrong(format!("input {:?} has no elements", info.name)));
        }
        let rows = match tensors.first().and_then(HostTensor::rows) {
            Some(rows) if self.batching.is_batched => rows,
            _ => 1,
        };
        let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let piece = |tensors: Vec<HostTensor>, rows: usize| Piece {
            tensors,
            rows,
            alone: false,
            priority: request.priority,
            deadline: request.deadline,
            request: number,
        };
        if rows <= self.batching.most {
            let ran = self.run(vec![piece(tensors, rows)]).await?.pop();
            return Ok(ran.map(|ran| ran.outputs).unwrap_or_default());
        }
        let most = self.batching.most.saturating_mul(MOST_PIECES);
        if rows > most {
            return Err(wrong(format!(
                "a request has at most {most} inputs, this one has {rows}"
            )));
        }
        let starts = (0..rows).step_by(self.batching.most);
        let pieces = starts.map(|start| {
            let end = (start + self.batching.most).min(rows);
            let parts = tensors.iter().map(|tensor| tensor.slice_rows(start..end));
            Some(piece(parts.collect::<Option<_>>()?, end - start))
        });
        let broken = || self.broken("does not count inputs as it says");
        let pieces = pieces.collect::<Option<Vec<_>>>().ok_or_else(broken)?;
        let ran = self.run(pieces).await?;
        let outputs = (0..self.outputs.len()).map(|output| {
            let parts = ran.iter().map(|ran| ran.outputs.get(output));
            join(&parts.collect::<Option<Vec<_>>>()?)
        });
        outputs.collect::<Option<_>>().ok_or_else(broken)
    }

    /// The tensors in the order of the network's inputs.
    fn in_order(&self, tensors: Vec<(String, HostTensor)>) -> Result<Vec<HostTensor>, Error> {
        let takes = || {
            let each: Vec<String> = self.inputs.iter().map(ValueInfo::to_string).collect();
            each.join("; ")
        };
        let wrong = |what: String| Err(Error::invalid("inputs", what));
        let mut places: Vec<Option<HostTensor>> = vec![None; self.inputs.len()];
        for (name, tensor) in tensors {
            let Some(at) = self.inputs.iter().position(|input| input.name == name) else {
                return wrong(format!(
                    "{name:?} is no input of this network, which takes {}",
                    takes()
                ));
            };
            if places[at].replace(tensor).is_some() {
                return wrong(format!("input {name:?} is there twice"));
            }
        }
        fill_defaults(&self.inputs, &self.defaults, places).or_else(|at| {
            wrong(format!(
                "input {:?} is missing; this network takes {}",
                self.inputs[at].name,
                takes()
            ))
        })
    }

    /// Runs pieces, and waits for all of them.
    async fn run(&self, pieces: Vec<Piece>) -> Result<Vec<Ran>, Error> {
        let mut ran = Vec::with_capacity(pieces.len());
        for answer in self.batcher.submit(pieces)? {
            let answer = answer
                .await
                .map_err(|_| self.broken("has ended unexpectedly"));
            ran.push(answer??);
        }
        Ok(ran)
    }

    /// Does what takes no time at once, and other work on a thread for it.
    async fn prepare<T: Send + 'static>(
        &self,
        is_short: bool,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match is_short {
            true => work(),
            false => self.preparation.run(work).await,
        }
    }

    fn broken(&self, what: &str) -> Error {
        Error::Internal {
            message: format!("network '{}' {what}", self.name),
        }
    }

    /// What makes tokens of texts, where answers have a class for each.
    fn classified_tokens(&self, classes: ClassOptions) -> Option<&TextInputs> {
        let labels = self.labels.as_ref();
        let is_told = classes.form != ClassForm::Numbers;
        labels.filter(|labels| is_told && labels.is_per_token())?;
        self.preparers.text()
    }

    /// The outputs of one input: as it is where there is one, else by name; classes in place of a classifier's numbers, of each of
    /// `tokens` or of the whole.
    fn write(&self, ran: Ran, tokens: &[Token], classes: ClassOptions) -> Result<Value, Error> {
        let outputs = ran.outputs.into_iter().map(|output| {
            let output = match self.batching.is_batched {
                true => output.into_only_row(),
                false => Some(output),
            };
            output.ok_or_else(|| self.broken("does not count inputs as it says"))
        });
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let labels = self.labels.as_ref();
        let labels = labels.filter(|_| classes.form != ClassForm::Numbers);
        let told = outputs.iter().enumerate().map(|(at, output)| {
            let labels = labels.filter(|labels| labels.output() == at);
            let classes = labels.and_then(|labels| match labels.is_per_token() {
                true => labels.tell_tokens(output, tokens, classes),
                false => labels.tell(output, classes),
            });
            classes.unwrap_or_else(|| output.to_json())
        });
        let mut told: Vec<Value> = told.collect();
        Ok(match (told.pop(), told.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                let names = self.outputs.iter().map(|info| info.name.clone());
                let members = names.zip(told.into_iter().chain(last));
                Value::Object(members.collect::<Map<_, _>>())
            }
        })
    }
}

/// Whether there is a text within a value.
fn has_texts(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(items) => items.iter().any(has_texts),
        Value::Object(members) => members.values().any(has_texts),
        _ => false,
    }
}

/// Whether a value has few values within and no long texts.
fn is_short(value: &Value) -> bool {
    fn count(value: &Value, left: &mut usize) -> bool {
        let inner = match value {
            Value::String(text) => text.len(),
            _ => 1,
        };
        match left.checked_sub(inner) {
            Some(rest) => *left = rest,
            None => return false,
        }
        match value {
            Value::Array(items) => items.iter().all(|item| count(item, left)),
            Value::Object(members) => members.values().all(|item| count(item, left)),
            _ => true,
        }
    }
    count(value, &mut { FEW })
}

impl Engine for NetworkService {
    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    fn health(&self) -> Result<(), Error> {
        match self.batcher.is_running() {
            true => Ok(()),
            false => Err(Error::Internal {
                message: format!("the thread of network '{}' has ended", self.name),
            }),
        }
    }

    fn figures(&self) -> Option<Figures> {
        Some(Figures::Network(self.batcher.figures()))
    }

    fn shutdown(&self, how: Shutdown) {
        self.batcher.shutdown(how);
    }

    fn network(self: Arc<Self>) -> Option<Arc<NetworkService>> {
        Some(self)
    }
}
