//! `tokenizer.ggml.model` = `gpt2`: byte-level BPE.

use hearth_formats::checkpoint::tokenizer::pre;
use hearth_formats::{Error, Result};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, SplitDelimiterBehavior, Tokenizer};

use super::{Built, Common};
use crate::tokenizer::decode::Decoding;
use crate::tokenizer::guard;

pub(super) fn build(common: &Common) -> Result<Built> {
    let metadata = common.metadata;
    let name = metadata.get_str("tokenizer.ggml.pre")?.unwrap_or("default");
    let Some(pre) = pre::find(name) else {
        let known: Vec<&str> = pre::PRE_TOKENIZERS.iter().map(|p| p.name).collect();
        return Err(Error::unsupported(
            metadata.label(),
            format!(
                "tokenizer.ggml.pre {name:?}; supported: {}",
                known.join(", ")
            ),
        ));
    };
    let nfc = match metadata.get_str("hearth.tokenizer.normalizer")? {
        None => pre.nfc,
        Some("nfc") => true,
        Some("none") => false,
        Some(other) => {
            return Err(common.wrong(
                "hearth.tokenizer.normalizer",
                format!("{other:?} is neither nfc nor none"),
            ));
        }
    };
    let vocab: Vocab = common.distinct(common.tokens).collect();
    let merges = merges(common, &vocab)?;
    let broken = |message: String| common.wrong("tokenizer.ggml.merges", message);
    let model = guard::catch(|| {
        BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(pre.ignore_merges)
            .build()
    })
    .map_err(broken)?;
    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    for split in pre.splits {
        let pattern = SplitPattern::Regex((*split).to_owned());
        let split = guard::catch(|| Split::new(pattern, SplitDelimiterBehavior::Isolated, false))
            .map_err(|m| common.wrong("tokenizer.ggml.pre", m))?;
        steps.push(split.into());
    }
    steps.push(ByteLevel::new(false, true, false).into());
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    if nfc {
        guard::catch(|| {
            tokenizer
                .with_normalizer(Some(NormalizerWrapper::NFC(NFC)))
                .map(|_| ())
        })
        .map_err(broken)?;
    }
    Ok(Built {
        tokenizer,
        decoding: Decoding::ByteLevel,
        adds: (pre.add_bos, false),
        tokens: None,
    })
}

/// `tokenizer.ggml.merges`: two tokens with a space between them, whose union is a token too.
pub(super) fn merges(common: &Common, vocab: &Vocab) -> Result<Vec<(String, String)>> {
    let key = "tokenizer.ggml.merges";
    let merges = common.metadata.require_strings(key)?;
    merges
        .iter()
        .enumerate()
        .map(|(i, merge)| {
            let pair = merge
                .split_once(' ')
                .filter(|(_, right)| !right.contains(' '));
            let Some((left, right)) = pair else {
                return Err(common.wrong(
                    &format!("{key}[{i}]"),
                    format!("{merge:?} is not two tokens with a space between them"),
                ));
            };
            for token in [left, right, &format!("{left}{right}")] {
                if !vocab.contains_key(token) {
                    return Err(common.wrong(
                        &format!("{key}[{i}]"),
                        format!("{token:?} is not in tokenizer.ggml.tokens"),
                    ));
                }
            }
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect()
}
