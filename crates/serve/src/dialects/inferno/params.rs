//! The parameters that chat and completions share.
//!
//! A known field is obeyed or refused, never ignored in silence: what the server can do is read here,
//! what OpenAI defines besides and this server cannot do is in the tables of [`Fixed`] fields, taken only
//! with the values that ask for nothing.

use std::time::{Duration, Instant};

use hearth_runtime::{Ask, GenerateRequest, KeepAlive, SamplingParams, derive_seed};
use serde_json::Value;

use crate::fields::{FieldError, Fields};
use crate::stops;

/// Tokens generated where a request names no number.
const DEFAULT_MAX_TOKENS: usize = 2048;
/// Most tokens that a request can ask for.
const MOST_MAX_TOKENS: usize = 32_768;
/// Most tokens that a request can bias.
const MOST_BIASES: usize = 4096;
/// Most candidates for one prompt.
pub const MOST_CHOICES: usize = 16;

/// A field of OpenAI's that changes nothing here, so that only the values that ask for nothing are taken.
pub struct Fixed {
    /// The field.
    pub name: &'static str,
    /// What is taken, for the error message.
    pub expected: &'static str,
    /// Whether a value is taken; null always is.
    pub takes: fn(&Value) -> bool,
}

impl Fixed {
    /// Refuses the fields of `table` that ask for something.
    pub fn check(table: &[Self], fields: &Fields) -> Result<(), FieldError> {
        for Self {
            name,
            expected,
            takes,
        } in table
        {
            if let Some(value) = fields.get(name).filter(|value| !takes(value)) {
                return Err(FieldError::unsupported(*name, *expected, value));
            }
        }
        Ok(())
    }
}

/// Fields that label a request and ask nothing of the answer, on both endpoints.
pub const LABELS: &[Fixed] = &[
    Fixed {
        name: "user",
        expected: "a string",
        takes: Value::is_string,
    },
    Fixed {
        name: "safety_identifier",
        expected: "a string",
        takes: Value::is_string,
    },
    Fixed {
        name: "prompt_cache_key",
        expected: "a string",
        takes: Value::is_string,
    },
    Fixed {
        name: "metadata",
        expected: "an object",
        takes: Value::is_object,
    },
    Fixed {
        name: "service_tier",
        expected: "\"auto\" or \"default\"",
        takes: |value| value == "auto" || value == "default",
    },
    Fixed {
        name: "store",
        expected: "false",
        takes: |value| value == false,
    },
];

/// What differs between chat and completions.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// Temperature where none is named.
    pub temperature: f64,
    /// Least value of `max_tokens`.
    pub least_max_tokens: usize,
}

/// The parameters that chat and completions share.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// How tokens are chosen; the seed is the first choice's.
    pub sampling: SamplingParams,
    /// Tokens to generate at most; the text ends earlier where the context is full.
    pub max_tokens: usize,
    /// Texts that end the generation.
    pub stop: Vec<String>,
    /// Choices for each prompt.
    pub n: usize,
    /// Go on past end-of-sequence tokens.
    pub ignore_eos: bool,
    /// 0 to 10, higher is served first.
    pub priority: Option<u8>,
    /// Time from admission to the end of the answer.
    pub timeout: Option<Duration>,
    /// How long the model stays loaded once it is idle, from this request on.
    pub keep_alive: Option<KeepAlive>,
    /// Answer as an event stream.
    pub stream: bool,
    /// End the stream with the usage.
    pub include_usage: bool,
}

impl Params {
    /// Reads the shared parameters.
    pub fn read(fields: &Fields, endpoint: Endpoint) -> Result<Self, FieldError> {
        let stream = fields.boolean("stream")?.unwrap_or(false);
        Ok(Self {
            sampling: sampling(fields, endpoint)?,
            max_tokens: max_tokens(fields, endpoint)?,
            stop: stops::read(fields)?,
            n: fields.count("n", 1..=MOST_CHOICES)?.unwrap_or(1),
            ignore_eos: fields.boolean("ignore_eos")?.unwrap_or(false),
            priority: fields
                .integer("priority", 0..=10)?
                .and_then(|level| u8::try_from(level).ok()),
            timeout: fields.timeout()?,
            keep_alive: keep_alive(fields)?,
            include_usage: include_usage(fields, stream)?,
            stream,
        })
    }

