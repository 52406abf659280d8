//! A tiny model, a tokenizer for its vocabulary, and ways to run requests to their end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_formats::gguf::{Array, GgufWriter, Metadata, TensorSpec, Value};
use hearth_kernels::{KvDType, Pool, Precision};
use hearth_llm::engine::*;
use hearth_llm::template::ChatTemplate;
use hearth_llm::tokenizer::Tokenizer;
use hearth_llm::{LoadOptions, TextModel, load_text};

/// Tokens that the fixtures' models know.
pub const VOCAB_SIZE: usize = 200;
pub const EOS: u32 = 2;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

pub fn load(name: &str, threads: usize) -> Arc<dyn TextModel> {
    let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
    let options = LoadOptions {
        precision: Precision::F32,
        ..LoadOptions::default()
    };
    load_text(&checkpoint, Arc::new(Pool::new(threads)), options).unwrap()
}

/// A byte-level vocabulary in which a token is a byte, many of them parts of characters only, or a
/// few letters.
pub fn tokenizer() -> Arc<Tokenizer> {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).into();
    // In the byte-level alphabet these bytes stand for themselves, and Ġ for a space.
    let bytes = (0x21..=0x7e).chain(0xa1..=0xac).chain(0xae..=0xff);
    tokens.extend(bytes.map(|byte: u8| char::from(byte).to_string()));
    tokens.extend(["Ġ", "ab", "the", "ing", "Ġa", "..", "é", "Ġof", "xyz"].map(String::from));
    tokens.truncate(VOCAB_SIZE);
    let types = (0..tokens.len())
        .map(|i| if i < 3 { 3 } else { 1 })
        .collect();
    let mut metadata = Metadata::new("test vocabulary");
    metadata.insert("tokenizer.ggml.model", Value::String("gpt2".into()));
    metadata.insert("tokenizer.ggml.pre", Value::String("gpt-2".into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(types)));
    metadata.insert("tokenizer.ggml.merges", Value::Array(Array::String(vec![])));
    metadata.insert("tokenizer.ggml.bos_token_id", Value::U32(1));
    metadata.insert("tokenizer.ggml.eos_token_id", Value::U32(EOS));
    Arc::new(Tokenizer::from_metadata(&metadata).unwrap())
}

/// The built-in chat model, with room for longer texts than it was made for.
pub struct Ember {
    pub model: Arc<dyn TextModel>,
    pub tokenizer: Arc<Tokenizer>,
    pub template: ChatTemplate,
}

pub const EMBER_CONTEXT: u32 = 4096;

impl Ember {
    pub fn load(threads: usize) -> Ember {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ember.gguf");
        let original = Checkpoint::open(&path).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ember.gguf");
        let mut metadata = original.metadata().clone();
        metadata.insert("llama.context_length", EMBER_CONTEXT);
        let specs = original.tensors().iter().map(|layout| TensorSpec {
            name: layout.name.clone(),
            dtype: layout.dtype,
            shape: layout.shape.clone(),
        });
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = GgufWriter::new(file, &metadata, specs.collect()).unwrap();
        for name in original.tensor_names() {
            writer
                .write(&original.require(name).unwrap().bytes)
                .unwrap();
        }
        writer.finish().unwrap();

        let checkpoint = Checkpoint::open(&path).unwrap();
        let pool = Arc::new(Pool::new(threads));
        let tokenizer = Arc::new(Tokenizer::open(&checkpoint).unwrap());
        Ember {
            model: load_text(&checkpoint, pool, LoadOptions::default()).unwrap(),
            template: ChatTemplate::open(&checkpoint, &tokenizer)
                .unwrap()
                .unwrap(),
            tokenizer,
        }
    }

    pub fn start(&self, config: EngineConfig) -> Engine {
        Engine::start(self.model.clone(), self.tokenizer.clone(), config).unwrap()
    }
}

pub fn config() -> EngineConfig {
    EngineConfig {
        kv_dtype: KvDType::F32,
        // How many rows a step has then depends on no clock.
        speculation: Speculation::Off,
        ..EngineConfig::default()
    }
}

pub fn start(model: Arc<dyn TextModel>, config: EngineConfig) -> Engine {
    Engine::start(model, tokenizer(), config).unwrap()
}

/// A budget for this many blocks.
pub fn cache_of(model: &dyn TextModel, config: &EngineConfig, blocks: usize) -> u64 {
    (model.kv_bytes_per_token(config.kv_dtype) * config.block_size * blocks) as u64
}

/// Tokens that differ by seed.
pub fn prompt(seed: u32, len: usize) -> Vec<u32> {
    let token = |i: u32| 3 + (i * 31 + seed * 17 + i * i * (seed + 1)) % 190;
    (0..len as u32).map(token).collect()
}

/// Greedy, to the end of `max_tokens`.
pub fn greedy(prompt: Vec<u32>, max_tokens: usize) -> GenerateRequest {
    let mut request = GenerateRequest::new(prompt);
    request.sampling.temperature = 0.0;
    request.max_tokens = max_tokens;
    request.ignore_eos = true;
    request
}

/// All that a generation said, without times.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub text: String,
    pub tokens: Vec<TokenLogprobs>,
    pub prompt: Option<Vec<TokenLogprobs>>,
    pub reason: Option<FinishReason>,
    pub completion_tokens: usize,
    pub cached_tokens: usize,
    pub failure: Option<EngineError>,
}

impl Outcome {
    pub fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|t| t.token).collect()
    }

    /// Without what other requests may change.
    pub fn answer(mut self) -> Self {
        self.cached_tokens = 0;
        self
    }
}

pub fn finish(mut generation: Generation) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(event) = generation.blocking_next() {
        assert!(
            outcome.reason.is_none() && outcome.failure.is_none(),
            "an event after the last"
        );
        match event {
            Event::Prompt(tokens) => {
                assert!(outcome.prompt.is_none() && outcome.tokens.is_empty());
                outcome.prompt = Some(tokens);
            }
            Event::Token { text, tokens } => {
                outcome.text.push_str(&text);
                outcome.tokens.extend(tokens);
            }
            Event::Finished { reason, usage, .. } => {
                outcome.reason = Some(reason);
                outcome.completion_tokens = usage.completion_tokens;
                outcome.cached_tokens = usage.cached_tokens;
            }
            Event::Failed(error) => outcome.failure = Some(error),
        }
    }
    assert!(
        outcome.reason.is_some() || outcome.failure.is_some(),
        "no last event"
    );
    outcome
}

pub fn run(engine: &Engine, request: GenerateRequest) -> Outcome {
    finish(engine.submit(request).unwrap())
}

pub fn run_all(engine: &Engine, requests: &[GenerateRequest]) -> Vec<Outcome> {
    let submit = |r: &GenerateRequest| engine.submit(r.clone()).unwrap();
    let generations: Vec<Generation> = requests.iter().map(submit).collect();
    generations.into_iter().map(finish).collect()
}
