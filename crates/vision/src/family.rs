//! The image processors of transformers 5, by class: what each does where its file says nothing.

use crate::{Edges, Filter};

const STANDARD: [f64; 3] = [0.5; 3];
pub(crate) const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
pub(crate) const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// How a class makes the size that images are resized to of the one that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enlarging {
    /// It is the size.
    Not,
    /// ConvNeXt: below 384, divided by `crop_pct`, and the middle of the size itself is cut out; from there on, both edges.
    ConvNext,
    /// PoolFormer: divided by `crop_pct`.
    PoolFormer,
    /// LeViT: times 256/224.
    Levit,
}

/// What a class does unless told otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    /// The class without `ImageProcessor`.
    pub name: &'static str,
    pub size: Edges,
    /// A size that is a number is that of both edges, else of the shorter one.
    pub is_square: bool,
    pub filter: Filter,
    pub enlarging: Enlarging,
    pub crop_pct: Option<f64>,
    pub crop: bool,
    pub crop_size: usize,
    pub normalize: bool,
    pub mean: [f64; 3],
    pub std: [f64; 3],
    pub flip: bool,
    /// Whether 1 is taken from rescaled values where `rescale_offset` says so, and values are divided by the standard deviation once
    /// more where `include_top` does, which it does unless told otherwise.
    pub is_efficient_net: bool,
}

const fn both(edge: usize) -> Edges {
    Edges::Both {
        height: edge,
        width: edge,
    }
}

const fn shortest(edge: usize) -> Edges {
    Edges::Shortest {
        edge,
        longest: None,
    }
}

/// A class that resizes both edges to 224 and normalizes.
const PLAIN: Family = Family {
    name: "ViT",
    size: both(224),
    is_square: true,
    filter: Filter::Bilinear,
    enlarging: Enlarging::Not,
    crop_pct: None,
    crop: false,
    crop_size: 224,
    normalize: true,
    mean: STANDARD,
    std: STANDARD,
    flip: false,
    is_efficient_net: false,
};

/// A class that resizes the shorter edge to 224 and cuts out the middle.
const CROPPED: Family = Family {
    name: "CLIP",
    size: shortest(224),
    is_square: false,
    filter: Filter::Bicubic,
    crop: true,
    mean: CLIP_MEAN,
    std: CLIP_STD,
    ..PLAIN
};

const FAMILIES: [Family; 17] = [
    PLAIN,
    CROPPED,
    Family {
        name: "Beit",
        filter: Filter::Bicubic,
        ..PLAIN
    },
    Family {
        name: "Bit",
        ..CROPPED
    },
    Family {
        name: "Blip",
        size: both(384),
        filter: Filter::Bicubic,
        mean: CLIP_MEAN,
        std: CLIP_STD,
        ..PLAIN
    },
    Family {
        name: "ChineseCLIP",
        ..CROPPED
    },
    Family {
        name: "ConvNext",
        size: shortest(384),
        is_square: false,
        filter: Filter::Bicubic,
        enlarging: Enlarging::ConvNext,
        crop_pct: Some(0.875),
        ..PLAIN
    },
    Family {
        name: "DeiT",
        size: both(256),
        filter: Filter::Bicubic,
        crop: true,
        ..PLAIN
    },
    Family {
        name: "EfficientNet",
        size: both(346),
        filter: Filter::Bicubic,
        crop_size: 289,
        is_efficient_net: true,
        ..PLAIN
    },
    Family {
        name: "Levit",
        enlarging: Enlarging::Levit,
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
        ..CROPPED
    },
    Family {
        name: "MobileNetV1",
        size: shortest(256),
        filter: Filter::Bilinear,
        mean: STANDARD,
        std: STANDARD,
        ..CROPPED
    },
    Family {
        name: "MobileNetV2",
        size: shortest(256),
        filter: Filter::Bilinear,
        mean: STANDARD,
        std: STANDARD,
        ..CROPPED
    },
    Family {
        name: "MobileViT",
        crop_size: 256,
        normalize: false,
        flip: true,
        ..CROPPED
    },
    Family {
        name: "PoolFormer",
        enlarging: Enlarging::PoolFormer,
        crop_pct: Some(0.9),
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
        ..CROPPED
    },
    Family {
        name: "Pvt",
        filter: Filter::Bicubic,
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
        ..PLAIN
    },
    Family {
        name: "Segformer",
        size: both(512),
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
        ..PLAIN
    },
    Family {
        name: "Siglip",
        filter: Filter::Bicubic,
        ..PLAIN
    },
];

impl Family {
    /// The family of a class, whatever it is called in which version.
    pub fn of(class: &str) -> Option<&'static Family> {
        let name = class
            .strip_suffix("FeatureExtractor")
            .or_else(|| class.strip_suffix("ImageProcessor"))
            .or_else(|| class.strip_suffix("ImageProcessorFast"))
            .or_else(|| class.strip_suffix("ImageProcessorPil"))?;
        FAMILIES.iter().find(|family| family.name == name)
    }
}
