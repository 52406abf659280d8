//! What a network takes and gives besides tensors, as the files beside it say.

use hearth_graph::onnx::ValueInfo;
use hearth_hub::catalog::{NetworkConfig, NetworkMeaning};
use serde::Serialize;

use super::declared::Declared;
use super::labels::Labels;
use super::media::Preparers;
use super::texts::TextInputs;

/// What a network takes and gives besides tensors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetworkUses {
    /// The input that images fill; `None` where it takes none.
    pub image_input: Option<String>,
    /// Whether it takes texts.
    pub takes_text: bool,
    /// Most tokens of a text, where that is known.
    pub max_tokens: Option<usize>,
    /// The names of a classifier's classes; empty where it is none, or they are not known.
    pub classes: Vec<String>,
    /// Whether it gives a class for each token of a text.
    pub is_per_token: bool,
}

impl NetworkUses {
    /// Those of a network that is not loaded, as the files beside it have them for one of these tensors.
    ///
    /// # Errors
    /// A sentence: what `config` says of the tensors and is not so.
    pub fn of(
        (config, meaning): (&NetworkConfig, &NetworkMeaning),
        inputs: &[ValueInfo],
        outputs: &[ValueInfo],
    ) -> Result<NetworkUses, String> {
        let Declared {
            inputs,
            outputs,
            is_batched,
        } = Declared::check(inputs, outputs, config)?;
        let preparers = Preparers::new(meaning, &inputs, is_batched);
        let labels = meaning.labels.clone();
        let takes_text = preparers.text().is_some();
        let labels = labels.and_then(|said| Labels::new(said, &outputs, takes_text, |_| false));
        Ok(NetworkUses::new(&inputs, &preparers, labels.as_ref()))
    }

    /// `images` and `texts`, as far as it takes them.
    pub fn takes(&self) -> Vec<&'static str> {
        let images = self.image_input.is_some().then_some("images");
        images
            .into_iter()
            .chain(self.takes_text.then_some("texts"))
            .collect()
    }

    pub(super) fn new(
        inputs: &[ValueInfo],
        preparers: &Preparers,
        labels: Option<&Labels>,
    ) -> NetworkUses {
        let image = preparers.image().and_then(|at| inputs.get(at));
        NetworkUses {
            image_input: image.map(|input| input.name.clone()),
            takes_text: preparers.text().is_some(),
            max_tokens: preparers.text().and_then(TextInputs::longest),
            classes: labels.map_or_else(Vec::new, |labels| labels.names().to_vec()),
            is_per_token: labels.is_some_and(Labels::is_per_token),
        }
    }
}
