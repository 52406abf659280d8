//! Tensors of texts: the inputs that Hugging Face's models have for them.

use hearth_graph::onnx::{DataType, Dim, ValueInfo};
use hearth_graph::runtime::{HostTensor, join};
use hearth_hub::catalog::NetworkMeaning;
use hearth_llm::tokenizer::Tokenizer;

use super::labels::Token;

/// The tokens for words that a vocabulary does not have.
const UNKNOWN: [&str; 3] = ["[UNK]", "<unk>", "<UNK>"];

/// What an input that a text fills has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The tokens.
    Ids,
    /// 1 for each token, 0 behind them.
    Mask,
    /// Which of two texts a token is of.
    Types,
}

/// The inputs that a text fills.
#[derive(Debug)]
pub struct TextInputs {
    tokenizer: Tokenizer,
    /// Their places.
    pub places: Vec<usize>,
    roles: Vec<(Role, DataType)>,
    /// The length that the network takes, where it takes one only.
    fixed: Option<usize>,
    /// Most tokens.
    longest: Option<usize>,
    pad: Option<u32>,
    /// The network counts no samples, but its inputs have a dimension for that.
    has_lead: bool,
}

/// The role of an input, by the name that all of Hugging Face's models have for it.
pub fn role(input: &ValueInfo) -> Option<Role> {
    let is_integer = matches!(input.dtype, DataType::Int64 | DataType::Int32);
    match input.name.as_str() {
        _ if !is_integer => None,
        "input_ids" => Some(Role::Ids),
        "attention_mask" => Some(Role::Mask),
        "token_type_ids" => Some(Role::Types),
        _ => None,
    }
}

impl TextInputs {
    /// Those of `inputs`, of which the first dimension counts samples where `is_batched`.
    ///
    /// # Errors
    /// Why it takes no texts.
    pub fn new(
        meaning: &NetworkMeaning,
        inputs: &[ValueInfo],
        is_batched: bool,
    ) -> Result<TextInputs, String> {
        let roles = inputs.iter().enumerate();
        let roles = roles.filter_map(|(at, input)| Some((at, role(input)?, input)));
        let roles: Vec<(usize, Role, &ValueInfo)> = roles.collect();
        if !roles.iter().any(|(_, role, _)| *role == Role::Ids) {
            return Err("it takes no texts, having no input \"input_ids\"".into());
        }
        let Some(folder) = &meaning.tokenizer else {
            return Err("it takes no texts, having no tokenizer.json beside it".into());
        };
        let tokenizer = Tokenizer::from_folder(folder)
            .map_err(|error| format!("it takes no texts: {error}"))?;
        let mut fixed = None;
        for (_, _, input) in &roles {
            let dims = input.dims.as_slice();
            let length = match (is_batched, dims) {
                (true, [_, length]) | (false, [length]) => length,
                (false, [lead, length]) if takes_one(lead) => length,
                _ => {
                    return Err(format!(
                        "it takes no texts: input {input} is no row of tokens"
                    ));
                }
            };
            if let Dim::Fixed(size) = length {
                let size = usize::try_from(*size).unwrap_or(0);
                if fixed.is_some_and(|fixed| fixed != size) {
                    return Err("it takes no texts: its inputs have several lengths".into());
                }
                fixed = Some(size);
            }
        }
        let limits = [fixed, tokenizer.max_length(), meaning.max_positions];
        Ok(TextInputs {
            places: roles.iter().map(|(at, ..)| *at).collect(),
            has_lead: !is_batched && roles.iter().any(|(_, _, input)| input.dims.len() == 2),
            roles: { roles.iter() }
                .map(|(_, role, input)| (*role, input.dtype))
                .collect(),
            fixed,
            longest: limits.into_iter().flatten().min(),
            pad: tokenizer.pad_id().or(meaning.pad_token),
            tokenizer,
        })
    }

    /// The token that shorter texts are filled up with.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// Most tokens of a text.
    pub fn longest(&self) -> Option<usize> {
        self.longest
    }

    /// The number of tokens of what was made of a text.
    pub fn length(made: &[HostTensor]) -> usize {
        let shape = made.first().map(HostTensor::shape);
        shape.and_then(<[usize]>::last).copied().unwrap_or(0)
    }

