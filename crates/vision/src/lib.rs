//! Images as networks take them.
//!
//! [`decode`] makes pixels of a JPEG, PNG or WebP file, within limits. An [`ImageProcessor`] resizes, crops, rescales and
//! normalizes them as the image processors of Hugging Face's transformers do, whose settings ([`ImageConfig`]) lie beside
//! models as `preprocessor_config.json`, or as timm does ([`TimmConfig`]).

#![forbid(unsafe_code)]

mod config;
mod decode;
mod error;
mod family;
mod image;
mod orientation;
mod processor;
mod resample;
mod timm;

pub use config::{Edges, ImageConfig, Resample};
pub use decode::{Format, MOST_PIXELS, MOST_SIDE, decode, format};
pub use error::ImageError;
pub use image::{Channels, Image};
pub use processor::{ImageProcessor, Pixels, Target};
pub use resample::{Filter, resize};
pub use timm::TimmConfig;
