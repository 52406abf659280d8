//! `tokenizer.ggml.model` = `llama`: SentencePiece BPE.
//!
//! SentencePiece has no list of merges: of all neighbouring pieces whose union is a piece it joins those whose union has
//! the highest score. The list is made of the scores, as transformers' `convert_slow_tokenizer.py` does.

use hearth_formats::Result;
use hearth_formats::checkpoint::tokenizer::{TYPE_BYTE, TYPE_NORMAL, TYPE_USER_DEFINED};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::{NormalizerWrapper, Tokenizer};

use super::{Built, Common, byte_level};
use crate::tokenizer::decode::{Decoding, Lead};
use crate::tokenizer::guard;

pub(super) fn build(common: &Common) -> Result<Built> {
    let metadata = common.metadata;
    let vocab: Vocab = common.distinct(common.tokens).collect();
    let merges = match metadata.get("tokenizer.ggml.merges") {
        Some(_) => byte_level::merges(common, &vocab)?,
        None => merges_of_scores(common, &vocab)?,
    };
    let unknown = common.id("tokenizer.ggml.unknown_token_id")?.unwrap_or(0);
    let unknown = common.tokens[unknown as usize].clone();
    let broken = |message: String| common.wrong("tokenizer.ggml.tokens", message);
    let mut builder = BPE::builder()
        .byte_fallback(common.types.contains(&TYPE_BYTE))
        .fuse_unk(true);
    if vocab.contains_key(&unknown) {
        builder = builder.unk_token(unknown);
    }
    let model = guard::catch(|| builder.vocab_and_merges(vocab, merges).build()).map_err(broken)?;
    let mut tokenizer = Tokenizer::new(model);

    let adds_space = metadata
        .get_bool("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(true);
    let scheme_key = "hearth.tokenizer.prepend_scheme";
    let metaspace = match metadata.get_str(scheme_key)? {
        None => None,
        Some("first") => Some(PrependScheme::First),
        Some("always") => Some(PrependScheme::Always),
        Some(other) => {
            return Err(common.wrong(scheme_key, format!("{other:?} is neither first nor always")));
        }
    };
    match metaspace {
        Some(scheme) => {
            tokenizer.with_pre_tokenizer(Some(Metaspace::new('▁', scheme, false)));
        }
        None => {
            let mut steps: Vec<NormalizerWrapper> = Vec::new();
            if adds_space {
                steps.push(Prepend::new("▁".to_owned()).into());
            }
            let escape = guard::catch(|| Replace::new(" ", "▁")).map_err(broken)?;
            steps.push(escape.into());
            guard::catch(|| {
                tokenizer
                    .with_normalizer(Some(Normalizers::new(steps)))
                    .map(|_| ())
            })
            .map_err(broken)?;
        }
    }
    Ok(Built {
        tokenizer,
        decoding: Decoding::SentencePiece {
            byte_fallback: true,
            lead: Lead::Drop(usize::from(adds_space)),
        },
        adds: (true, false),
        tokens: None,
    })
}

fn merges_of_scores(common: &Common, vocab: &Vocab) -> Result<Vec<(String, String)>> {
    let key = "tokenizer.ggml.scores";
    let scores = match common.metadata.get_f32s(key)? {
        Some(scores) => scores,
        // Ids are in the order of scores in the vocabularies that SentencePiece trains.
        None => (0..common.tokens.len()).map(|id| -(id as f32)).collect(),
    };
    common.check_len(key, scores.len())?;
    if let Some(id) = scores.iter().position(|score| !score.is_finite()) {
        return Err(common.wrong(&format!("{key}[{id}]"), "is not finite"));
    }
    let is_piece = |token: &str| {
        let id = vocab.get(token).copied()?;
        let kind = common.types[id as usize];
        (kind == TYPE_NORMAL || kind == TYPE_USER_DEFINED).then_some(id)
    };
    struct Merge<'a> {
        score: f32,
        left: &'a str,
        right: &'a str,
        chars: (usize, usize),
    }
    let mut merges = Vec::new();
    for (token, &score) in common.tokens.iter().zip(&scores) {
        if is_piece(token).is_none() {
            continue;
        }
        let len = token.chars().count();
        let mut halves: Vec<(u32, u32, Merge)> = token
            .char_indices()
            .enumerate()
            .skip(1)
            .filter_map(|(chars, (at, _))| {
                let (left, right) = token.split_at(at);
                let chars = (chars, len - chars);
                let merge = Merge {
                    score,
                    left,
                    right,
                    chars,
                };
                Some((is_piece(left)?, is_piece(right)?, merge))
            })
            .collect();
        halves.sort_by_key(|&(left, right, _)| (left, right));
        merges.extend(halves.into_iter().map(|(.., merge)| merge));
    }
    merges.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.chars.cmp(&a.chars)));
    Ok(merges
        .into_iter()
        .map(|merge| (merge.left.to_owned(), merge.right.to_owned()))
        .collect())
}