    /// What a request that was admitted at `entered` asks of the runtime.
    pub fn ask(&self, entered: Instant) -> Ask {
        Ask {
            priority: self.priority,
            deadline: self.timeout.map(|timeout| entered + timeout),
            keep_alive: self.keep_alive,
            ..Ask::default()
        }
    }

    /// The engine's request for candidate number `candidate` of a prompt, admitted at `entered`.
    ///
    /// Candidate 0 has the seed of the request, so that one choice alone equals the first of many.
    pub fn request(&self, prompt: Vec<u32>, candidate: usize, entered: Instant) -> GenerateRequest {
        let mut request = GenerateRequest::new(prompt);
        request.sampling = self.sampling.clone();
        request.sampling.seed = self.sampling.seed.map(|seed| derive_seed(seed, candidate));
        request.max_tokens = self.max_tokens;
        request.stop = self.stop.clone();
        request.ignore_eos = self.ignore_eos;
        request.deadline = self.timeout.map(|timeout| entered + timeout);
        request
    }
}

fn sampling(fields: &Fields, endpoint: Endpoint) -> Result<SamplingParams, FieldError> {
    let number = |name, range, default: f64| -> Result<f32, FieldError> {
        Ok(fields.number(name, range)?.unwrap_or(default) as f32)
    };
    Ok(SamplingParams {
        temperature: number("temperature", 0.0..=2.0, endpoint.temperature)?,
        // A share of nothing still holds the most likely token, so 0 means that one.
        top_p: number("top_p", 0.0..=1.0, 1.0)?.max(f32::MIN_POSITIVE),
        // Both ways of saying "from all" are in use: 0 and -1.
        top_k: fields
            .integer("top_k", -1..=i64::from(u32::MAX))?
            .and_then(|k| usize::try_from(k).ok())
            .filter(|&k| k > 0),
        min_p: number("min_p", 0.0..=1.0, 0.0)?,
        repetition_penalty: number("repetition_penalty", 0.01..=10.0, 1.0)?,
        presence_penalty: number("presence_penalty", -2.0..=2.0, 0.0)?,
        frequency_penalty: number("frequency_penalty", -2.0..=2.0, 0.0)?,
        logit_bias: logit_bias(fields)?,
        seed: fields
            .integer("seed", i64::MIN..=i64::MAX)?
            .map(i64::cast_unsigned),
    })
}

/// `max_tokens`, or its newer name; both at once only if they agree.
fn max_tokens(fields: &Fields, endpoint: Endpoint) -> Result<usize, FieldError> {
    let range = endpoint.least_max_tokens..=MOST_MAX_TOKENS;
    let old = fields.count("max_tokens", range.clone())?;
    let new = fields.count("max_completion_tokens", range)?;
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(FieldError::invalid(
            "max_completion_tokens",
            format!("max_tokens and max_completion_tokens not to differ, max_tokens being {old}"),
            &Value::from(new),
        )),
        (old, new) => Ok(new.or(old).unwrap_or(DEFAULT_MAX_TOKENS)),
    }
}

/// `keep_alive`: a time such as `"5m"`, seconds, 0 to unload at once, -1 to stay.
pub fn keep_alive(fields: &Fields) -> Result<Option<KeepAlive>, FieldError> {
    let Some(value) = fields.get("keep_alive") else {
        return Ok(None);
    };
    let expected = "a time such as \"5m\", a number of seconds, 0, or -1";
    let read = KeepAlive::from_json(value);
    read.map(Some)
        .map_err(|_| FieldError::invalid("keep_alive", expected, value))
}

