//! Classes with scores, of a classifier's numbers.

use hearth_graph::onnx::{DataType, Dim, ValueInfo};
use hearth_graph::runtime::HostTensor;
use hearth_hub::catalog::{Activation, Labels as Said};
use serde_json::{Map, Value, json};

/// Classes that are told where nobody says how many.
const FEW: usize = 5;

/// How classes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClassForm {
    /// `[{"label", "score"}, ...]`, the most likely first.
    #[default]
    List,
    /// `{label: score, ...}`, the most likely first.
    Map,
    /// Not at all: the network's own numbers.
    Numbers,
}

/// How a classifier's answer is wanted. Other networks have none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassOptions {
    /// How classes are told.
    pub form: ClassForm,
    /// How many, at most; five unless told otherwise.
    pub top_k: Option<usize>,
    /// What makes scores of the numbers, in place of what the model says.
    pub activation: Option<Activation>,
}

/// The classes of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Labels {
    names: Vec<String>,
    activation: Activation,
    /// The place of the output whose numbers are theirs.
    output: usize,
    /// It has them for each token of a text.
    is_per_token: bool,
}

/// A token of a text that was classified: its place among those that the network was given, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its place.
    pub at: usize,
    /// Its text.
    pub text: String,
}

impl Labels {
    /// The classes that the files beside a network name, where it has an output with as many numbers: that which they name,
    /// `logits`, or the only such one. One that has as many for each token, of a network that takes texts, is taken where there is
    /// no other. `are_scores` tells whether an output's numbers are scores already.
    pub fn new(
        said: Said,
        outputs: &[ValueInfo],
        takes_text: bool,
        are_scores: impl Fn(usize) -> bool,
    ) -> Option<Labels> {
        let count = said.names.len();
        let fits = |output: &ValueInfo, is_per_token: bool| {
            let last = match output.dims.last() {
                Some(Dim::Fixed(size)) => usize::try_from(*size) == Ok(count),
                Some(_) => true,
                None => false,
            };
            let is_float = matches!(
                output.dtype,
                DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16
            );
            let is_said = said.output.as_ref().is_none_or(|own| *own == output.name);
            let has_dims = match is_per_token {
                true => output.dims.len() == 3,
                false => output.dims.len() <= 2,
            };
            last && is_float && is_said && has_dims
        };
        let find = |is_per_token: bool| {
            let fitting = outputs.iter().enumerate();
            let fitting = fitting.filter(|(_, output)| fits(output, is_per_token));
            let fitting: Vec<(usize, &ValueInfo)> = fitting.collect();
            let named = fitting.iter().find(|(_, output)| output.name == "logits");
            match (named, fitting.as_slice()) {
                (Some((named, _)), _) => Some(*named),
                (None, [(only, _)]) => Some(*only),
                _ => None,
            }
        };
        let (output, is_per_token) = match find(false) {
            Some(output) => (output, false),
            None if takes_text => (find(true)?, true),
            None => return None,
        };
        let activation = match said.activation {
            _ if are_scores(output) => Activation::None,
            Some(activation) => activation,
            None if count == 1 => Activation::Sigmoid,
            None => Activation::Softmax,
        };
        Some(Labels {
            names: said.names,
            activation,
            output,
            is_per_token,
        })
    }

    /// Whether there is a class for each token of a text.
    pub fn is_per_token(&self) -> bool {
        self.is_per_token
    }

    /// The most likely class of each of `tokens`, of which the output has a row each; `None` where it has other rows.
    pub fn tell_tokens(
        &self,
        output: &HostTensor,
        tokens: &[Token],
        options: ClassOptions,
    ) -> Option<Value> {
        let values = output.to_f64();
        let count = self.names.len();
        if output.shape().last() != Some(&count) {
            return None;
        }
        let activation = options.activation.unwrap_or(self.activation);
        let told = tokens.iter().map(|Token { at, text }| {
            let row = values.get(at * count..(at + 1) * count)?;
            let scores = scores(row, activation);
            let best = *largest(&scores, 1).first()?;
            Some(json!({"token": text, "label": self.names[best], "score": number(scores[best])}))
        });
        told.collect()
    }

    /// The place of the output whose numbers are those of the classes.
    pub fn output(&self) -> usize {
        self.output
    }

    /// The classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The classes with the scores of one sample's output, or of each of its rows; `None` where it has another number of them.
    pub fn tell(&self, output: &HostTensor, options: ClassOptions) -> Option<Value> {
        let values = output.to_f64();
        let count = self.names.len();
        if output.shape().last() != Some(&count) || values.is_empty() {
            return None;
        }
        let rows = values.chunks_exact(count);
        let mut told = rows.map(|row| self.tell_row(row, options));
        match output.shape().len() == 1 || values.len() == count {
            true => told.next(),
            false => Some(told.collect()),
        }
    }

    fn tell_row(&self, numbers: &[f64], options: ClassOptions) -> Value {
        let scores = scores(numbers, options.activation.unwrap_or(self.activation));
        let best = largest(&scores, options.top_k.unwrap_or(FEW));
        let classes = best
            .into_iter()
            .map(|at| (&self.names[at], number(scores[at])));
        match options.form {
            ClassForm::Map => {
                let mut members = Map::new();
                for (label, score) in classes {
                    // Two classes may have one name, as two of ImageNet's do.
                    members.entry(label.as_str()).or_insert(score);
                }
                Value::Object(members)
            }
            _ => classes
                .map(|(label, score)| json!({"label": label, "score": score}))
                .collect(),
        }
    }
}

