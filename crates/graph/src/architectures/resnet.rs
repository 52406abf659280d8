//! ResNet: "Deep Residual Learning for Image Recognition", <https://arxiv.org/abs/1512.03385>.
//!
//! transformers: `models/resnet/modeling_resnet.py` of 5.24; torchvision: `models/resnet.py` of 0.29, whose checkpoints have
//! other names, and which timm shares. The stride of a bottleneck is that of its 3x3 convolution, as in torchvision, unless
//! the settings say otherwise.

use serde_json::json;

use super::builder::{Conv, Net, Rows};
use super::{Architecture, image, labels};
use crate::Result;
use hearth_formats::network::RESNET;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    classes: &["ResNetForImageClassification", RESNET],
    build,
};

/// `BatchNorm2d`'s own, which neither library changes.
const EPS: f64 = 1e-5;
/// How many times fewer channels a bottleneck has inside.
const REDUCTION: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 and 1x1, the middle one on fewer channels.
    Bottleneck,
}

/// The sizes, by the names of `ResNetConfig`.
struct Settings {
    num_channels: usize,
    embedding_size: usize,
    hidden_sizes: Vec<usize>,
    depths: Vec<usize>,
    block: Block,
    activation: String,
    downsample_in_first_stage: bool,
    downsample_in_bottleneck: bool,
    labels: usize,
    image_size: Option<[u32; 2]>,
    names: Names,
}

/// What the two libraries call the same layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Transformers,
    Torchvision,
}

impl Names {
    /// The first convolution and its normalization.
    fn stem(self) -> [&'static str; 2] {
        match self {
            Names::Transformers => [
                "resnet.embedder.embedder.convolution",
                "resnet.embedder.embedder.normalization",
            ],
            Names::Torchvision => ["conv1", "bn1"],
        }
    }

    fn block(self, stage: usize, layer: usize) -> String {
        match self {
            Names::Transformers => format!("resnet.encoder.stages.{stage}.layers.{layer}"),
            Names::Torchvision => format!("layer{}.{layer}", stage + 1),
        }
    }

    /// A convolution of a block and its normalization.
    fn conv(self, block: &str, n: usize) -> [String; 2] {
        match self {
            Names::Transformers => [
                format!("{block}.layer.{n}.convolution"),
                format!("{block}.layer.{n}.normalization"),
            ],
            Names::Torchvision => [
                format!("{block}.conv{}", n + 1),
                format!("{block}.bn{}", n + 1),
            ],
        }
    }

    /// Those of the way around a block.
    fn shortcut(self, block: &str) -> [String; 2] {
        match self {
            Names::Transformers => [
                format!("{block}.shortcut.convolution"),
                format!("{block}.shortcut.normalization"),
            ],
            Names::Torchvision => [
                format!("{block}.downsample.0"),
                format!("{block}.downsample.1"),
            ],
        }
    }

    fn classifier(self) -> &'static str {
        match self {
            Names::Transformers => "classifier.1",
            Names::Torchvision => "fc",
        }
    }
}

impl Settings {
    fn read(net: &Net<'_>) -> Result<Settings> {
        match net.checkpoint().class() {
            RESNET => Settings::of_tensors(net),
            _ => Settings::of_config(net),
        }
    }

    fn of_config(net: &Net<'_>) -> Result<Settings> {
        let config = net.config();
        config.only("layer_type", &[json!("basic"), json!("bottleneck")])?;
        let sizes = |key: &str, default: [u32; 4]| -> Result<Vec<usize>> {
            let sizes = config.sizes(key)?.unwrap_or_else(|| default.to_vec());
            Ok(sizes.into_iter().map(|n| n as usize).collect())
        };
        let settings = Settings {
            num_channels: config.size_or("num_channels", 3)? as usize,
            embedding_size: config.size_or("embedding_size", 64)? as usize,
            hidden_sizes: sizes("hidden_sizes", [256, 512, 1024, 2048])?,
            depths: sizes("depths", [3, 4, 6, 3])?,
            block: match config.string("layer_type")? {
                Some("basic") => Block::Basic,
                _ => Block::Bottleneck,
            },
            activation: config.string("hidden_act")?.unwrap_or("relu").to_owned(),
            downsample_in_first_stage: config.bool("downsample_in_first_stage")?.unwrap_or(false),
            downsample_in_bottleneck: config.bool("downsample_in_bottleneck")?.unwrap_or(false),
            labels: labels(config)?,
            image_size: image::preprocessed_size(net)?,
            names: Names::Transformers,
        };
        if settings.depths.len() != settings.hidden_sizes.len() || settings.depths.is_empty() {
            let (depths, sizes) = (settings.depths.len(), settings.hidden_sizes.len());
            let problem = format!("{depths} stages, but hidden_sizes has {sizes}");
            return Err(config.wrong("depths", problem).into());
        }
        Ok(settings)
    }

