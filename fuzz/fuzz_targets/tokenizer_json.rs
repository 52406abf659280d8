//! Any bytes as `tokenizer.json`: an error, or a tokenizer that takes any text and gives it back in whole characters.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use hearth_llm::tokenizer::{Special, Tokenizer};
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("fuzz-tokenizer-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the file");
    folder
});

const TEXT: &str =
    "Hello, wörld! 12345 \u{1f469}\u{200d}\u{1f680} <s> [CLS] def f(x):\n\treturn x  # 你好";

// Panics of the `tokenizers` crate are caught and become errors; without this, libFuzzer ends at each.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| {
    std::fs::write(FOLDER.join("tokenizer.json"), data).expect("the file is written");
    let Ok(tokenizer) = Tokenizer::from_folder(&FOLDER) else {
        return;
    };
    for special in [Special::Text, Special::Parse] {
        let Ok(tokens) = tokenizer.encode(TEXT, special) else {
            continue;
        };
        let mut stream = tokenizer.stream();
        for &token in &tokens {
            stream.push(token);
        }
        stream.finish();
        tokenizer.decode(&tokens, false);
    }
});
