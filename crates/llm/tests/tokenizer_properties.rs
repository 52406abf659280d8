//! Laws of streaming, and tokenizer files that are broken on purpose.

use std::path::{Path, PathBuf};

use hearth_formats::checkpoint::tokenizer::pre::PRE_TOKENIZERS;
use hearth_formats::checkpoint::tokenizer::tokenizer_metadata;
use hearth_formats::gguf::{Array, Metadata, Value};
use hearth_llm::tokenizer::{Special, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const KINDS: [&str; 8] = [
    "gpt2",
    "llama3",
    "qwen2",
    "tekken",
    "llama",
    "llama-first",
    "llama-never",
    "bert",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizer")
        .join(name)
}

fn tokenizers() -> &'static [Tokenizer] {
    static ALL: std::sync::OnceLock<Vec<Tokenizer>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| {
        KINDS
            .iter()
            .map(|name| Tokenizer::from_folder(&folder(name)).unwrap())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// All that a stream gives is what decoding the whole gives, and each piece is whole characters by its type.
    #[test]
    fn streams_are_the_whole_text(kind in 0..KINDS.len(), tokens in prop::collection::vec(0u32..1000, 0..40)) {
        let tokenizer = &tokenizers()[kind];
        let mut stream = tokenizer.stream();
        let mut text = String::new();
        for &token in &tokens {
            let piece = stream.push(token);
            prop_assert_ne!(piece.as_deref(), Some(""));
            text.extend(piece);
        }
        text.extend(stream.finish());
        prop_assert_eq!(stream.finish(), None);
        prop_assert_eq!(text, tokenizer.decode(&tokens, true));
    }

    /// The bytes of a text's tokens in any order of arrival never show half a character.
    #[test]
    fn streams_never_split_a_character(kind in 0..4usize, text in "\\PC{0,24}[äß漢字👨‍👩‍👧é]{1,6}") {
        let tokenizer = &tokenizers()[kind];
        let tokens = tokenizer.encode(&text, Special::Text).unwrap();
        let mut stream = tokenizer.stream();
        let pieces: Vec<String> = tokens.iter().filter_map(|&t| stream.push(t)).collect();
        prop_assert_eq!(stream.finish(), None);
        let bytes: Vec<u8> = tokens.iter().flat_map(|&t| tokenizer.token_bytes(t)).collect();
        prop_assert_eq!(pieces.concat().into_bytes(), bytes);
    }

    /// Texts come back from the tokens of byte-level vocabularies as they were.
    #[test]
    fn byte_level_texts_come_back(kind in 0..2usize, text in any::<String>()) {
        let tokenizer = &tokenizers()[kind];
        let tokens = tokenizer.encode(&text, Special::Text).unwrap();
        prop_assert_eq!(tokenizer.decode(&tokens, true), text);
    }

    /// Whatever is in the metadata, reading it ends in a tokenizer or an error.
    #[test]
    fn metadata_is_read_or_refused(
        kind in 0..KINDS.len(),
        key in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        how in 0..6u8,
    ) {
        let keys = tokenizer_metadata(&folder(KINDS[kind])).unwrap();
        let (name, value) = key.get(&keys).clone();
        let value = match (how, value) {
            (0, _) => None,
            (1, Value::Array(Array::String(mut v))) => { v.truncate(v.len() / 2); Some(Value::from(v)) }
            (2, Value::Array(Array::String(mut v))) => { v.reverse(); Some(Value::from(v)) }
            (3, Value::Array(Array::String(v))) => Some(Value::from(vec![String::new(); v.len()])),
            (1 | 2, Value::Array(Array::I32(v))) => Some(Value::from(vec![how as i32 + 3; v.len()])),
            (4, _) => Some(Value::from(u32::MAX)),
            (_, _) => Some(other.get(&keys).1.clone()),
        };
        let mut metadata = Metadata::new("m.gguf");
        for (k, v) in keys {
            if k != name {
                metadata.insert(k, v);
            } else if let Some(value) = &value {
                metadata.insert(k, value.clone());
            }
        }
        match Tokenizer::from_metadata(&metadata) {
            Ok(tokenizer) => {
                for text in ["", "Hello ▁ wörld 123\n", "<s></s>[CLS]<|im_end|>"] {
                    if let Ok(tokens) = tokenizer.encode_prompt(text) {
                        tokenizer.decode(&tokens, false);
                    }
                }
            }
            Err(error) => prop_assert!(error.to_string().contains("m.gguf"), "{}", error),
        }
    }
}

/// After a prompt's last word the first generated word keeps its space; after a special token it does not.
#[test]
fn streams_go_on_after_prompts() {
    let tokenizer = &tokenizers()[4];
    let words = tokenizer.encode("the boats", Special::Text).unwrap();
    let text = |mut stream: hearth_llm::tokenizer::TextStream| {
        let mut text: String = words.iter().filter_map(|&t| stream.push(t)).collect();
        text.extend(stream.finish());
        text
    };
    assert_eq!(text(tokenizer.stream()), "the boats");
    assert_eq!(text(tokenizer.stream_after(&[])), "the boats");
    assert_eq!(
        text(tokenizer.stream_after(&[tokenizer.bos_id().unwrap()])),
        "the boats"
    );
    assert_eq!(text(tokenizer.stream_after(&words)), " the boats");
}

#[test]
fn unknown_ids_have_no_text() {
    for tokenizer in tokenizers() {
        assert_eq!(tokenizer.decode(&[u32::MAX, 1 << 20], false), "");
        assert!(tokenizer.token_bytes(u32::MAX).is_empty());
        assert!(!tokenizer.is_special(u32::MAX));
        assert_eq!(tokenizer.stream().push(u32::MAX), None);
    }
}

fn written(name: &str, file: &str, edit: impl FnOnce(&mut Json)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = dir.path().join(file);
    let mut json: Json = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(_) => json!({}),
    };
    edit(&mut json);
    std::fs::write(&path, json.to_string()).unwrap();
    dir
}