    /// torchvision's checkpoints have no settings: names and shapes of tensors tell them.
    fn of_tensors(net: &Net<'_>) -> Result<Settings> {
        let config = net.config();
        // What timm's settings may say beyond the name.
        config.only("model_args", &[json!({})])?;
        config.only("global_pool", &[json!("avg")])?;
        let block = match net.has("layer1.0.conv3.weight") {
            true => Block::Bottleneck,
            false => Block::Basic,
        };
        let last = match block {
            Block::Basic => 1,
            Block::Bottleneck => 2,
        };
        let names = Names::Torchvision;
        let (mut hidden_sizes, mut depths) = (Vec::new(), Vec::new());
        for stage in 0..4 {
            let layers = (0..).take_while(|&l| {
                let [conv, _] = names.conv(&names.block(stage, l), 0);
                net.has(&format!("{conv}.weight"))
            });
            depths.push(layers.count());
            let [conv, _] = names.conv(&names.block(stage, 0), last);
            hidden_sizes.push(first(net.shape_of(&format!("{conv}.weight"))?, 0));
        }
        let stem = net.shape_of("conv1.weight")?;
        let timm = config.object("pretrained_cfg")?;
        let input = match &timm {
            Some(timm) => timm.sizes("input_size")?,
            None => None,
        };
        Ok(Settings {
            num_channels: first(stem, 1),
            embedding_size: first(stem, 0),
            hidden_sizes,
            depths,
            block,
            activation: "relu".to_owned(),
            downsample_in_first_stage: false,
            downsample_in_bottleneck: false,
            labels: first(net.shape_of("fc.weight")?, 0),
            // torchvision's own transforms make images of this size for all of its ResNets.
            image_size: match input.as_deref() {
                Some(&[_, height, width]) => Some([height, width]),
                _ => Some([224; 2]),
            },
            names,
        })
    }
}

/// A dimension, 0 where there is none: a shape that is then refused.
fn first(shape: &[usize], at: usize) -> usize {
    shape.get(at).copied().unwrap_or(0)
}

fn build(net: &mut Net<'_>) -> Result<()> {
    net.leave_out(&[".num_batches_tracked"]);
    let s = Settings::read(net)?;
    let x = image::input(net, s.num_channels, s.image_size);
    let stem = Conv {
        channels: s.num_channels,
        filters: s.embedding_size,
        kernel: 7,
        stride: 2,
        padding: 3,
        groups: 1,
        bias: false,
    };
    let x = conv_norm(net, s.names.stem(), &x, stem)?;
    let x = net.activation(s.names.stem()[1], &x, "hidden_act", &s.activation)?;
    let mut x = net.max_pool("maxpool", &x, (3, 2, 1));
    let mut channels = s.embedding_size;
    for (stage, (&size, &depth)) in s.hidden_sizes.iter().zip(&s.depths).enumerate() {
        for layer in 0..depth {
            let stride = match (stage, layer) {
                (0, 0) if !s.downsample_in_first_stage => 1,
                (_, 0) => 2,
                _ => 1,
            };
            x = residual(
                net,
                &s,
                &s.names.block(stage, layer),
                &x,
                (channels, size),
                stride,
            )?;
            channels = size;
        }
    }
    let x = net.mean_of_pixels("pooler", &x)?;
    let x = net.linear(s.names.classifier(), &x, (channels, s.labels), Rows::Single)?;
    image::logits(net, &x, s.labels);
    Ok(())
}

/// A block, `(B, from, H, W)` → `(B, to, H / stride, W / stride)`, and what goes around it.
fn residual(
    net: &mut Net<'_>,
    s: &Settings,
    block: &str,
    x: &str,
    (from, to): (usize, usize),
    stride: usize,
) -> Result<String> {
    let inner = to / REDUCTION;
    let (early, late) = match s.downsample_in_bottleneck {
        true => (stride, 1),
        false => (1, stride),
    };
    let convs = match s.block {
        Block::Basic => vec![(from, to, 3, stride), (to, to, 3, 1)],
        Block::Bottleneck => vec![
            (from, inner, 1, early),
            (inner, inner, 3, late),
            (inner, to, 1, 1),
        ],
    };
    let conv = |(channels, filters, kernel, stride): (usize, usize, usize, usize)| Conv {
        channels,
        filters,
        kernel,
        stride,
        padding: kernel / 2,
        groups: 1,
        bias: false,
    };
    let last = convs.len() - 1;
    let mut y = x.to_owned();
    for (n, sizes) in convs.into_iter().enumerate() {
        let names = s.names.conv(block, n);
        y = conv_norm(net, [&names[0], &names[1]], &y, conv(sizes))?;
        if n < last {
            // Whatever the settings name: `ResNetConvLayer` is not told of them.
            y = net.node(&names[1], "Relu", &[&y], vec![]);
        }
    }
    let around = if from != to || stride != 1 {
        let names = s.names.shortcut(block);
        conv_norm(net, [&names[0], &names[1]], x, conv((from, to, 1, stride)))?
    } else {
        x.to_owned()
    };
    let sum = net.node(block, "Add", &[&y, &around], vec![]);
    net.activation(block, &sum, "hidden_act", &s.activation)
}

fn conv_norm(net: &mut Net<'_>, names: [&str; 2], x: &str, conv: Conv) -> Result<String> {
    let y = net.conv(names[0], x, conv)?;
    net.batch_norm(names[1], &y, conv.filters, EPS)
}
