//! The tokenizer files of a Hugging Face folder, read and checked.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::MAX_TOKENS;
use crate::small::read_small;
use crate::{Error, Result};

/// No tokenizer file that is in use has a tenth of this size.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// An entry of `added_tokens`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub content: String,
    /// Whether it steers the model and is no text.
    pub special: bool,
    /// Whether it swallows white space before it.
    pub lstrip: bool,
    /// Whether it swallows white space after it.
    pub rstrip: bool,
    /// Whether it is found only between characters that are not part of words.
    pub single_word: bool,
    /// Whether it is found in the normalized text rather than the original.
    pub normalized: bool,
}

/// The chat templates of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatTemplates {
    /// The one that is used where nothing else is said.
    pub default: Option<String>,
    /// Others by name; `tool_use` is used where there are tools.
    pub named: Vec<(String, String)>,
}

/// `tokenizer.json` and what other files of the folder say about tokens.
///
/// Checked on opening: that the file is JSON with a model whose vocabulary maps distinct tokens to distinct ids below
/// [`MAX_TOKENS`], and that added tokens fit it.
#[derive(Debug)]
pub struct TokenizerFiles {
    dir: PathBuf,
    label: String,
    json: Json,
    config: Json,
    special_tokens_map: Json,
    ids: HashMap<String, u32>,
    eos_ids: Vec<u32>,
}

impl TokenizerFiles {
    /// Reads the folder's files; all but `tokenizer.json` may be missing.
    pub fn open(dir: &Path) -> Result<TokenizerFiles> {
        let path = dir.join("tokenizer.json");
        let json = read_json(&path)?.ok_or_else(|| {
            Error::io(
                &path,
                std::io::Error::new(
                    std::io::ErrorKind::NotFound,
                    "no such file; the tokenizer is read from it",
                ),
            )
        })?;
        let mut files = TokenizerFiles {
            dir: dir.to_owned(),
            label: path.display().to_string(),
            json,
            config: read_json(&dir.join("tokenizer_config.json"))?.unwrap_or(Json::Null),
            special_tokens_map: read_json(&dir.join("special_tokens_map.json"))?
                .unwrap_or(Json::Null),
            ids: HashMap::new(),
            eos_ids: Vec::new(),
        };
        files.check()?;
        files.eos_ids = files.find_eos_ids()?;
        Ok(files)
    }

    /// What errors call `tokenizer.json`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The parsed `tokenizer.json`.
    pub fn json(&self) -> &Json {
        &self.json
    }

    /// The parsed `tokenizer.json`, which is the largest part, moved out.
    pub fn take_json(&mut self) -> Json {
        std::mem::take(&mut self.json)
    }

    /// The parsed `tokenizer_config.json`; null where there is none.
    pub fn config(&self) -> &Json {
        &self.config
    }

    /// `model.type`; files of old versions lack it, and their models show by their fields.
    pub fn model_type(&self) -> &str {
        let model = &self.json["model"];
        match model["type"].as_str() {
            Some(kind) => kind,
            None if model.get("merges").is_some() => "BPE",
            None if model.get("continuing_subword_prefix").is_some() => "WordPiece",
            None if model["vocab"].is_array() => "Unigram",
            None => "WordLevel",
        }
    }

    fn field(&self, field: &str, problem: impl Into<String>) -> Error {
        Error::field(&self.label, field, problem)
    }

