//! What users of the engine wait for: the next token while another's prompt comes in, the first token of a conversation
//! that was there before, and how much sooner an answer is there with guesses.
//!
//! `cargo bench -p hearth-llm --bench engine -- [MODEL.gguf [THREADS [stall|resume|guesses...]]]`; without a file, the
//! built-in ember; 0 threads for one a core. Times are of this machine at this moment; comparisons are run in turns, and
//! the middle one of three counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_formats::Checkpoint;
use hearth_kernels::Pool;
use hearth_llm::engine::*;
use hearth_llm::pages::{ModelIdentity, PageStore};
use hearth_llm::tokenizer::Tokenizer;
use hearth_llm::{LoadOptions, TextModel, load_text};

/// Longest prompt, where the model's context allows.
const LONG: usize = 2000;
const RUNS: usize = 3;

struct Subject {
    model: Arc<dyn TextModel>,
    tokenizer: Arc<Tokenizer>,
    identity: ModelIdentity,
    long: usize,
}

impl Subject {
    fn load(path: &Path, threads: usize) -> Subject {
        let checkpoint = Checkpoint::open(path).expect("a model");
        let options = LoadOptions::default();
        let pool = Arc::new(Pool::new(threads));
        let model = load_text(&checkpoint, pool, options).expect("a text model");
        let long = LONG.min(model.info().context_length - 220);
        println!(
            "{}, {} threads, long prompt of {long} tokens",
            path.display(),
            model.pool().threads()
        );
        Subject {
            tokenizer: Arc::new(Tokenizer::open(&checkpoint).expect("a tokenizer")),
            identity: ModelIdentity::of(&checkpoint, &options).expect("files"),
            model,
            long,
        }
    }

    fn start(&self, config: EngineConfig) -> Engine {
        let (model, tokenizer) = (self.model.clone(), self.tokenizer.clone());
        Engine::start(model, tokenizer, config).expect("an engine")
    }

    /// Tokens without order, others for each seed.
    fn noise(&self, seed: u64, len: usize) -> Vec<u32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let vocab = self.model.info().vocab_size as u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (3 + state % (vocab - 3)) as u32
        };
        std::iter::repeat_with(next).take(len).collect()
    }
}

fn request(prompt: Vec<u32>, max_tokens: usize, temperature: f32) -> GenerateRequest {
    let mut request = GenerateRequest::new(prompt);
    request.max_tokens = max_tokens;
    request.ignore_eos = true;
    request.sampling.temperature = temperature;
    request.sampling.seed = Some(1);
    request
}

/// When each token came.
fn times(mut generation: Generation, began: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while let Some(event) = generation.blocking_next() {
        if let Event::Token { tokens, .. } = event {
            times.extend(tokens.iter().map(|_| began.elapsed()));
        }
    }
    times
}

