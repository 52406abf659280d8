//! Tensors of texts and images, for networks that take such.
//!
//! A text fills the inputs that Hugging Face's models have for it, an image the one input that has the form of one. What
//! is not known about a network is said when somebody sends it a text or an image.

use bytes::Bytes;
use hearth_graph::onnx::ValueInfo;
use hearth_graph::runtime::{HostTensor, Media, join};
use hearth_hub::catalog::NetworkMeaning;

use super::bounds::{Left, MOST_ROWS};
use super::images::ImageInput;
use super::texts::TextInputs;

/// Whether bytes are an image file of a format that is read, by their beginning.
pub fn is_image(file: &[u8]) -> bool {
    hearth_vision::format(file).is_some()
}

/// What makes tensors of texts and images for a network.
#[derive(Debug)]
pub struct Preparers {
    text: Result<TextInputs, String>,
    image: Result<ImageInput, String>,
}

impl Preparers {
    /// What the files beside a network, with these inputs, allow. Where `is_batched`, their first dimension counts samples.
    pub fn new(meaning: &NetworkMeaning, inputs: &[ValueInfo], is_batched: bool) -> Preparers {
        Preparers {
            text: TextInputs::new(meaning, inputs, is_batched),
            image: ImageInput::new(meaning.image.as_ref(), inputs, is_batched),
        }
    }

    /// The inputs that a text fills.
    pub fn text(&self) -> Option<&TextInputs> {
        self.text.as_ref().ok()
    }

    /// The place of the input that an image fills.
    pub fn image(&self) -> Option<usize> {
        self.image.as_ref().ok().map(|image| image.at)
    }

    /// Inputs of a network with the sizes that images have.
    pub fn narrowed(&self, inputs: &[ValueInfo]) -> Vec<ValueInfo> {
        let mut inputs = inputs.to_vec();
        if let Ok(image) = &self.image
            && let Some(input) = inputs.get_mut(image.at)
        {
            image.narrow(input);
        }
        inputs
    }

    /// Whether it takes neither.
    pub fn is_empty(&self) -> bool {
        self.text.is_err() && self.image.is_err()
    }

    /// What is there and can't be used, and why.
    pub fn unused(&self, meaning: &NetworkMeaning) -> Vec<&str> {
        let image = self
            .image
            .as_ref()
            .err()
            .filter(|_| meaning.image.is_some());
        let text = self
            .text
            .as_ref()
            .err()
            .filter(|_| meaning.tokenizer.is_some());
        image.into_iter().chain(text).map(String::as_str).collect()
    }

    /// The tensors for a network with these inputs of columns of texts and images by name, each with as many rows.
    ///
    /// # Errors
    /// A sentence: what is wrong with which.
    pub fn columns(
        &self,
        inputs: &[ValueInfo],
        files: &[(String, Vec<Bytes>)],
        truncation: bool,
    ) -> Result<Vec<(String, HostTensor)>, String> {
        let mut media = self.for_request(truncation);
        let name = |at: usize| {
            inputs
                .get(at)
                .map_or_else(String::new, |input| input.name.clone())
        };
        let is_text = |name: &str| matches!(name, "text" | "text_pair");
        if let Some((column, _)) = { files.iter() }.find(|(_, rows)| rows.len() > MOST_ROWS) {
            return Err(format!(
                "input {column:?} has more than {MOST_ROWS} rows, the most of texts or images"
            ));
        }
        let mut tensors = Vec::new();
        for (column, rows) in { files.iter() }.filter(|(column, _)| !is_text(column)) {
            let Some(at) = self
                .image()
                .filter(|at| column == "image" || *column == name(*at))
            else {
                return Err(format!(
                    "input {column:?} takes no texts or images; {}",
                    media.refusal()
                ));
            };
            let rows = rows.iter().enumerate().map(|(row, file)| {
                let tensor = media.image(file);
                tensor.map_err(|problem| format!("input {column:?}, image {row}: {problem}"))
            });
            let rows: Vec<HostTensor> = rows.collect::<Result<_, _>>()?;
            let has_lead = self.image.as_ref().is_ok_and(|image| image.has_lead);
            let rows: Vec<HostTensor> = match has_lead {
                true => rows,
                false => rows.into_iter().map(HostTensor::into_row).collect(),
            };
            let whole = join(&rows.iter().collect::<Vec<_>>());
            let whole = whole.ok_or_else(|| {
                format!("input {column:?}: the images come to tensors of several shapes")
            })?;
            tensors.push((name(at), whole));
        }
        let column = |wanted: &str| files.iter().find(|(name, _)| name == wanted);
        let (first, second) = match (column("text"), column("text_pair")) {
            (None, None) => return Ok(tensors),
            (None, Some(_)) => {
                return Err(
                    "input \"text_pair\": a second text without a first, which is \"text\"".into(),
                );
            }
            (Some((_, first)), second) => (first, second.map(|(_, rows)| rows)),
        };
        if second.is_some_and(|second| second.len() != first.len()) {
            return Err("inputs \"text\" and \"text_pair\" have different numbers of rows".into());
        }
        let Ok(text) = &self.text else {
            return Err(format!("input \"text\": {}", media.refusal()));
        };
        let read = |file: &Bytes| {
            let text = std::str::from_utf8(file).map(str::to_owned);
            text.map_err(|_| "input \"text\": a text that is no UTF-8".to_owned())
        };
        let rows = first.iter().enumerate().map(|(row, file)| {
            let second = second.map(|second| read(&second[row])).transpose()?;
            let made = media.text(&read(file)?, second.as_deref());
            made.map_err(|problem| format!("input \"text\", text {row}: {problem}"))
        });
        let rows: Vec<Vec<HostTensor>> = rows.collect::<Result<_, _>>()?;
        let lengths = rows.iter().map(|row| TextInputs::length(row));
        let longest = lengths.max().unwrap_or(0);
        let whole = longest.saturating_mul(rows.len());
        let taken = { Left::ALL }.take_tokens(whole);
        taken.map_err(|problem| format!("input \"text\": {problem}"))?;
        for (place, at) in text.places.iter().enumerate() {
            let column: Option<Vec<&HostTensor>> = rows.iter().map(|row| row.get(place)).collect();
            let whole = column.and_then(|column| text.join(place, &column));
            let whole = whole.ok_or("input \"text\": texts of different lengths, and nothing says how they are filled up")?;
            tensors.push((name(*at), whole));
        }
        Ok(tensors)
    }

