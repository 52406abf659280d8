//! Text to tokens and back.
//!
//! A [`Tokenizer`] comes from the files of a Hugging Face folder or from the metadata of a GGUF file; both give the same
//! tokens for the same vocabulary. The algorithms are those of the `tokenizers` crate. This module brings what a file
//! says into its form, checks it, and does its own decoding, since a stream of tokens has to be shown while it grows:
//! [`TextStream`] gives out whole characters only.
//!
//! Special tokens that a user types stay text: [`Special::Text`] for a plain text, and
//! [`Tokenizer::encode_rendered`] for a chat whose template put special tokens of its own around the user's.

mod added;
mod decode;
mod error;
mod folder;
mod frame;
mod guard;
mod metadata;
mod special;
mod stream;
mod vocabulary;

use std::path::Path;
use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_formats::gguf::Metadata;
use tokenizers::{AddedVocabulary, Model, OffsetReferential, OffsetType, PreTokenizer};

use crate::template::RenderedPrompt;

pub use error::TokenizerError;
pub use frame::Framed;
pub(crate) use special::SpecialTokens;
pub use stream::TextStream;

use added::Placeholders;
use decode::Decoding;
use frame::Frame;
use vocabulary::Vocabulary;

/// What the texts of special tokens are in a text that is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// The special tokens.
    Parse,
    /// Text like any other.
    Text,
}

/// Text to tokens and back. Cheap to clone.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    tokenizer: tokenizers::Tokenizer,
    /// The added tokens, of which the special ones are not looked for.
    text_only: AddedVocabulary,
    placeholders: Placeholders,
    specials: SpecialTokens,
    vocabulary: Vocabulary,
    decoding: Decoding,
    /// What a prompt begins and ends with.
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    bos: Option<u32>,
    eos: Vec<u32>,
    named: Vec<(&'static str, String)>,
    frames: Frames,
}

/// What a tokenizer for networks that classify texts has besides.
#[derive(Debug, Default)]
struct Frames {
    single: Option<Frame>,
    pair: Option<Frame>,
    pad: Option<u32>,
    max_length: Option<usize>,
}

/// What a source of tokenizers comes to.
struct Parts {
    label: String,
    tokenizer: tokenizers::Tokenizer,
    vocabulary: Vocabulary,
    decoding: Decoding,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    bos: Option<u32>,
    eos: Vec<u32>,
    /// The texts of `bos_token` and so on, for chat templates.
    named: Vec<(&'static str, String)>,
    frames: Frames,
}

/// The names that special tokens have in `tokenizer_config.json`.
const NAMED: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

impl Tokenizer {
    /// The tokenizer of a model: from the files of its folder, or from its metadata.
    ///
    /// # Errors
    /// As [`Tokenizer::from_folder`] and [`Tokenizer::from_metadata`].
    pub fn open(checkpoint: &Checkpoint) -> Result<Tokenizer, TokenizerError> {
        match checkpoint.folder() {
            Some(folder) => Tokenizer::from_folder(folder),
            None => Tokenizer::from_metadata(checkpoint.metadata()),
        }
    }

    /// From `tokenizer.json`, and `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json` and
    /// `config.json` where they are there.
    ///
    /// # Errors
    /// A file that is missing, broken or describes what is not supported; the error names file and field.
    pub fn from_folder(folder: &Path) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::assemble(folder::read(folder)?)
    }

    /// From the keys `tokenizer.ggml.*` of a GGUF file. `tokenizer.ggml.model` is `gpt2` (byte-level BPE, whose
    /// `tokenizer.ggml.pre` has to be a name of `hearth_formats::checkpoint::tokenizer::pre`), `llama` (SentencePiece
    /// BPE) or `bert` (WordPiece).
    ///
    /// # Errors
    /// Keys that are missing, of a wrong type, or do not fit together; the error names file and key.
    pub fn from_metadata(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::assemble(metadata::read(metadata)?)
    }