/// Scores of a row's numbers.
fn scores(numbers: &[f64], activation: Activation) -> Vec<f64> {
    match activation {
        Activation::None => numbers.to_vec(),
        Activation::Sigmoid => numbers.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        Activation::Softmax => {
            let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let each: Vec<f64> = numbers.iter().map(|x| (x - most).exp()).collect();
            let sum: f64 = each.iter().sum();
            each.iter().map(|x| x / sum).collect()
        }
    }
}

/// The places of the largest scores, largest first, of equal ones the first; what is no number comes last.
pub fn largest(scores: &[f64], count: usize) -> Vec<usize> {
    let key = |x: f64| if x.is_nan() { f64::NEG_INFINITY } else { x };
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|&a, &b| key(scores[b]).total_cmp(&key(scores[a])));
    places.truncate(count);
    places
}

/// A score as JSON has it, in the digits that single precision has; null where it is no number.
fn number(score: f64) -> Value {
    let short = (score as f32).to_string().parse::<f64>();
    short
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, dims: &[i64]) -> ValueInfo {
        ValueInfo {
            name: name.into(),
            dtype: DataType::Float,
            dims: dims
                .iter()
                .map(|size| match size {
                    -1 => Dim::Symbol("n".into()),
                    size => Dim::Fixed(*size),
                })
                .collect(),
        }
    }

    fn said(names: &[&str], activation: Option<Activation>) -> Said {
        Said {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            activation,
            output: None,
        }
    }

    #[test]
    fn classes_belong_to_the_output_with_their_number() {
        let find = |outputs: &[ValueInfo]| {
            Labels::new(said(&["a", "b", "c"], None), outputs, false, |_| false)
                .map(|labels| labels.output())
        };
        let named = Said {
            output: Some("z".into()),
            ..said(&["a", "b", "c"], None)
        };
        let outputs = [info("y", &[-1, 3]), info("z", &[-1, 3])];
        let labels = Labels::new(named.clone(), &outputs, false, |_| false);
        assert_eq!(labels.map(|labels| labels.output()), Some(1));
        assert_eq!(Labels::new(named, &outputs[..1], false, |_| false), None);
        assert_eq!(find(&[info("y", &[-1, 3])]), Some(0));
        assert_eq!(find(&[info("y", &[-1, 4])]), None);
        assert_eq!(
            find(&[info("hidden", &[-1, 7, 3]), info("logits", &[-1, 3])]),
            Some(1)
        );
        assert_eq!(find(&[info("y", &[-1, 3]), info("z", &[-1, 3])]), None);
        assert_eq!(
            find(&[info("y", &[-1, 3]), info("logits", &[-1, 3])]),
            Some(1)
        );
    }

    #[test]
    fn tokens_have_a_class_each() {
        let tokens = [info("logits", &[-1, -1, 2])];
        let new = |outputs: &[ValueInfo], takes_text: bool| {
            Labels::new(said(&["O", "NAME"], None), outputs, takes_text, |_| false)
        };
        assert_eq!(new(&tokens, false), None);
        let whole = [tokens[0].clone(), info("y", &[-1, 2])];
        let labels = new(&whole, true).unwrap();
        assert_eq!((labels.output(), labels.is_per_token()), (1, false));
        let labels = new(&tokens, true).unwrap();
        assert!(labels.is_per_token());
        let token = |at: usize, text: &str| Token {
            at,
            text: text.into(),
        };
        // What stands around the text has rows, too.
        let numbers = [9.0, 0.0, 0.0, 3f32.ln(), 1.0, 1.0, 0.0, 9.0];
        let output = HostTensor::from_f32(vec![4, 2], &numbers).unwrap();
        let options = ClassOptions::default();
        let told = labels.tell_tokens(&output, &[token(1, "Ada"), token(2, "is")], options);
        let expected = json!([
            {"token": "Ada", "label": "NAME", "score": 0.75}, {"token": "is", "label": "O", "score": 0.5}
        ]);
        assert_eq!(told, Some(expected));
        assert_eq!(labels.tell_tokens(&output, &[token(4, "x")], options), None);
    }

    #[test]
    fn scores_are_told_largest_first() {
        let outputs = [info("y", &[-1, 3])];
        let labels = |activation, are_scores: bool| {
            Labels::new(said(&["a", "b", "c"], activation), &outputs, false, |_| {
                are_scores
            })
            .unwrap()
        };
        let row = HostTensor::from_f32(vec![3], &[0.0, 2f32.ln(), f32::NEG_INFINITY]).unwrap();
        let options = ClassOptions::default();
        let told = labels(None, false).tell(&row, options).unwrap();
        let expected = json!([
            {"label": "b", "score": 0.6666667}, {"label": "a", "score": 0.33333334}, {"label": "c", "score": 0.0}
        ]);
        assert_eq!(told, expected);
        let map = ClassOptions {
            form: ClassForm::Map,
            top_k: Some(1),
            ..options
        };
        assert_eq!(
            labels(Some(Activation::Sigmoid), false).tell(&row, map),
            Some(json!({"b": 0.6666667}))
        );
        let own = HostTensor::from_f32(vec![1, 3], &[0.25, 0.75, f32::NAN]).unwrap();
        let told =
            labels(Some(Activation::Softmax), true).tell(&own, ClassOptions { top_k: None, ..map });
        assert_eq!(told.unwrap().to_string(), r#"{"b":0.75,"a":0.25,"c":null}"#);
        let two = HostTensor::from_f32(vec![2, 3], &[0.0; 6]).unwrap();
        assert_eq!(
            labels(None, false).tell(&two, map),
            Some(json!([{"a": 0.33333334}, {"a": 0.33333334}]))
        );
        let other = HostTensor::from_f32(vec![2], &[0.0; 2]).unwrap();
        assert_eq!(labels(None, false).tell(&other, map), None);
    }
}