fn middle<T: Copy + PartialOrd>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    values[values.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Gaps between the tokens of a sequence that decodes while a long prompt comes in.
fn stall(subject: &Subject) {
    println!("\na long prompt beside a sequence that decodes");
    for (what, step_time) in [
        ("steps of 100 ms", EngineConfig::default().step_time),
        ("steps of any length", Duration::from_secs(3600)),
    ] {
        let engine = subject.start(EngineConfig {
            step_time,
            ..EngineConfig::default()
        });
        // So that it knows what a step costs.
        times(
            engine
                .submit(request(subject.noise(1, 128), 4, 0.0))
                .expect("a place"),
            Instant::now(),
        );
        let short = engine.submit(request(subject.noise(2, 32), 180, 0.0));
        let began = Instant::now();
        let short = short.expect("a place");
        let reader = std::thread::spawn(move || times(short, began));
        while engine.stats().tokens_out < 12 {
            std::thread::yield_now();
        }
        let submitted = began.elapsed();
        let long = engine.submit(request(subject.noise(3, subject.long), 1, 0.0));
        times(long.expect("a place"), Instant::now());
        let answered = began.elapsed();
        let tokens = reader.join().expect("a reader");
        let mut gaps: Vec<Duration> = tokens
            .windows(2)
            .filter(|pair| pair[1] > submitted && pair[0] < answered)
            .map(|pair| pair[1] - pair[0])
            .collect();
        gaps.sort();
        let at = |share: f64| ms(gaps[((gaps.len() - 1) as f64 * share) as usize]);
        println!(
            "  {what}: gaps of {} tokens: median {:.0} ms, p95 {:.0} ms, longest {:.0} ms; the prompt took {:.2} s",
            gaps.len(),
            at(0.5),
            at(0.95),
            at(1.0),
            (answered - submitted).as_secs_f64()
        );
    }
}

/// The first token of a conversation, computed and taken up after a restart.
fn resume(subject: &Subject) {
    println!(
        "\na conversation of {} tokens after a restart",
        subject.long
    );
    let dir = tempfile::tempdir().expect("a folder");
    let (mut computed, mut kept, mut resumed) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for run in 0..RUNS {
        let conversation = subject.noise(10 + run as u64, subject.long);
        for round in 0..2 {
            let store = Arc::new(PageStore::open(dir.path(), 4 << 30).expect("a store"));
            let engine = Engine::start_with_pages(
                subject.model.clone(),
                subject.tokenizer.clone(),
                EngineConfig::default(),
                store.of_model(subject.identity),
            )
            .expect("an engine");
            let generation = engine.submit(request(conversation.clone(), 1, 0.0));
            let first = times(generation.expect("a place"), Instant::now())[0];
            match round {
                0 => computed.push(ms(first)),
                _ => resumed.push(ms(first)),
            }
            let end = Instant::now();
            engine.shutdown(Shutdown::Drain);
            if round == 0 {
                kept.push(ms(end.elapsed()));
                bytes = store.stats().bytes / (run as u64 + 1);
            }
        }
    }
    println!(
        "  first token: computed {:.0} ms, resumed {:.1} ms; kept in {:.0} ms, {:.1} MB",
        middle(computed),
        middle(resumed),
        middle(kept),
        bytes as f64 / 1e6
    );
}

/// Tokens a second with and without guesses.
fn guesses(subject: &Subject) {
    println!("\nguesses from the text itself, 128 tokens");
    let text = "The house stood at the edge of the forest. Nobody had lived in it for years, and the garden was wild. \
                One day a young woman came, opened the windows and began to sweep. ";
    let encode = |text: &str| subject.tokenizer.encode_prompt(text).expect("tokens");
    let edit = format!("{text}\nThe same text again, word for word:\n{text}\nAnd again:\n");
    for (what, prompt, temperature, sequences) in [
        ("a text to be repeated", encode(&edit), 0.0, 1),
        ("a text to be repeated, four at once", encode(&edit), 0.0, 4),
        ("a text without order", subject.noise(5, 96), 1.0, 1),
    ] {
        let mut rates = [Vec::new(), Vec::new()];
        let mut counts = (0, 0);
        let mut answers: Vec<Vec<u32>> = Vec::new();
        for _ in 0..RUNS {
            for (i, speculation) in [Speculation::Off, Speculation::WherePays]
                .into_iter()
                .enumerate()
            {
                let engine = subject.start(EngineConfig {
                    speculation,
                    ..EngineConfig::default()
                });
                let warm = engine.submit(request(prompt.clone(), 4, temperature));
                times(warm.expect("a place"), Instant::now());
                let generations: Vec<Generation> = (0..sequences)
                    .map(|s| {
                        let mut request = request(prompt.clone(), 128, temperature);
                        request.sampling.seed = Some(s);
                        engine.submit(request).expect("a place")
                    })
                    .collect();
                let began = Instant::now();
                let mut ids = Vec::new();
                for mut generation in generations {
                    while let Some(event) = generation.blocking_next() {
                        if let Event::Token { tokens, .. } = event {
                            ids.extend(tokens.iter().map(|t| t.token));
                        }
                    }
                }
                rates[i].push(ids.len() as f64 / began.elapsed().as_secs_f64());
                answers.push(ids);
                let stats = engine.stats();
                counts = (stats.drafted, stats.accepted);
            }
        }
        assert!(
            answers.windows(2).all(|pair| pair[0] == pair[1]),
            "guesses changed an answer"
        );
        let [off, on] = rates.map(middle);
        println!(
            "  {what}: {off:.1} t/s without, {on:.1} t/s with ({:.2}x), {} of {} guesses right",
            on / off,
            counts.1,
            counts.0
        );
    }
}

fn main() {
    // Cargo adds `--bench`.
    let mut args = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ember.gguf");
    let path = args.next().map_or(built_in, PathBuf::from);
    let threads = args
        .next()
        .map_or(0, |n| n.parse().expect("a number of threads"));
    let subject = Subject::load(&path, threads);
    let only: Vec<String> = args.collect();
    let asked = |name: &str| only.is_empty() || only.iter().any(|part| part == name);
    if asked("stall") {
        stall(&subject);
    }
    if asked("resume") {
        resume(&subject);
    }
    if asked("guesses") {
        guesses(&subject);
    }
}