    /// The tokens of a text that the tensors of a sample are, for all inputs of the network: without those that stand around
    /// it or fill it up.
    pub fn tokens(&self, sample: &[HostTensor]) -> Vec<Token> {
        let column = |wanted: Role| {
            let mut roles = self.places.iter().zip(&self.roles);
            let (at, _) = roles.find(|(_, (role, _))| *role == wanted)?;
            sample.get(*at).map(HostTensor::to_f64)
        };
        let ids = column(Role::Ids).unwrap_or_default();
        let mask = column(Role::Mask);
        let counts = |at: usize| {
            let mask = mask.as_ref().and_then(|mask| mask.get(at));
            mask.is_none_or(|bit| *bit != 0.0)
        };
        let ids = ids.into_iter().enumerate().filter(|(at, _)| counts(*at));
        let tokens = ids.filter_map(|(at, id)| {
            let id = id as u32;
            let text = self.tokenizer.token_text(id);
            // What the vocabulary has no word for is text all the same.
            let is_text = !self.tokenizer.is_special(id) || UNKNOWN.contains(&text.as_str());
            is_text.then_some(Token { at, text })
        });
        tokens.collect()
    }

    /// Rows of one input, filled up to the length of the longest.
    pub fn join(&self, place: usize, rows: &[&HostTensor]) -> Option<HostTensor> {
        let (role, dtype) = self.roles.get(place)?;
        let length = |row: &&HostTensor| row.shape().last().copied();
        let longest = rows.iter().filter_map(length).max()?;
        let is_even = rows.iter().all(|row| length(row) == Some(longest));
        let has_mask = self.roles.iter().any(|(role, _)| *role == Role::Mask);
        let fill = match (is_even, self.pad) {
            (true, _) => 0,
            (false, Some(pad)) if has_mask => pad,
            (false, _) => return None,
        };
        let fill = element(*dtype, if *role == Role::Ids { fill } else { 0 });
        let rows = rows.iter().map(|row| {
            let row = row.lengthened(row.shape().len().checked_sub(1)?, longest, &fill)?;
            Some(if self.has_lead { row } else { row.into_row() })
        });
        let rows: Vec<HostTensor> = rows.collect::<Option<_>>()?;
        join(&rows.iter().collect::<Vec<_>>())
    }

    /// The tensors of a text, or of two.
    ///
    /// # Errors
    /// A sentence: what is wrong with it.
    pub fn prepare(
        &self,
        first: &str,
        second: Option<&str>,
        truncation: bool,
    ) -> Result<Vec<HostTensor>, String> {
        let longest = self.longest.filter(|_| truncation);
        let framed = self.tokenizer.encode_framed(first, second, longest);
        let framed = framed.map_err(|error| error.to_string())?;
        let count = framed.ids.len();
        if let Some(longest) = self.longest.filter(|longest| count > *longest) {
            return Err(format!(
                "the text has {count} tokens, the network takes {longest} at most"
            ));
        }
        let length = self.fixed.unwrap_or(count);
        let has_mask = self.roles.iter().any(|(role, _)| *role == Role::Mask);
        let pad = match (length == count, self.pad) {
            (true, _) => 0,
            (false, Some(pad)) if has_mask => pad,
            (false, _) => {
                return Err(format!(
                    "the text has {count} tokens, the network takes {length}, and nothing says how it is filled up"
                ));
            }
        };
        let tensors = self.roles.iter().map(|(role, dtype)| {
            let (own, fill): (Vec<u32>, u32) = match role {
                Role::Ids => (framed.ids.clone(), pad),
                Role::Mask => (vec![1; count], 0),
                Role::Types => (framed.type_ids.clone(), 0),
            };
            let numbers = own.into_iter().chain(std::iter::repeat(fill)).take(length);
            let bytes: Vec<u8> = numbers.flat_map(|n| element(*dtype, n)).collect();
            let tensor = HostTensor::new(*dtype, vec![length], bytes)?;
            Ok(if self.has_lead {
                tensor.into_row()
            } else {
                tensor
            })
        });
        tensors.collect()
    }
}

/// The bytes of a number as an element of one of the types that [`role`] allows.
pub fn element(dtype: DataType, number: u32) -> Vec<u8> {
    match dtype {
        DataType::Int32 => (number as i32).to_le_bytes().to_vec(),
        _ => i64::from(number).to_le_bytes().to_vec(),
    }
}

/// Whether a dimension may be 1.
pub fn takes_one(dim: &Dim) -> bool {
    matches!(dim, Dim::Fixed(1) | Dim::Symbol(_) | Dim::Unknown)
}