    /// The model's tokens with their ids, added tokens aside.
    pub fn vocabulary(&self) -> Result<Vec<(&str, u32)>> {
        let vocab = &self.json["model"]["vocab"];
        let entries: Vec<(&str, u32)> = match vocab {
            Json::Object(map) => map
                .iter()
                .map(|(token, id)| {
                    id.as_u64()
                        .filter(|&id| (id as usize) < MAX_TOKENS)
                        .map(|id| (token.as_str(), id as u32))
                        .ok_or_else(|| {
                            self.field(
                                &format!("model.vocab[{token:?}]"),
                                format!("{id} is no token id below {MAX_TOKENS}"),
                            )
                        })
                })
                .collect::<Result<_>>()?,
            Json::Array(list) if list.len() <= MAX_TOKENS => list
                .iter()
                .enumerate()
                .map(|(id, entry)| {
                    entry[0]
                        .as_str()
                        .filter(|_| entry[1].is_number())
                        .map(|token| (token, id as u32))
                        .ok_or_else(|| {
                            self.field(
                                &format!("model.vocab[{id}]"),
                                "expected a token and its score",
                            )
                        })
                })
                .collect::<Result<_>>()?,
            _ => return Err(self.field("model.vocab", "expected a vocabulary")),
        };
        Ok(entries)
    }

    /// `added_tokens`, and those of `tokenizer_config.json`'s `added_tokens_decoder` that are missing there.
    pub fn added_tokens(&self) -> Result<Vec<AddedToken>> {
        let mut tokens = Vec::new();
        match &self.json["added_tokens"] {
            Json::Null => {}
            Json::Array(list) => {
                for (i, entry) in list.iter().enumerate() {
                    let field = format!("added_tokens[{i}]");
                    tokens.push(self.added_token(&self.label, &field, &entry["id"], entry)?);
                }
            }
            _ => return Err(self.field("added_tokens", "expected a list")),
        }
        if let Json::Object(decoder) = &self.config["added_tokens_decoder"] {
            let label = self.dir.join("tokenizer_config.json").display().to_string();
            let mut present: HashSet<String> = tokens.iter().map(|t| t.content.clone()).collect();
            for (id, entry) in decoder {
                let field = format!("added_tokens_decoder[{id:?}]");
                let id = id.parse::<u64>().map_or(Json::Null, Json::from);
                let token = self.added_token(&label, &field, &id, entry)?;
                if present.insert(token.content.clone()) {
                    tokens.push(token);
                }
            }
        }
        Ok(tokens)
    }

    fn added_token(&self, label: &str, field: &str, id: &Json, entry: &Json) -> Result<AddedToken> {
        let id = id
            .as_u64()
            .filter(|&id| (id as usize) < MAX_TOKENS)
            .ok_or_else(|| {
                Error::field(label, field, format!("{id} is no id below {MAX_TOKENS}"))
            })?;
        let content = entry["content"]
            .as_str()
            .filter(|c| !c.is_empty())
            .ok_or_else(|| Error::field(label, format!("{field}.content"), "expected a text"))?;
        let flag = |name: &str, default: bool| match &entry[name] {
            Json::Null => Ok(default),
            Json::Bool(b) => Ok(*b),
            other => Err(Error::field(
                label,
                format!("{field}.{name}"),
                format!("{other} is neither true nor false"),
            )),
        };
        let special = flag("special", false)?;
        Ok(AddedToken {
            id: id as u32,
            content: content.to_owned(),
            special,
            lstrip: flag("lstrip", false)?,
            rstrip: flag("rstrip", false)?,
            single_word: flag("single_word", false)?,
            normalized: flag("normalized", !special)?,
        })
    }

    fn check(&mut self) -> Result<()> {
        if !self.json["model"].is_object() {
            return Err(self.field("model", "expected an object"));
        }
        let entries = self.vocabulary()?;
        let mut texts: HashMap<u32, &str> = HashMap::with_capacity(entries.len());
        let mut ids = HashMap::with_capacity(entries.len());
        for &(token, id) in &entries {
            if let Some(other) = texts.insert(id, token) {
                return Err(self.field(
                    "model.vocab",
                    format!("{other:?} and {token:?} both have the id {id}"),
                ));
            }
            if let Some(other) = ids.insert(token.to_owned(), id) {
                return Err(self.field(
                    "model.vocab",
                    format!("{token:?} has both the id {other} and the id {id}"),
                ));
            }
        }
        for token in self.added_tokens()? {
            if let Some(other) = texts.get(&token.id).filter(|t| **t != token.content) {
                return Err(self.field(
                    "added_tokens",
                    format!(
                        "{:?} and {other:?} both have the id {}",
                        token.content, token.id
                    ),
                ));
            }
            match ids.insert(token.content.clone(), token.id) {
                Some(other) if other != token.id => {
                    return Err(self.field(
                        "added_tokens",
                        format!(
                            "{:?} has both the id {other} and the id {}",
                            token.content, token.id
                        ),
                    ));
                }
                _ => {}
            }
        }
        if ids.is_empty() {
            return Err(self.field("model.vocab", "there are no tokens"));
        }
        self.ids = ids;
        Ok(())
    }

