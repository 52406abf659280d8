//! A rendered chat.

/// The text that a chat template made of a chat, and what of it is the template's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPrompt {
    /// The text, with sentinels in what messages hold of special tokens.
    marked: String,
    /// The sentinel, where there are any.
    sentinel: Option<char>,
}

impl RenderedPrompt {
    pub(super) fn new(marked: String, sentinel: char) -> RenderedPrompt {
        let sentinel = marked.contains(sentinel).then_some(sentinel);
        RenderedPrompt { marked, sentinel }
    }

    /// A prompt in which every special token counts.
    pub fn from_text(text: String) -> RenderedPrompt {
        RenderedPrompt {
            marked: text,
            sentinel: None,
        }
    }

    /// The text, as a reader would see it. Encoding it takes special tokens in messages for special tokens;
    /// [`Tokenizer::encode_rendered`](crate::tokenizer::Tokenizer::encode_rendered) does not.
    pub fn text(&self) -> String {
        match self.sentinel {
            Some(sentinel) => self.marked.replace(sentinel, ""),
            None => self.marked.clone(),
        }
    }

    pub(crate) fn marked(&self) -> &str {
        &self.marked
    }

    pub(crate) fn sentinel(&self) -> Option<char> {
        self.sentinel
    }
}