    /// For one request; texts that are too long are cut where `truncation` says so.
    pub fn for_request(&self, truncation: bool) -> Preparing<'_> {
        Preparing {
            preparers: self,
            truncation,
            left: Left::ALL,
        }
    }
}

/// What makes tensors for one request.
#[derive(Debug)]
pub struct Preparing<'a> {
    preparers: &'a Preparers,
    truncation: bool,
    left: Left,
}

impl Media for Preparing<'_> {
    fn image_input(&self) -> Option<usize> {
        self.preparers.image()
    }

    fn text_inputs(&self) -> &[usize] {
        self.preparers.text().map_or(&[], |text| &text.places)
    }

    fn refusal(&self) -> String {
        let reasons = [
            self.preparers.text.as_ref().err(),
            self.preparers.image.as_ref().err(),
        ];
        let reasons: Vec<&str> = reasons.into_iter().flatten().map(String::as_str).collect();
        reasons.join("; ")
    }

    fn is_image(&self, file: &[u8]) -> bool {
        is_image(file)
    }

    fn image(&mut self, file: &[u8]) -> Result<HostTensor, String> {
        match &self.preparers.image {
            Ok(image) => image.prepare(file, &mut self.left),
            Err(reason) => Err(reason.clone()),
        }
    }

    fn text(&mut self, first: &str, second: Option<&str>) -> Result<Vec<HostTensor>, String> {
        match &self.preparers.text {
            Ok(text) => {
                let made = text.prepare(first, second, self.truncation)?;
                self.left.take_tokens(TextInputs::length(&made))?;
                Ok(made)
            }
            Err(reason) => Err(reason.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use hearth_graph::onnx::{DataType, Dim};

    use super::*;

    #[test]
    fn dimensions_of_any_size_get_that_of_images() {
        let any = || Dim::Symbol("n".into());
        let input = |dims: &[Dim]| {
            vec![ValueInfo {
                name: "pixel_values".into(),
                dtype: DataType::Float,
                dims: dims.to_vec(),
            }]
        };
        let narrowed = |dims: &[Dim], config: &str| {
            let meaning = NetworkMeaning {
                image: serde_json::from_str(config).expect("settings"),
                ..NetworkMeaning::default()
            };
            let inputs = input(dims);
            Preparers::new(&meaning, &inputs, true).narrowed(&inputs)[0]
                .dims
                .clone()
        };
        let first = [any(), Dim::Fixed(3), any(), any()];
        let size = r#"{"size": {"height": 8, "width": 6}}"#;
        let expected = [any(), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(6)];
        assert_eq!(narrowed(&first, size), expected);
        let last = [any(), any(), any(), Dim::Fixed(3)];
        let expected = [any(), Dim::Fixed(8), Dim::Fixed(6), Dim::Fixed(3)];
        assert_eq!(narrowed(&last, size), expected);
        // The other edge follows the image's.
        assert_eq!(narrowed(&first, r#"{"size": {"shortest_edge": 8}}"#), first);
    }
}
