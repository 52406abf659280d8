//! From a file to pixels.
//!
//! Sizes are looked at before pixels are made, so that a small file of a huge image costs nothing. What is transparent lies
//! on white. JPEG is decoded without libjpeg, so that single values may differ from its by a few levels of 255.

use std::fmt;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image_webp::WebPDecoder;
use png::{BitDepth, ColorType, Limits, Transformations};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::{Channels, Image, ImageError, orientation};

/// Most pixels of an image.
pub const MOST_PIXELS: usize = 1 << 25;
/// Most pixels on a side of an image.
pub const MOST_SIDE: usize = 1 << 14;

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG, baseline and progressive.
    Jpeg,
    /// PNG.
    Png,
    /// WebP, with and without losses.
    Webp,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::Webp => "WebP",
        })
    }
}

/// The format of a file, by its first bytes.
pub fn format(bytes: &[u8]) -> Option<Format> {
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some(Format::Jpeg);
    }
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some(Format::Png);
    }
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    is_webp.then_some(Format::Webp)
}

/// The pixels of a JPEG, PNG or WebP file, turned as its Exif data says.
///
/// # Errors
/// The file is of another format, unsound or cut short, or of an image with more than [`MOST_PIXELS`] or longer than
/// [`MOST_SIDE`].
pub fn decode(bytes: &[u8]) -> Result<Image, ImageError> {
    let format = format(bytes).ok_or(ImageError::Format { bytes: bytes.len() })?;
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Jpeg => jpeg(bytes),
        Format::Png => png(bytes),
        Format::Webp => webp(bytes),
    }));
    // A decoder that trusts its file too much must not end the program.
    let Decoded {
        width,
        height,
        layout,
        pixels,
        orientation,
    } = decoded
        .unwrap_or_else(|_| Err(Failure::Broken("its decoder panicked".into())))
        .map_err(|failure| match failure {
            Failure::TooLarge(width, height) => ImageError::TooLarge { width, height },
            Failure::Broken(problem) => ImageError::Broken { format, problem },
        })?;
    let (channels, pixels) = on_white(layout, pixels);
    let image = Image::new(width, height, channels, pixels);
    let image = image.ok_or_else(|| ImageError::Broken {
        format,
        problem: "its pixels are not as many as it says".into(),
    })?;
    Ok(match orientation {
        Some(orientation) => orientation::upright(image, orientation),
        None => image,
    })
}

struct Decoded {
    width: usize,
    height: usize,
    layout: Layout,
    pixels: Vec<u8>,
    orientation: Option<u8>,
}

/// What decoders give for a pixel, 8 bits each.
enum Layout {
    Gray,
    GrayAlpha,
    Rgb,
    Rgba,
}

enum Failure {
    TooLarge(usize, usize),
    Broken(String),
}

fn broken(error: impl fmt::Display) -> Failure {
    Failure::Broken(error.to_string())
}

fn check_size(width: usize, height: usize) -> Result<(), Failure> {
    let pixels = width.checked_mul(height);
    let fits = pixels.is_some_and(|pixels| pixels <= MOST_PIXELS);
    match fits && width <= MOST_SIDE && height <= MOST_SIDE {
        true => Ok(()),
        false => Err(Failure::TooLarge(width, height)),
    }
}

/// Lays what is transparent on white.
fn on_white(layout: Layout, pixels: Vec<u8>) -> (Channels, Vec<u8>) {
    let over = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    match layout {
        Layout::Gray => (Channels::Gray, pixels),
        Layout::Rgb => (Channels::Rgb, pixels),
        Layout::GrayAlpha => {
            let (pixels, _) = pixels.as_chunks();
            (
                Channels::Gray,
                pixels.iter().map(|&[v, a]| over(v, a)).collect(),
            )
        }
        Layout::Rgba => {
            let (pixels, _) = pixels.as_chunks();
            let pixels = pixels
                .iter()
                .flat_map(|&[r, g, b, a]| [r, g, b].map(|v| over(v, a)));
            (Channels::Rgb, pixels.collect())
        }
    }
}

