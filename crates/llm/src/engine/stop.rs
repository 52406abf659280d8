//! Stop texts in a stream.
//!
//! Text that may be the beginning of a stop text is held back until it is decided. The stop text
//! that is complete first ends the stream, the longer one where two end at the same place; as that
//! goes by characters, the answer does not depend on how the text is cut into tokens.

/// Finds the first stop text in a text that arrives in parts.
#[derive(Debug)]
pub(super) struct StopMatcher {
    stops: Vec<String>,
    /// Text that has not been given out.
    held: String,
}

impl StopMatcher {
    /// None of `stops` may be empty.
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops,
            held: String::new(),
        }
    }

    /// Takes more text. Answers the text that is certain to be no part of a stop text, and whether
    /// a stop text is complete; nothing may be pushed after that.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        if self.stops.is_empty() {
            return (text.to_owned(), false);
        }
        // A match can only end in the new text: it would have been found before otherwise.
        let known = self.held.len();
        self.held.push_str(text);
        let found = self.first_match(known);
        if let Some(start) = found {
            self.held.truncate(start);
            return (std::mem::take(&mut self.held), true);
        }
        let undecided = self.undecided();
        let rest = self.held.split_off(self.held.len() - undecided);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// The text that was held back, at the end of a stream without a stop text.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the stop text begins that ends first, after `known`.
    fn first_match(&self, known: usize) -> Option<usize> {
        self.held[known..]
            .char_indices()
            .map(|(i, c)| &self.held[..known + i + c.len_utf8()])
            .find_map(|head| {
                let ending = self.stops.iter().filter(|stop| head.ends_with(*stop));
                ending.map(|stop| head.len() - stop.len()).min()
            })
    }

    /// Length of the longest end of the held text that a stop text begins with.
    fn undecided(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        (from..self.held.len())
            .filter(|&i| self.held.is_char_boundary(i))
            .map(|i| &self.held[i..])
            .find(|tail| self.stops.iter().any(|stop| stop.starts_with(tail)))
            .map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matcher(stops: &[&str]) -> StopMatcher {
        StopMatcher::new(stops.iter().map(|&s| s.to_owned()).collect())
    }

    /// Everything that comes out of `parts`, and whether it was stopped.
    fn run(stops: &[&str], parts: &[&str]) -> (String, bool) {
        let mut matcher = matcher(stops);
        let mut out = String::new();
        for part in parts {
            let (text, stopped) = matcher.push(part);
            out.push_str(&text);
            if stopped {
                return (out, true);
            }
        }
        out.push_str(&matcher.finish());
        (out, false)
    }

    #[test]
    fn what_may_begin_a_stop_text_is_held_back() {
        let mut matcher = matcher(&["\nUser:", "END"]);
        assert_eq!(matcher.push("Hi\nUs"), ("Hi".into(), false));
        assert_eq!(matcher.push("ing E"), ("\nUsing ".into(), false));
        assert_eq!(matcher.push("N"), (String::new(), false));
        assert_eq!(matcher.push("D of it"), (String::new(), true));
    }

    #[test]
    fn held_text_is_given_out_at_the_end() {
        assert_eq!(run(&["abc"], &["xa", "b"]), ("xab".into(), false));
    }

    #[test]
    fn a_false_start_hides_no_true_one() {
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
        assert_eq!(run(&["abac"], &["ab", "ab", "ac"]), ("ab".into(), true));
    }

    #[test]
    fn the_first_complete_stop_text_counts() {
        assert_eq!(run(&["abcd", "c"], &["abcd"]), ("ab".into(), true));
        assert_eq!(run(&["bc", "abc"], &["xabc"]), ("x".into(), true));
    }

    #[test]
    fn characters_of_several_bytes_stay_whole() {
        assert_eq!(run(&["é!"], &["caf", "é", "s"]), ("cafés".into(), false));
        assert_eq!(run(&["語"], &["日本", "語", "x"]), ("日本".into(), true));
        // Same first byte as the stop text's, another character.
        assert_eq!(run(&["é"], &["è"]), ("è".into(), false));
    }

    proptest! {
        /// By definition: the text up to the stop text that ends first.
        #[test]
        fn equals_a_search_in_the_whole_text(
            stops in prop::collection::vec("[abé]{1,4}", 0..3),
            parts in prop::collection::vec("[abé]{0,3}", 0..12),
        ) {
            let whole = parts.concat();
            let expected = (0..=whole.len())
                .filter(|&end| whole.is_char_boundary(end))
                .find_map(|end| {
                    let ending = stops.iter().filter(|s| whole[..end].ends_with(s.as_str()));
                    ending.map(|s| end - s.len()).min()
                });
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let (text, stopped) = run(&stops, &parts);
            prop_assert_eq!(stopped, expected.is_some());
            prop_assert_eq!(text, &whole[..expected.unwrap_or(whole.len())]);
        }

        /// A character is given out as soon as no stop text can begin before its end.
        #[test]
        fn nothing_is_held_back_without_need(
            stops in prop::collection::vec("[ab]{1,4}", 1..3),
            text in "[abc]{0,12}",
        ) {
            let mut matcher = StopMatcher::new(stops.clone());
            let mut out = String::new();
            for (i, c) in text.char_indices() {
                let (more, stopped) = matcher.push(&c.to_string());
                out.push_str(&more);
                if stopped {
                    break;
                }
                let seen = &text[..=i];
                let held = &seen[out.len()..];
                prop_assert!(held.is_empty() || stops.iter().any(|s| s.starts_with(held)));
            }
        }
    }
}