    fn assemble(parts: Parts) -> Result<Tokenizer, TokenizerError> {
        let added = parts.tokenizer.get_added_vocabulary();
        let mut text_only = added.clone();
        text_only.set_encode_special_tokens(true);
        let placeholders = Placeholders::new(&parts.tokenizer, parts.vocabulary.len())
            .map_err(|what| hearth_formats::Error::unsupported(&parts.label, what))?;
        let specials = SpecialTokens::new(added);
        Ok(Tokenizer {
            inner: Arc::new(Inner {
                text_only,
                placeholders,
                specials,
                tokenizer: parts.tokenizer,
                vocabulary: parts.vocabulary,
                decoding: parts.decoding,
                prefix: parts.prefix,
                suffix: parts.suffix,
                bos: parts.bos,
                eos: parts.eos,
                named: parts.named,
                frames: parts.frames,
            }),
        })
    }

    /// The tokens of a text. Nothing is put before or after them.
    ///
    /// # Errors
    /// A character for which the vocabulary has no token and no unknown token, or a pattern of the tokenizer that takes
    /// too many steps on this text.
    pub fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>, TokenizerError> {
        let added = match special {
            Special::Parse => self.inner.tokenizer.get_added_vocabulary(),
            Special::Text => &self.inner.text_only,
        };
        self.inner.run(added, text)
    }