fn jpeg(bytes: &[u8]) -> Result<Decoded, Failure> {
    check_jpeg_end(bytes)?;
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(broken)?;
    let (width, height) = decoder
        .dimensions()
        .ok_or_else(|| broken("it has no size"))?;
    check_size(width, height)?;
    let is_gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (space, layout) = match is_gray {
        true => (ColorSpace::Luma, Layout::Gray),
        false => (ColorSpace::RGB, Layout::Rgb),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let orientation = decoder.exif().and_then(|exif| orientation::of(exif));
    Ok(Decoded {
        width,
        height,
        layout,
        pixels: decoder.decode().map_err(broken)?,
        orientation,
    })
}

/// Refuses files whose last scan has no end: what is missing would be gray.
fn check_jpeg_end(bytes: &[u8]) -> Result<(), Failure> {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| *pair == [0xff, marker]);
    match (last(0xda), last(0xd9)) {
        (Some(scan), Some(end)) if scan < end => Ok(()),
        _ => Err(broken("it is cut short")),
    }
}

fn png(bytes: &[u8]) -> Result<Decoded, Failure> {
    /// Room for tables and text beside the pixels.
    const BESIDE: usize = 16 << 20;
    let limits = Limits {
        bytes: 4 * MOST_PIXELS + BESIDE,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(broken)?;
    let size = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
    let (width, height) = (size(header.width), size(header.height));
    check_size(width, height)?;
    let mut reader = decoder.read_info().map_err(broken)?;
    let length = reader
        .output_buffer_size()
        .ok_or_else(|| broken("it is too large"))?;
    let mut pixels = vec![0; length];
    let frame = reader.next_frame(&mut pixels).map_err(broken)?;
    if frame.bit_depth != BitDepth::Eight
        || (size(frame.width), size(frame.height)) != (width, height)
    {
        return Err(broken("its pixels are not those of its header"));
    }
    pixels.truncate(frame.buffer_size());
    let layout = match frame.color_type {
        ColorType::Grayscale => Layout::Gray,
        ColorType::GrayscaleAlpha => Layout::GrayAlpha,
        ColorType::Rgb => Layout::Rgb,
        ColorType::Rgba => Layout::Rgba,
        ColorType::Indexed => return Err(broken("its palette is missing")),
    };
    let exif = reader.info().exif_metadata.as_deref();
    Ok(Decoded {
        width,
        height,
        layout,
        pixels,
        orientation: exif.and_then(orientation::of),
    })
}

fn webp(bytes: &[u8]) -> Result<Decoded, Failure> {
    /// Longest Exif data.
    const MOST_BESIDE: usize = 1 << 20;
    for (width, height) in webp_frames(bytes) {
        check_size(width, height)?;
    }
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(broken)?;
    decoder.set_memory_limit(MOST_BESIDE);
    let size = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
    let (width, height) = decoder.dimensions();
    let (width, height) = (size(width), size(height));
    check_size(width, height)?;
    if decoder.is_animated() {
        return Err(broken("it is animated"));
    }
    let length = decoder
        .output_buffer_size()
        .ok_or_else(|| broken("it is too large"))?;
    let mut pixels = vec![0; length];
    decoder.read_image(&mut pixels).map_err(broken)?;
    let layout = match decoder.has_alpha() {
        true => Layout::Rgba,
        false => Layout::Rgb,
    };
    let exif = decoder.exif_metadata().ok().flatten();
    Ok(Decoded {
        width,
        height,
        layout,
        pixels,
        orientation: exif.and_then(|exif| orientation::of(&exif)),
    })
}

/// The sizes that the frames of a file say they have, which need not be that of the file: its decoder makes room for a
/// frame before it compares.
fn webp_frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut sizes = Vec::new();
    let mut at = 12;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let data = &bytes[at + 8..];
        let side = |at: usize| {
            Some(usize::from(
                u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]) & 0x3fff,
            ))
        };
        match &head[..4] {
            b"VP8 " => sizes.extend(side(6).zip(side(8))),
            b"VP8L" => {
                let bits = data
                    .get(1..5)
                    .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                let side = |bits: u32| (bits & 0x3fff) as usize + 1;
                sizes.extend(bits.map(|bits| (side(bits), side(bits >> 14))));
            }
            _ => {}
        }
        // Chunks are padded to even lengths.
        let next = usize::try_from(length)
            .ok()
            .and_then(|n| n.checked_add(8 + n % 2));
        match next.and_then(|next| at.checked_add(next)) {
            Some(next) if next < bytes.len() => at = next,
            _ => break,
        }
    }
    sizes
}