    /// The id of a token by its text.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// The text of a named token such as `bos_token`, from `tokenizer_config.json` or `special_tokens_map.json`.
    pub fn named_text(&self, name: &str) -> Option<&str> {
        [&self.config, &self.special_tokens_map]
            .into_iter()
            .find_map(|file| {
                let value = &file[name];
                value.as_str().or_else(|| value["content"].as_str())
            })
    }

    /// The id of a named token.
    pub fn named(&self, name: &str) -> Option<u32> {
        self.named_text(name).and_then(|text| self.id(text))
    }

    /// The beginning-of-sequence token; BERT's `[CLS]`.
    pub fn bos(&self) -> Option<u32> {
        self.named("bos_token").or_else(|| self.named("cls_token"))
    }

    /// The end-of-sequence token; BERT's `[SEP]`.
    pub fn eos(&self) -> Option<u32> {
        self.named("eos_token")
            .or_else(|| self.eos_ids.first().copied())
            .or_else(|| self.named("sep_token"))
    }

    /// The token for what is not in the vocabulary.
    pub fn unk(&self) -> Option<u32> {
        let model = &self.json["model"];
        model["unk_token"]
            .as_str()
            .and_then(|t| self.id(t))
            .or_else(|| self.named("unk_token"))
    }

    /// Every token that ends a text: `eos_token`, and `eos_token_id` of `generation_config.json`, or where that is missing
    /// of `config.json`.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    fn find_eos_ids(&self) -> Result<Vec<u32>> {
        let mut ids: Vec<u32> = self.named("eos_token").into_iter().collect();
        for name in ["generation_config.json", "config.json"] {
            let path = self.dir.join(name);
            let Some(file) = read_json(&path)? else {
                continue;
            };
            let listed = match &file["eos_token_id"] {
                Json::Null => continue,
                Json::Array(list) => list.as_slice(),
                one => std::slice::from_ref(one),
            };
            for id in listed {
                let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                let id = id.ok_or_else(|| {
                    Error::field(
                        path.display().to_string(),
                        "eos_token_id",
                        "expected a token id or a list of them",
                    )
                })?;
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            break;
        }
        Ok(ids)
    }

    /// Whether a prompt begins with the beginning-of-sequence token and ends with the end-of-sequence token, as the
    /// post-processor says.
    pub fn adds(&self) -> Result<(bool, bool)> {
        let mut processors = vec![&self.json["post_processor"]];
        let (mut bos, mut eos) = (false, false);
        while let Some(processor) = processors.pop() {
            match processor["type"].as_str() {
                None if processor.is_null() => {}
                Some("ByteLevel") => {}
                Some("Sequence") => match processor["processors"].as_array() {
                    Some(list) => processors.extend(list),
                    None => {
                        return Err(self.field("post_processor.processors", "expected a list"));
                    }
                },
                Some("BertProcessing" | "RobertaProcessing") => (bos, eos) = (true, true),
                Some("TemplateProcessing") => {
                    let single = processor["single"].as_array();
                    let single = single.map_or(&[] as &[Json], |s| s.as_slice());
                    let text = single.iter().position(|p| p.get("Sequence").is_some());
                    let Some(text) = text.filter(|&t| t <= 1 && single.len() <= t + 2) else {
                        return Err(Error::unsupported(
                            &self.label,
                            "post_processor.single with more than one token before or after the text, in a GGUF file",
                        ));
                    };
                    let named = |at: usize| {
                        single
                            .get(at)
                            .and_then(|p| p["SpecialToken"]["id"].as_str())
                            .and_then(|t| self.id(t))
                    };
                    if text == 1 {
                        if named(0) != self.bos() {
                            return Err(self.field(
                                "post_processor.single[0]",
                                "is not the beginning-of-sequence token",
                            ));
                        }
                        bos = true;
                    }
                    if single.len() == text + 2 {
                        if named(text + 1) != self.eos() {
                            return Err(self.field(
                                &format!("post_processor.single[{}]", text + 1),
                                "is not the end-of-sequence token",
                            ));
                        }
                        eos = true;
                    }
                }
                other => {
                    return Err(Error::unsupported(
                        &self.label,
                        format!("post_processor.type {other:?} in a GGUF file"),
                    ));
                }
            }
        }
        Ok((bos, eos))
    }