/// `logit_bias`: token ids, as texts since they are member names, to numbers from -100 to 100.
fn logit_bias(fields: &Fields) -> Result<Vec<(u32, f32)>, FieldError> {
    let Some(object) = fields.object("logit_bias")? else {
        return Ok(Vec::new());
    };
    if object.len() > MOST_BIASES {
        let value = Value::from(object.len());
        return Err(FieldError::invalid(
            "logit_bias",
            format!("at most {MOST_BIASES} tokens"),
            &value,
        ));
    }
    let mut biases = Vec::with_capacity(object.len());
    for (name, value) in object {
        let Ok(token) = name.parse::<u32>() else {
            let got = Value::from(name.as_str());
            return Err(FieldError::invalid(
                "logit_bias",
                "token ids as member names",
                &got,
            ));
        };
        match value.as_f64() {
            Some(bias) if (-100.0..=100.0).contains(&bias) => biases.push((token, bias as f32)),
            _ => {
                let field = format!("logit_bias.{token}");
                return Err(FieldError::invalid(
                    field,
                    "a number from -100 to 100",
                    value,
                ));
            }
        }
    }
    Ok(biases)
}

/// `stream_options`, which only a stream may have.
fn include_usage(fields: &Fields, stream: bool) -> Result<bool, FieldError> {
    let Some(options) = fields.object("stream_options")? else {
        return Ok(false);
    };
    let options = Fields::new(options.clone());
    if !stream {
        let value = fields.get("stream").cloned().unwrap_or(Value::Bool(false));
        let expected = "true where stream_options is given";
        return Err(FieldError::invalid("stream", expected, &value));
    }
    let inner = |mut error: FieldError| {
        error.field = format!("stream_options.{}", error.field);
        error
    };
    let obfuscation = Fixed {
        name: "include_obfuscation",
        expected: "false",
        takes: |value| value == false,
    };
    Fixed::check(&[obfuscation], &options).map_err(inner)?;
    Ok(options
        .boolean("include_usage")
        .map_err(inner)?
        .unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CHAT: Endpoint = Endpoint {
        temperature: 0.7,
        least_max_tokens: 1,
    };

    fn read(value: Value) -> Result<Params, FieldError> {
        let Value::Object(object) = value else {
            panic!("not an object")
        };
        Params::read(&Fields::new(object), CHAT)
    }

    #[test]
    fn defaults_are_the_documents() {
        let params = read(json!({})).expect("nothing is required here");
        let expected = Params {
            sampling: SamplingParams {
                temperature: 0.7,
                ..SamplingParams::default()
            },
            max_tokens: 2048,
            stop: vec![],
            n: 1,
            ignore_eos: false,
            priority: None,
            timeout: None,
            keep_alive: None,
            stream: false,
            include_usage: false,
        };
        assert_eq!(params, expected);
    }

    #[test]
    fn every_parameter_arrives() {
        let params = read(json!({
            "temperature": 0, "top_p": 0.5, "top_k": 40, "min_p": 0.25, "repetition_penalty": 1.5,
            "presence_penalty": -2, "frequency_penalty": 2, "seed": -1, "logit_bias": {"7": -100, "9": 1.5},
            "max_completion_tokens": 32768, "stop": ["a", "b"], "n": 16, "ignore_eos": true,
            "priority": 10, "timeout": 1.5, "keep_alive": "5m", "stream": true, "stream_options": {"include_usage": true},
        }))
        .expect("all right");
        let expected = Params {
            sampling: SamplingParams {
                temperature: 0.0,
                top_p: 0.5,
                top_k: Some(40),
                min_p: 0.25,
                repetition_penalty: 1.5,
                presence_penalty: -2.0,
                frequency_penalty: 2.0,
                logit_bias: vec![(7, -100.0), (9, 1.5)],
                seed: Some(u64::MAX),
            },
            max_tokens: 32_768,
            stop: vec!["a".into(), "b".into()],
            n: 16,
            ignore_eos: true,
            priority: Some(10),
            timeout: Some(Duration::from_millis(1500)),
            keep_alive: Some(KeepAlive::For(Duration::from_secs(300))),
            stream: true,
            include_usage: true,
        };
        assert_eq!(params, expected);
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (body, field) in [
            (json!({"temperature": 2.01}), "temperature"),
            (json!({"temperature": "hot"}), "temperature"),
            (json!({"top_p": -0.1}), "top_p"),
            (json!({"top_k": -2}), "top_k"),
            (json!({"min_p": 1.1}), "min_p"),
            (json!({"repetition_penalty": 0}), "repetition_penalty"),
            (json!({"presence_penalty": -3}), "presence_penalty"),
            (json!({"frequency_penalty": 2.5}), "frequency_penalty"),
            (json!({"seed": 0.5}), "seed"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"max_tokens": 32769}), "max_tokens"),
            (
                json!({"max_tokens": 4, "max_completion_tokens": 5}),
                "max_completion_tokens",
            ),
            (json!({"stop": ""}), "stop"),
            (json!({"stop": ["a", ""]}), "stop[1]"),
            (json!({"stop": [1]}), "stop[0]"),
            (json!({"stop": {"a": 1}}), "stop"),
            (json!({"stop": vec!["a"; 17]}), "stop"),
            (json!({"n": 0}), "n"),
            (json!({"n": 17}), "n"),
            (json!({"logit_bias": [1]}), "logit_bias"),
            (json!({"logit_bias": {"the": 1}}), "logit_bias"),
            (json!({"logit_bias": {"5": 101}}), "logit_bias.5"),
            (json!({"priority": 11}), "priority"),
            (json!({"timeout": 0}), "timeout"),
            (json!({"keep_alive": "soon"}), "keep_alive"),
            (json!({"stream": "maybe"}), "stream"),
            (json!({"stream_options": {"include_usage": true}}), "stream"),
            (
                json!({"stream": true, "stream_options": {"include_usage": 1}}),
                "stream_options.include_usage",
            ),
            (
                json!({"stream": true, "stream_options": {"include_obfuscation": true}}),
                "stream_options.include_obfuscation",
            ),
        ] {
            assert_eq!(
                read(body.clone()).expect_err(&body.to_string()).field,
                field
            );
        }
    }

    #[test]
    fn zero_top_p_and_switched_off_top_k() {
        let params = read(json!({"top_p": 0, "top_k": 0})).expect("both mean something");
        assert!(params.sampling.top_p > 0.0);
        assert_eq!(params.sampling.top_k, None);
        assert_eq!(
            read(json!({"top_k": -1})).expect("off").sampling.top_k,
            None
        );
    }

    #[test]
    fn candidates_differ_by_seed_and_the_first_has_the_requests_own() {
        let params = read(json!({"seed": 5, "timeout": 2})).expect("all right");
        let now = Instant::now();
        let [first, second] = [0, 1].map(|candidate| params.request(vec![1], candidate, now));
        assert_eq!(first.sampling.seed, Some(derive_seed(5, 0)));
        assert_ne!(second.sampling.seed, first.sampling.seed);
        assert_eq!(second.deadline, Some(now + Duration::from_secs(2)));
    }

    #[test]
    fn labels_are_taken_and_requests_for_more_are_refused() {
        let check = |value: Value| {
            let Value::Object(object) = value else {
                panic!("not an object")
            };
            Fixed::check(LABELS, &Fields::new(object)).map_err(|error| error.field)
        };
        let fine =
            json!({"user": "u", "metadata": {"a": "b"}, "store": false, "service_tier": "auto"});
        assert_eq!(check(fine), Ok(()));
        assert_eq!(check(json!({"store": null, "service_tier": null})), Ok(()));
        assert_eq!(check(json!({"store": true})), Err("store".into()));
        assert_eq!(
            check(json!({"service_tier": "flex"})),
            Err("service_tier".into())
        );
        assert_eq!(check(json!({"user": 5})), Err("user".into()));
    }
}