/// A broken file, and what the error has to name.
fn refused(name: &str, named: &[&str], edit: impl FnOnce(&mut Json)) {
    let dir = written(name, "tokenizer.json", edit);
    let error = Tokenizer::from_folder(dir.path()).unwrap_err().to_string();
    for part in named.iter().chain(&["tokenizer.json"]) {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

#[test]
fn broken_files_are_refused_by_field() {
    refused("gpt2", &["model"], |j| j["model"] = json!([]));
    refused("gpt2", &["model.vocab"], |j| j["model"]["vocab"] = json!(3));
    refused("gpt2", &["model.vocab", "zzz"], |j| {
        j["model"]["vocab"]["zzz"] = json!(1)
    });
    refused("gpt2", &["model.vocab", "zzz"], |j| {
        j["model"]["vocab"]["zzz"] = json!(4_000_000_000u64)
    });
    refused("gpt2", &["model.vocab", "zzz"], |j| {
        j["model"]["vocab"]["zzz"] = json!(-1)
    });
    refused("gpt2", &["model.merges[0]", "nowhere"], |j| {
        j["model"]["merges"][0] = json!(["nowhere", "e"])
    });
    refused("gpt2", &["model.merges[1]"], |j| {
        j["model"]["merges"][1] = json!(["Ġ", "zz"])
    });
    refused("gpt2", &["model.merges[2]"], |j| {
        j["model"]["merges"][2] = json!(5)
    });
    refused("gpt2", &["model.merges"], |j| {
        j["model"]["merges"] = json!({})
    });
    refused("gpt2", &["model.merges[0]", "##"], |j| {
        j["model"]["continuing_subword_prefix"] = json!("##")
    });
    refused("gpt2", &["model.unk_token"], |j| {
        j["model"]["unk_token"] = json!("nowhere")
    });
    refused("gpt2", &["added_tokens"], |j| {
        j["added_tokens"][0]["id"] = json!(5)
    });
    refused("gpt2", &["added_tokens"], |j| {
        j["added_tokens"][0]["id"] = json!(90_000)
    });
    refused("gpt2", &["added_tokens[0].content"], |j| {
        j["added_tokens"][0]["content"] = json!("")
    });
    refused("gpt2", &["added_tokens[0].special"], |j| {
        j["added_tokens"][0]["special"] = json!("yes")
    });
    refused("gpt2", &["decoder"], |j| {
        j["decoder"] = json!({"type": "CTC"})
    });
    refused("gpt2", &["normalizer"], |j| {
        let grow = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        j["normalizer"] = json!({"type": "Sequence", "normalizers": vec![grow; 40]});
    });
    refused("gpt2", &["normalizer.precompiled_charsmap"], |j| {
        j["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "////////"});
    });
    refused("gpt2", &["pre_tokenizer.length"], |j| {
        j["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0})
    });
    refused("gpt2", &["tokenizer"], |j| {
        j["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
    });
    refused("bert", &["model.unk_token"], |j| {
        j["model"]["unk_token"] = json!(null)
    });
    refused("bert", &["tokenizer"], |j| {
        j["model"]["vocab"] = json!([["a", 1]])
    });
    refused("bert", &["post_processor.single", "[CLS]"], |j| {
        j["post_processor"]["special_tokens"] = json!({})
    });
    refused("bert", &["post_processor.single", "\"B\""], |j| {
        j["post_processor"]["single"] = j["post_processor"]["pair"].take()
    });
    refused("llama", &["PostProcessor"], |j| {
        j["post_processor"] = json!({"type": "Nothing"})
    });

    let missing = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_folder(missing.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    std::fs::write(missing.path().join("tokenizer.json"), "{\"model\": ").unwrap();
    let error = Tokenizer::from_folder(missing.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("line 1"), "{error}");

    let dir = written("gpt2", "generation_config.json", |j| {
        j["eos_token_id"] = json!("end")
    });
    let error = Tokenizer::from_folder(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("generation_config.json: eos_token_id"),
        "{error}"
    );
}

#[test]
fn every_eos_token_ends_a_text() {
    let dir = written("llama3", "generation_config.json", |j| {
        j["eos_token_id"] = json!([701, 702]);
    });
    let tokenizer = Tokenizer::from_folder(dir.path()).unwrap();
    assert_eq!(tokenizer.eos_ids(), [702, 701]);
    let mut metadata = Metadata::new("m");
    for (key, value) in tokenizer_metadata(dir.path()).unwrap() {
        metadata.insert(key, value);
    }
    assert_eq!(
        Tokenizer::from_metadata(&metadata).unwrap().eos_ids(),
        [702, 701]
    );
    // Without our own key, the names tell.
    let mut names_only = Metadata::new("m");
    for (key, value) in metadata.iter() {
        if key != "hearth.tokenizer.eos_token_ids" {
            names_only.insert(key, value.clone());
        }
    }
    assert_eq!(
        Tokenizer::from_metadata(&names_only).unwrap().eos_ids(),
        [702, 701]
    );
}

#[test]
fn every_named_pre_tokenizer_cuts_without_losing_text() {
    let mut metadata = Metadata::new("m.gguf");
    for (key, value) in tokenizer_metadata(&folder("gpt2")).unwrap() {
        metadata.insert(key, value);
    }
    let text =
        "We'll pay 12345 €, \t\n\n  Ünïcödé Страница 漢字かな 한국어 !!?… a_b\r\n ΔΩ (x|y)   ";
    for pre in PRE_TOKENIZERS {
        metadata.insert("tokenizer.ggml.pre", pre.name);
        let tokenizer = Tokenizer::from_metadata(&metadata).unwrap();
        let tokens = tokenizer.encode(text, Special::Text).unwrap();
        assert_eq!(tokenizer.decode(&tokens, true), text, "{}", pre.name);
    }
}

#[test]
fn unknown_kinds_of_metadata_are_refused_by_name() {
    let mut metadata = Metadata::new("m.gguf");
    for (key, value) in tokenizer_metadata(&folder("gpt2")).unwrap() {
        metadata.insert(key, value);
    }
    metadata.insert("tokenizer.ggml.pre", "someone-elses");
    let error = Tokenizer::from_metadata(&metadata).unwrap_err().to_string();
    assert!(
        error.contains("someone-elses") && error.contains("llama-bpe"),
        "{error}"
    );
    metadata.insert("tokenizer.ggml.model", "rwkv");
    let error = Tokenizer::from_metadata(&metadata).unwrap_err().to_string();
    assert!(error.contains("rwkv"), "{error}");
}

#[test]
fn configured_tokens_are_added_and_special() {
    let dir = written("gpt2", "tokenizer_config.json", |j| {
        j["added_tokens_decoder"] = json!({"701": {"content": "<|pad|>", "special": true}});
        j["pad_token"] = json!({"content": "<|pad|>"});
        j["additional_special_tokens"] = json!(["Ġthe"]);
    });
    let tokenizer = Tokenizer::from_folder(dir.path()).unwrap();
    assert_eq!(tokenizer.encode("<|pad|>", Special::Parse).unwrap(), [701]);
    assert!(tokenizer.is_special(701));
    assert!(tokenizer.is_special(tokenizer.token_id("Ġthe").unwrap()));
    assert_eq!(tokenizer.vocab_size(), 702);
}