    /// The chat templates: `chat_template.jinja`, `chat_template.json`, or `chat_template` of `tokenizer_config.json`, in
    /// this order; beside the first, those of `additional_chat_templates/`.
    pub fn chat_templates(&self) -> Result<ChatTemplates> {
        chat_templates(&self.dir)
    }
}

/// The chat templates of a folder, also where it has no `tokenizer.json`.
pub fn chat_templates(dir: &Path) -> Result<ChatTemplates> {
    let mut templates = ChatTemplates::default();
    let jinja = dir.join("chat_template.jinja");
    if let Some(source) = read_text(&jinja)? {
        templates.default = Some(source);
        let more = dir.join("additional_chat_templates");
        if let Ok(entries) = std::fs::read_dir(&more) {
            for entry in entries {
                let path = entry.map_err(|e| Error::io(&more, e))?.path();
                let stem = path.file_stem().and_then(|s| s.to_str());
                if let (Some(name), Some("jinja")) =
                    (stem, path.extension().and_then(|e| e.to_str()))
                    && let Some(source) = read_text(&path)?
                {
                    templates.named.push((name.to_owned(), source));
                }
            }
            templates.named.sort();
        }
        return Ok(templates);
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let path = dir.join(name);
        let Some(file) = read_json(&path)? else {
            continue;
        };
        let label = path.display().to_string();
        match &file["chat_template"] {
            Json::Null => continue,
            Json::String(source) => templates.default = Some(source.clone()),
            Json::Array(list) => {
                for (i, entry) in list.iter().enumerate() {
                    let (Some(name), Some(source)) =
                        (entry["name"].as_str(), entry["template"].as_str())
                    else {
                        return Err(Error::field(
                            label,
                            format!("chat_template[{i}]"),
                            "expected a name and a template",
                        ));
                    };
                    if name == "default" {
                        templates.default = Some(source.to_owned());
                    } else {
                        templates.named.push((name.to_owned(), source.to_owned()));
                    }
                }
            }
            _ => {
                return Err(Error::field(
                    label,
                    "chat_template",
                    "expected a template or a list of them",
                ));
            }
        }
        return Ok(templates);
    }
    Ok(templates)
}

/// A file's text; `None` where there is no such file.
fn read_text(path: &Path) -> Result<Option<String>> {
    let bytes = match read_small(path, MAX_FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    let text = String::from_utf8(bytes);
    text.map(Some)
        .map_err(|e| Error::field(path.display().to_string(), "text", e.to_string()))
}

/// A parsed JSON file; `None` where there is no such file.
fn read_json(path: &Path) -> Result<Option<Json>> {
    let Some(text) = read_text(path)? else {
        return Ok(None);
    };
    serde_json::from_str(&text).map(Some).map_err(|e| {
        Error::field(
            path.display().to_string(),
            format!("line {} column {}", e.line(), e.column()),
            e.to_string(),
        )
    })
}
