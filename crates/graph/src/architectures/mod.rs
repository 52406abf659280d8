//! Networks whose architecture is known by name: their ONNX graphs, built from `config.json` and the checkpoint's tensors.
//!
//! One file an architecture, top down as the paper has it. Weights keep the names of the checkpoint and stay ranges of its
//! map. Every tensor has to be there, in the shape that the settings ask for, and none may be left over.

mod attention;
mod bert;
mod builder;
mod convnext;
mod distilbert;
mod image;
mod resnet;
mod roberta;
mod text;
mod vit;

use hearth_formats::{Config, NetworkCheckpoint};

use crate::onnx::Model;
use crate::{Error, Result};
use builder::Net;

/// How networks of some classes are built.
struct Architecture {
    /// The classes, as [`hearth_formats::network::CLASSES`] has them.
    classes: &'static [&'static str],
    /// Adds inputs, nodes and outputs.
    build: fn(&mut Net<'_>) -> Result<()>,
}

const ARCHITECTURES: [&Architecture; 6] = [
    &resnet::ARCHITECTURE,
    &vit::ARCHITECTURE,
    &convnext::ARCHITECTURE,
    &bert::ARCHITECTURE,
    &distilbert::ARCHITECTURE,
    &roberta::ARCHITECTURE,
];

/// Builds the ONNX model of a network.
///
/// # Errors
/// A setting is one that is not known here, or a tensor is missing, left over or of another shape than the settings ask for.
pub fn build(checkpoint: &NetworkCheckpoint) -> Result<Model> {
    let class = checkpoint.class();
    let known = ARCHITECTURES.iter().find(|a| a.classes.contains(&class));
    let architecture = known.ok_or_else(|| Error::Program {
        file: checkpoint.config().label().to_owned(),
        problem: format!("the class {class} has no architecture; this is a bug"),
    })?;
    let mut net = Net::new(checkpoint);
    (architecture.build)(&mut net)?;
    net.finish()
}

/// The number of labels: of `id2label`, or `num_labels`, or the two that transformers has unless told otherwise.
fn labels(config: &Config) -> Result<usize> {
    let named = config
        .get("id2label")
        .and_then(serde_json::Value::as_object);
    let count = match named {
        Some(labels) => labels.len(),
        None => config.u32("num_labels")?.unwrap_or(2) as usize,
    };
    match count {
        0 => Err(config.unsupported("a classifier without labels").into()),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_built_by_one_architecture() {
        for class in hearth_formats::network::CLASSES {
            let builders = ARCHITECTURES.iter().filter(|a| a.classes.contains(&class));
            assert_eq!(builders.count(), 1, "{class}");
        }
        let built: usize = ARCHITECTURES.iter().map(|a| a.classes.len()).sum();
        assert_eq!(built, hearth_formats::network::CLASSES.len());
    }
}
