//! `tokenizer.ggml.model` = `bert`: WordPiece.

use hearth_formats::Result;
use hearth_formats::checkpoint::tokenizer::TYPE_NORMAL;
use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{NormalizerWrapper, Tokenizer};

use super::{Built, Common};
use crate::tokenizer::decode::Decoding;
use crate::tokenizer::guard;

/// Characters beyond which BERT takes a word for unknown.
const MAX_WORD_CHARS: u32 = 100;

pub(super) fn build(common: &Common) -> Result<Built> {
    let metadata = common.metadata;
    let tokens = wordpiece_tokens(common);
    let vocab: Vocab = common.distinct(&tokens).collect();
    let key = "tokenizer.ggml.unknown_token_id";
    let unknown = match common.id(key)? {
        Some(id) => tokens[id as usize].clone(),
        None => "[UNK]".to_owned(),
    };
    if !vocab.contains_key(&unknown) {
        return Err(common.wrong(key, format!("{unknown:?} is not in tokenizer.ggml.tokens")));
    }
    let max_word_chars = metadata
        .get_u32("hearth.tokenizer.max_word_chars")?
        .unwrap_or(MAX_WORD_CHARS);
    let broken = |message: String| common.wrong("tokenizer.ggml.tokens", message);
    let model = guard::catch(|| {
        WordPiece::builder()
            .vocab(vocab)
            .unk_token(unknown)
            .continuing_subword_prefix("##".to_owned())
            .max_input_chars_per_word(max_word_chars as usize)
            .build()
    })
    .map_err(broken)?;
    let lowercase = metadata
        .get_bool("tokenizer.ggml.normalizer.lowercase")?
        .unwrap_or(true);
    let strip_accents = metadata.get_bool("hearth.tokenizer.strip_accents")?;
    let normalizer = BertNormalizer::new(
        true,
        true,
        Some(strip_accents.unwrap_or(lowercase)),
        lowercase,
    );
    let mut tokenizer = Tokenizer::new(model);
    guard::catch(|| {
        tokenizer
            .with_normalizer(Some(NormalizerWrapper::BertNormalizer(normalizer)))
            .map(|_| ())
    })
    .map_err(broken)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    Ok(Built {
        tokenizer,
        decoding: Decoding::WordPiece {
            prefix: "##".to_owned(),
            cleanup: true,
        },
        adds: (true, true),
        tokens: Some(tokens),
    })
}

/// The tokens with `##` before those that continue words. llama.cpp's converter writes `▁` before the others instead;
/// files of other origin have WordPiece's own form.
fn wordpiece_tokens(common: &Common) -> Vec<String> {
    let count = |prefix: &str| {
        common
            .tokens
            .iter()
            .filter(|t| t.starts_with(prefix))
            .count()
    };
    if count("##") > count("▁") {
        return common.tokens.to_vec();
    }
    common
        .tokens
        .iter()
        .zip(&common.types)
        .map(|(token, &kind)| match token.strip_prefix('▁') {
            Some(word) => word.to_owned(),
            None if kind != TYPE_NORMAL || token.starts_with('[') && token.ends_with(']') => {
                token.clone()
            }
            None => format!("##{token}"),
        })
        .collect()
}
