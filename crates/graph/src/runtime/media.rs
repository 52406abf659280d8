//! Inputs that are no numbers: texts and images, of which somebody else makes tensors.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::HostTensor;

/// Makes tensors of texts and images for one request.
pub trait Media {
    /// The input that an image fills, by its place; `None` where the network takes no images.
    fn image_input(&self) -> Option<usize>;

    /// The inputs that a text fills; none where the network takes no texts.
    fn text_inputs(&self) -> &[usize];

    /// Why the network takes no texts, or no images, as far as it does not; the end of a sentence.
    fn refusal(&self) -> String;

    /// Whether bytes are an image file, by their beginning.
    fn is_image(&self, file: &[u8]) -> bool;

    /// The tensor of an image file, for one sample.
    ///
    /// # Errors
    /// A sentence: what is wrong with the image.
    fn image(&mut self, file: &[u8]) -> Result<HostTensor, String>;

    /// The tensors of a text, or of two that are judged together, for one sample: one for each of [`Media::text_inputs`].
    ///
    /// # Errors
    /// A sentence: what is wrong with the text.
    fn text(&mut self, first: &str, second: Option<&str>) -> Result<Vec<HostTensor>, String>;
}

/// Neither texts nor images.
#[derive(Debug, Clone, Copy)]
pub struct NumbersOnly;

impl Media for NumbersOnly {
    fn image_input(&self) -> Option<usize> {
        None
    }

    fn text_inputs(&self) -> &[usize] {
        &[]
    }

    fn refusal(&self) -> String {
        "it takes numbers only".into()
    }

    fn is_image(&self, _file: &[u8]) -> bool {
        false
    }

    fn image(&mut self, _file: &[u8]) -> Result<HostTensor, String> {
        Err(self.refusal())
    }

    fn text(&mut self, _first: &str, _second: Option<&str>) -> Result<Vec<HostTensor>, String> {
        Err(self.refusal())
    }
}

/// The bytes of an image that a JSON text holds: in base64 of either alphabet, alone or as a data URL.
///
/// # Errors
/// A sentence: it is none, or an address to fetch the image from, which is not done.
pub fn image_bytes(text: &str) -> Result<Vec<u8>, String> {
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.trim();
    let base64 = match text.split_once(':') {
        Some(("data", rest)) => match rest.split_once(";base64,") {
            Some((_, base64)) => base64,
            None => return Err("a data URL without base64".into()),
        },
        Some(("http" | "https", _)) => {
            return Err("an address; images are sent, in base64, and not fetched".into());
        }
        _ => text,
    };
    let whole: String;
    let base64 = match base64.contains(|c: char| c.is_ascii_whitespace()) {
        true => {
            whole = base64.split_ascii_whitespace().collect();
            &whole
        }
        false => base64,
    };
    let alphabet = match base64.contains(['-', '_']) {
        true => URL_SAFE,
        false => STANDARD,
    };
    let bytes = GeneralPurpose::new(&alphabet, lenient).decode(base64);
    bytes.map_err(|error| format!("expected an image in base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_base64_in_many_forms() {
        for text in [
            "++//aGk=",
            "--__aGk",
            " ++//\naGk= ",
            "data:image/png;base64,++//aGk=",
            "data:;base64,--__aGk=",
        ] {
            assert_eq!(image_bytes(text), Ok(b"\xfb\xef\xffhi".to_vec()), "{text}");
        }
        for (text, words) in [
            ("data:image/png,x", "without base64"),
            ("https://example.com/cat.png", "not fetched"),
            ("a photo of a cat!", "expected an image in base64"),
        ] {
            assert!(image_bytes(text).unwrap_err().contains(words), "{text}");
        }
    }
}
