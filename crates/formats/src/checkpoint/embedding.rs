//! How a sentence-transformers folder turns token states into one vector: `modules.json` and the modules' configs.

use std::path::Path;

use serde_json::Value;

use super::{MAX_SEQ_LENGTH_KEY, NORMALIZE_KEY};
use crate::config::{Config, read_json};
use crate::gguf::Metadata;
use crate::{Error, Result};

/// llama.cpp's numbers for `pooling_type`.
const MEAN: u32 = 1;
const CLS: u32 = 2;
const LAST: u32 = 3;

/// Adds `{arch}.pooling_type`, [`NORMALIZE_KEY`] and [`MAX_SEQ_LENGTH_KEY`] where the folder has `modules.json`.
///
/// # Errors
/// A module is none of Transformer, Pooling and Normalize, or pools in a way that is not supported.
pub(super) fn metadata(dir: &Path, arch: &str, m: &mut Metadata) -> Result<()> {
    let path = dir.join("modules.json");
    if !path.is_file() {
        return Ok(());
    }
    let label = path.display().to_string();
    let Value::Array(modules) = read_json(&path)? else {
        return Err(Error::field(label, "the file", "not a JSON array"));
    };
    let mut normalize = false;
    for module in modules {
        let module = Config::new(label.clone(), module)?;
        let kind = module.string("type")?.unwrap_or_default().to_owned();
        match kind.rsplit('.').next() {
            Some("Transformer") => {}
            Some("Pooling") => {
                let folder = module.string("path")?.unwrap_or_default();
                if folder.contains(['/', '\\']) || folder == ".." {
                    return Err(module.wrong("path", format!("{folder:?} is no folder's name")));
                }
                let config = Config::open(&dir.join(folder).join("config.json"))?;
                m.insert(format!("{arch}.pooling_type"), pooling_type(&config)?);
            }
            Some("Normalize") => normalize = true,
            _ => return Err(module.unsupported(format!("the module {kind:?}"))),
        }
    }
    m.insert(NORMALIZE_KEY, normalize);
    let path = dir.join("sentence_bert_config.json");
    if path.is_file()
        && let Some(limit) = Config::open(&path)?.u32("max_seq_length")?
    {
        m.insert(MAX_SEQ_LENGTH_KEY, limit);
    }
    Ok(())
}

/// The pooling of a module's config, in either form: one flag a mode, or since sentence-transformers 5.4 a name.
fn pooling_type(config: &Config) -> Result<u32> {
    let named = config.string("pooling_mode")?;
    let modes: Vec<&str> = match named {
        Some(mode) => vec![mode],
        None => {
            let mut modes = Vec::new();
            for (flag, mode) in [
                ("pooling_mode_cls_token", "cls"),
                ("pooling_mode_mean_tokens", "mean"),
                ("pooling_mode_lasttoken", "lasttoken"),
                ("pooling_mode_max_tokens", "max"),
                ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
                ("pooling_mode_weightedmean_tokens", "weightedmean"),
            ] {
                if config.bool(flag)? == Some(true) {
                    modes.push(mode);
                }
            }
            modes
        }
    };
    match modes[..] {
        ["mean"] => Ok(MEAN),
        ["cls"] => Ok(CLS),
        ["lasttoken"] => Ok(LAST),
        _ => Err(config.unsupported(format!(
            "pooling by {}; supported: mean, cls, lasttoken, one of them",
            if modes.is_empty() {
                "nothing".to_owned()
            } else {
                modes.join(" and ")
            }
        ))),
    }
}
