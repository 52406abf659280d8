//! JSON as Python writes it: numbers may be infinite or no number at all.

use std::borrow::Cow;

/// Puts the bare `NaN`, `Infinity` and `-Infinity` that Python's `json` writes, and JSON does not have, into quotes.
///
/// PyTorch 2.6 and later write them as strings themselves.
pub(super) fn quote_non_finite(json: &[u8]) -> Cow<'_, [u8]> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let mut out: Vec<u8> = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    let mut in_string = false;
    while let Some(&byte) = json.get(at) {
        if in_string {
            match byte {
                b'\\' => at += 1,
                b'"' => in_string = false,
                _ => {}
            }
            at += 1;
        } else if byte == b'"' {
            in_string = true;
            at += 1;
        } else if let Some(word) = WORDS.iter().find(|word| json[at..].starts_with(word)) {
            out.extend_from_slice(&json[copied..at]);
            out.push(b'"');
            out.extend_from_slice(word);
            out.push(b'"');
            at += word.len();
            copied = at;
        } else {
            at += 1;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.extend_from_slice(&json[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_words_are_quoted() {
        let quoted = |s: &'static str| {
            String::from_utf8(quote_non_finite(s.as_bytes()).into_owned()).unwrap()
        };
        assert_eq!(
            quoted(r#"{"a": -Infinity, "NaN": [NaN,Infinity]}"#),
            r#"{"a": "-Infinity", "NaN": ["NaN","Infinity"]}"#
        );
        let plain = r#"{"a\\": "say \"NaN\" -Infinity"}"#;
        assert!(matches!(
            quote_non_finite(plain.as_bytes()),
            Cow::Borrowed(_)
        ));
        assert!(matches!(quote_non_finite(br#""\"#), Cow::Borrowed(_)));
    }
}