    /// The tokens of a prompt as the tokenizer gives them by default: special tokens are parsed, and
    /// beginning-of-sequence and end-of-sequence tokens (BERT's `[CLS]` and `[SEP]`) are put around them where the
    /// tokenizer's files say so.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.with_affixes(self.encode(text, Special::Parse)?))
    }

    /// Tokens of a text with what [`Tokenizer::encode_prompt`] puts around them.
    pub fn with_affixes(&self, tokens: Vec<u32>) -> Vec<u32> {
        let (prefix, suffix) = (&self.inner.prefix, &self.inner.suffix);
        if prefix.is_empty() && suffix.is_empty() {
            return tokens;
        }
        [prefix, &tokens[..], suffix].concat()
    }

    /// The tokens of a text, or of two that are judged together, with what the tokenizer's files put around and between them.
    /// Special tokens are parsed. Where `longest` is given, texts give way until all of it is no longer, at their ends, the
    /// longer text first.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; besides, a tokenizer that makes nothing of pairs, or one from a GGUF file.
    pub fn encode_framed(
        &self,
        first: &str,
        second: Option<&str>,
        longest: Option<usize>,
    ) -> Result<Framed, TokenizerError> {
        let (frame, what) = match second {
            None => (&self.inner.frames.single, "texts"),
            Some(_) => (&self.inner.frames.pair, "pairs of texts"),
        };
        let frame = frame.as_ref().ok_or_else(|| TokenizerError::Encode {
            message: format!("this tokenizer does not say what it makes of {what}"),
        })?;
        let mut first = self.encode(first, Special::Parse)?;
        let mut second = match second {
            Some(text) => self.encode(text, Special::Parse)?,
            None => Vec::new(),
        };
        if let Some(longest) = longest {
            let most = longest.saturating_sub(frame.len());
            let (of_first, of_second) = frame::cut(first.len(), second.len(), most);
            first.truncate(of_first);
            second.truncate(of_second);
        }
        Ok(frame.around(&first, &second))
    }

    /// The token that shorter texts of a batch are filled up with.
    pub fn pad_id(&self) -> Option<u32> {
        self.inner.frames.pad
    }

    /// Most tokens that the model was made for, as `model_max_length` of `tokenizer_config.json` says.
    pub fn max_length(&self) -> Option<usize> {
        self.inner.frames.max_length
    }

    /// The tokens of a rendered chat. Special tokens that the template wrote are parsed; those that stood in messages
    /// are text. Nothing is put before or after, since templates do so themselves. Where messages hold no special
    /// tokens, this is [`Tokenizer::encode`] of the rendered text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; besides, a message that holds special tokens and the noncharacters that stand for the
    /// template's own meanwhile.
    pub fn encode_rendered(&self, prompt: &RenderedPrompt) -> Result<Vec<u32>, TokenizerError> {
        match prompt.sentinel() {
            None => self.encode(prompt.marked(), Special::Parse),
            Some(sentinel) => {
                let inner = &self.inner;
                let (text, order) =
                    inner
                        .placeholders
                        .hide(prompt.marked(), sentinel, &inner.specials)?;
                let mut tokens = inner.run(inner.placeholders.vocabulary(), &text)?;
                inner.placeholders.reveal(&mut tokens, &order)?;
                Ok(tokens)
            }
        }
    }

    /// The text of tokens. `skip_special` leaves special tokens out.
    ///
    /// Bytes that are no UTF-8 become U+FFFD: one for each maximal invalid part where the vocabulary is byte-level, as
    /// Rust and Python have it, and one for each byte where it falls back to bytes, as SentencePiece has it. Ids beyond
    /// the vocabulary have no text.
    pub fn decode(&self, tokens: &[u32], skip_special: bool) -> String {
        let mut stream = TextStream::new(self.inner.clone(), skip_special, true);
        let mut text = String::new();
        for &token in tokens {
            text.extend(stream.push(token));
        }
        text.extend(stream.finish());
        text
    }

    /// The text of tokens that come one by one, from the start of a text; special tokens are skipped.
    pub fn stream(&self) -> TextStream {
        TextStream::new(self.inner.clone(), true, true)
    }

    /// The text of tokens that come one by one after a prompt; special tokens are skipped.
    ///
    /// This differs from [`Tokenizer::stream`] where decoding drops the space that encoding put before a text: between
    /// a prompt's last word and the first generated one it has to stay. After a special token the text begins anew.
    pub fn stream_after(&self, prompt: &[u32]) -> TextStream {
        let anew = prompt.last().is_none_or(|&token| self.is_special(token));
        TextStream::new(self.inner.clone(), true, anew)
    }

    /// The bytes that a token stands for; of a special token its name. Empty for an id beyond the vocabulary.
    ///
    /// The bytes of a text's tokens are the text, but for the space that SentencePiece puts at its beginning, and for
    /// WordPiece, which loses white space.
    pub fn token_bytes(&self, token: u32) -> Vec<u8> {
        self.inner.vocabulary.bytes(token).to_vec()
    }

    /// The text that a token stands for, with U+FFFD for bytes that are no UTF-8 by themselves.
    pub fn token_text(&self, token: u32) -> String {
        String::from_utf8_lossy(self.inner.vocabulary.bytes(token)).into_owned()
    }

    /// The id of a token by its text in the vocabulary, for example `<|im_start|>`.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.tokenizer.token_to_id(token)
    }

    /// Whether a token steers the model and is no text.
    pub fn is_special(&self, token: u32) -> bool {
        self.inner.vocabulary.is_special(token)
    }

    /// The special tokens' texts with their ids, in no particular order.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, u32)> {
        self.inner.specials.iter()
    }

    /// The tokens that end a text.
    pub fn eos_ids(&self) -> &[u32] {
        &self.inner.eos
    }

    /// The token that begins a text, if the vocabulary has one.
    pub fn bos_id(&self) -> Option<u32> {
        self.inner.bos
    }

    /// One more than the highest id. A model may compute logits for more.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocabulary.len()
    }

    /// The texts of `bos_token` and so on, as far as the tokenizer has them.
    pub(crate) fn named_tokens(&self) -> &[(&'static str, String)] {
        &self.inner.named
    }

    pub(crate) fn specials(&self) -> &SpecialTokens {
        &self.inner.specials
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("bos", &self.inner.bos)
            .field("eos", &self.inner.eos)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn run(&self, added: &AddedVocabulary, text: &str) -> Result<Vec<u32>, TokenizerError> {
        encode_with(&self.tokenizer, added, text)
            .map_err(|message| TokenizerError::Encode { message })
    }
}

/// What `tokenizers` does to encode, with added tokens of our choosing and no offsets.
fn encode_with(
    tokenizer: &tokenizers::Tokenizer,
    added: &AddedVocabulary,
    text: &str,
) -> Result<Vec<u32>, String> {
    guard::catch(|| {
        let mut pieces = added.extract_and_normalize(tokenizer.get_normalizer(), text);
        if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        let model = tokenizer.get_model();
        pieces.tokenize(|piece| model.tokenize(piece.get()))?;
        Ok(pieces
            .get_splits(OffsetReferential::Normalized, OffsetType::None)
            .into_iter()
            .filter_map(|(_, _, tokens)| tokens.as_ref())
            .flatten()
            .map(|token| token.id)
            .collect())
    })
}
