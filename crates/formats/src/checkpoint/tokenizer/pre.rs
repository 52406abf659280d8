//! The named pre-tokenizers of byte-level BPE vocabularies.
//!
//! A GGUF file carries no regular expressions: `tokenizer.ggml.pre` names one of the known ways of cutting a text into the
//! words that merges then act in. This table gives the expressions for the names; it is also read the other way round,
//! to name the pre-tokenizer of a `tokenizer.json`.

/// How a byte-level BPE vocabulary cuts a text into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreTokenizer {
    /// The name in `tokenizer.ggml.pre`.
    pub name: &'static str,
    /// Other names for the same thing.
    pub aliases: &'static [&'static str],
    /// Regular expressions, applied one after the other: each cuts the pieces of the one before into its matches and what
    /// lies between them.
    pub splits: &'static [&'static str],
    /// Whether texts are brought into Unicode normalization form C first.
    pub nfc: bool,
    /// Whether a word that is in the vocabulary as a whole is one token, whatever the merges would give.
    pub ignore_merges: bool,
    /// Whether prompts begin with the beginning-of-sequence token where the file does not say.
    pub add_bos: bool,
}

/// The expression of GPT-2.
pub const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// GPT-4's expression: contractions in any case, at most three digits.
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The same with single digits.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

/// The letters of the alphabets with upper and lower case, as DeepSeek LLM's expression lists them.
const CASED: &str = r"\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+";

const fn named(name: &'static str, splits: &'static [&'static str]) -> PreTokenizer {
    PreTokenizer {
        name,
        aliases: &[],
        splits,
        nfc: false,
        ignore_merges: false,
        add_bos: false,
    }
}

/// The pre-tokenizers that are known.
///
/// Names and flags are those of llama.cpp's `llama-vocab.cpp`; the expressions are those of the models' own
/// `tokenizer.json`, and where those normalize, so does this.
pub const PRE_TOKENIZERS: &[PreTokenizer] = &[
    PreTokenizer {
        aliases: &["gpt2", "mpt", "olmo", "jais", "phi-2"],
        ..named("gpt-2", &[GPT2])
    },
    PreTokenizer {
        aliases: &["llama3", "llama-v3", "falcon3", "pixtral"],
        ignore_merges: true,
        add_bos: true,
        ..named("llama-bpe", &[CL100K])
    },
    PreTokenizer {
        aliases: &["smaug-bpe"],
        ..named("dbrx", &[CL100K])
    },
    PreTokenizer {
        aliases: &["deepseek-r1-qwen"],
        nfc: true,
        ..named("qwen2", &[QWEN2])
    },
    named("stablelm2", &[QWEN2]),
    PreTokenizer {
        aliases: &["smollm", "refact", "command-r", "codeshell"],
        ..named("starcoder", &[r"\p{N}", GPT2])
    },
    PreTokenizer {
        ignore_merges: true,
        add_bos: true,
        ..named("tekken", &[TEKKEN])
    },
    PreTokenizer {
        aliases: &["llama4"],
        ..named("gpt-4o", &[O200K])
    },
    named(
        "falcon",
        &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"],
    ),
    named(
        "deepseek-llm",
        &[
            r"[\r\n]",
            CASED,
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            r"[一-龥ࠀ-一가-퟿]+",
            r"\p{N}+",
        ],
    ),
    named(
        "deepseek-coder",
        &[
            r"[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            r"[一-龥ࠀ-一가-퟿]+",
            r"\p{N}",
        ],
    ),
    PreTokenizer {
        aliases: &["deepseek-r1"],
        ..named(
            "deepseek-v3",
            &[r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3],
        )
    },
    named("bloom", &[BLOOM]),
    named("viking", &[BLOOM, r"\p{N}"]),
    // What llama.cpp takes where a file names nothing.
    named(
        "default",
        &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
    ),
];

const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// The pre-tokenizer of that name or alias.
pub fn find(name: &str) -> Option<&'static PreTokenizer> {
    PRE_TOKENIZERS
        .iter()
        .find(|p| p.name == name || p.aliases.contains(&name))
}

/// The first pre-tokenizer with these expressions, and with `ignore_merges` as given.
pub fn find_by_splits(splits: &[String], ignore_merges: bool) -> Option<&'static PreTokenizer> {
    let splits: Vec<String> = splits.iter().map(|s| spelled(s)).collect();
    PRE_TOKENIZERS.iter().find(|p| {
        p.ignore_merges == ignore_merges
            && p.splits.len() == splits.len()
            && p.splits.iter().zip(&splits).all(|(a, b)| spelled(a) == *b)
    })
}

/// One spelling for expressions that files write in several ways.
fn spelled(expression: &str) -> String {
    expression
        .replace(
            "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        )
        .replace(r"\p{N}{1}|", r"\p{N}|")
        .replace("\\$\\+<=>\\^~\\|", "$+<=>^~|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let mut seen = std::collections::HashSet::new();
        for p in PRE_TOKENIZERS {
            for name in std::iter::once(&p.name).chain(p.aliases) {
                assert!(seen.insert(*name), "{name} twice");
                assert_eq!(find(name), Some(p));
            }
            let splits: Vec<String> = p.splits.iter().map(|s| s.to_string()).collect();
            let found = find_by_splits(&splits, p.ignore_merges).unwrap();
            assert_eq!(found.splits, p.splits);
        }
        assert_eq!(find("no-such-name"), None);
    }
}
