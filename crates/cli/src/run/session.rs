//! A conversation with one model: its engine in this process, and the messages so far.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hearth_kernels::Pool;
use hearth_llm::engine::{
    Engine, EngineConfig, EngineError, Event, FinishReason, GenerateRequest, Timings, Usage,
};
use hearth_llm::sampling::SamplingParams;
use hearth_llm::template::{ChatInput, ChatTemplate};
use hearth_llm::tokenizer::Tokenizer;
use hearth_llm::{Kind, LoadOptions};
use serde_json::{Value, json};

use crate::models::Found;
use crate::units;

/// What the user chose for all answers.
pub struct Options {
    pub system: Option<String>,
    pub temperature: f32,
    pub seed: Option<u64>,
    pub max_tokens: Option<usize>,
    /// 0 for one a core.
    pub threads: usize,
}

/// One model and one conversation.
pub struct Session {
    name: String,
    note: Option<String>,
    tokenizer: Arc<Tokenizer>,
    template: Option<ChatTemplate>,
    engine: Engine,
    options: Options,
    messages: Vec<Value>,
    load_time: Duration,
    runtime: tokio::runtime::Runtime,
}

/// What came of one prompt.
pub struct Answer {
    reason: Option<FinishReason>,
    usage: Usage,
    timings: Timings,
}

impl Session {
    /// Loads the model.
    pub fn open(found: Found, options: Options) -> Result<Session> {
        let Found {
            name,
            checkpoint,
            note,
            ..
        } = found;
        if hearth_llm::kind_of(&checkpoint)? == Kind::Embedding {
            bail!("{name} makes embeddings and cannot chat; see `hearth list` for text models");
        }
        let begin = Instant::now();
        let loading = || format!("cannot load {name}");
        let tokenizer = Arc::new(Tokenizer::open(&checkpoint).with_context(loading)?);
        let template = ChatTemplate::open(&checkpoint, &tokenizer).with_context(loading)?;
        ensure!(
            template.is_some() || options.system.is_none(),
            "{name} has no chat template, so --system has no place in its prompt; leave it out"
        );
        let pool = Arc::new(Pool::new(options.threads));
        let model = hearth_llm::load_text(&checkpoint, pool, LoadOptions::default())
            .with_context(loading)?;
        let config = EngineConfig {
            max_sequences: 1,
            ..EngineConfig::default()
        };
        let engine = Engine::start(model, Arc::clone(&tokenizer), config).with_context(loading)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot start the event loop")?;
        let mut session = Session {
            name,
            note,
            tokenizer,
            template,
            engine,
            options,
            messages: Vec::new(),
            load_time: begin.elapsed(),
            runtime,
        };
        session.clear();
        Ok(session)
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the catalog notes about the model.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// How long the model took to load.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// Whether prompts are messages of a conversation, rather than text to continue.
    pub fn is_chat(&self) -> bool {
        self.template.is_some()
    }

    /// Forgets the conversation, not what the model was told before it.
    pub fn clear(&mut self) {
        self.messages.clear();
        if let Some(system) = &self.options.system {
            self.messages
                .push(json!({"role": "system", "content": system}));
        }
    }

    /// Writes the answer to `prompt` as it comes. Ctrl-C ends the answer if `interruptible`, else the process.
    ///
    /// Prompt and answer join the conversation, also an interrupted answer; neither does after an error.
    pub fn answer(
        &mut self,
        prompt: &str,
        out: &mut impl Write,
        interruptible: bool,
    ) -> Result<Answer> {
        let before = self.messages.len();
        let tokens = match &self.template {
            Some(template) => {
                self.messages
                    .push(json!({"role": "user", "content": prompt}));
                let input = ChatInput {
                    messages: Value::Array(self.messages.clone()),
                    add_generation_prompt: true,
                    ..ChatInput::default()
                };
                template
                    .render(&input)
                    .map_err(anyhow::Error::from)
                    .and_then(|rendered| Ok(self.tokenizer.encode_rendered(&rendered)?))
            }
            None => self.tokenizer.encode_prompt(prompt).map_err(Into::into),
        };
        let result = tokens.and_then(|tokens| self.generate(tokens, out, interruptible));
        match result {
            Ok((text, answer)) => {
                if self.is_chat() {
                    self.messages
                        .push(json!({"role": "assistant", "content": text}));
                }
                Ok(answer)
            }
            Err(error) => {
                self.messages.truncate(before);
                Err(error)
            }
        }
    }

    fn generate(
        &self,
        prompt: Vec<u32>,
        out: &mut impl Write,
        interruptible: bool,
    ) -> Result<(String, Answer)> {
        let request = GenerateRequest {
            sampling: SamplingParams {
                temperature: self.options.temperature,
                seed: self.options.seed,
                ..SamplingParams::default()
            },
            max_tokens: self.options.max_tokens.unwrap_or(usize::MAX),
            ..GenerateRequest::new(prompt)
        };
        let mut generation = self.engine.submit(request).map_err(|error| match error {
            EngineError::ContextLength { .. } if self.messages.len() > 2 => {
                anyhow::Error::from(error)
                    .context("the conversation has grown too long; /clear starts over")
            }
            error => error.into(),
        })?;
        let mut text = String::new();
        self.runtime.block_on(async {
            let mut interrupt = std::pin::pin!(async {
                if !interruptible || tokio::signal::ctrl_c().await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
            loop {
                let event = tokio::select! {
                    event = generation.next() => event,
                    () = &mut interrupt => {
                        let answer = Answer {
                            reason: None,
                            usage: Usage::default(),
                            timings: Timings::default(),
                        };
                        return Ok((text, answer));
                    }
                };
                match event {
                    Some(Event::Token { text: piece, .. }) => {
                        out.write_all(piece.as_bytes())?;
                        out.flush()?;
                        text.push_str(&piece);
                    }
                    Some(Event::Prompt(_)) => {}
                    Some(Event::Finished {
                        reason,
                        usage,
                        timings,
                    }) => {
                        return Ok((
                            text,
                            Answer {
                                reason: Some(reason),
                                usage,
                                timings,
                            },
                        ));
                    }
                    Some(Event::Failed(error)) => return Err(error.into()),
                    None => bail!("the engine ended without an answer"),
                }
            }
        })
    }
}

impl Answer {
    /// Why the answer ended, where that was not the model's choice.
    pub fn note(&self) -> Option<&'static str> {
        match self.reason {
            Some(FinishReason::Stop) => None,
            Some(FinishReason::Length) => Some("cut off: --max-tokens or the context is reached"),
            Some(_) => Some("cut off"),
            None => Some("interrupted"),
        }
    }

    /// Lines of timings. None of an interrupted answer but the load: the engine reports at the end.
    pub fn timings(&self, load: Duration) -> String {
        let mut out = format!("load      {}\n", units::span(load));
        if self.reason.is_some() {
            let computed = self.usage.prompt_tokens - self.usage.cached_tokens;
            let cached = match self.usage.cached_tokens {
                0 => String::new(),
                n => format!(", {n} more from the cache"),
            };
            // The first token comes out of the prompt's last step.
            let steps = self.usage.completion_tokens.saturating_sub(1);
            let _ = write!(
                out,
                "prompt    {computed} tokens in {}, {} tokens/s{cached}\n\
                 answer    {} tokens in {}, {} tokens/s\n",
                units::span(self.timings.prefill),
                units::per_second(computed, self.timings.prefill),
                self.usage.completion_tokens,
                units::span(self.timings.decode),
                units::per_second(steps, self.timings.decode),
            );
        }
        out
    }
}
