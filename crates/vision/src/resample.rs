//! Resizing as PIL does it.
//!
//! `Image.resize` of Pillow 13, for images of 8 bits: each pixel of the result is a weighted sum of those under a filter that
//! is as wide as the image shrinks (so that nothing is skipped), along rows first, then along columns; along columns first
//! where rows grow and columns shrink. Weights are rounded to 22 bits and sums to 8, in between as well; done alike, the
//! result is the same to the last bit. Nearest neighbours are taken at the centers of pixels.

use crate::Image;

/// How pixels are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The one pixel at the place.
    Nearest,
    /// All alike.
    Box,
    /// A triangle.
    Bilinear,
    /// Hamming's window.
    Hamming,
    /// Cubic convolution with a = -0.5.
    Bicubic,
    /// Lanczos' window of three lobes.
    Lanczos,
}

impl Filter {
    /// How far it reaches, in pixels.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => 0.5,
            Filter::Bilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    /// The weight at a distance from the center.
    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        let sinc = |x: f64| match x == 0.0 {
            true => 1.0,
            false => (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x),
        };
        match self {
            Filter::Nearest => 1.0,
            // Closed on one side, so that a pixel on the border of two counts once.
            Filter::Box if distance > -0.5 && distance <= 0.5 => 1.0,
            Filter::Bilinear if x < 1.0 => 1.0 - x,
            Filter::Hamming if x < 1.0 => {
                sinc(x) * (0.54 + 0.46 * (std::f64::consts::PI * x).cos())
            }
            Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => -0.5 * (((x - 5.0) * x + 8.0) * x - 4.0),
            Filter::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

/// Bits of a weight behind the point.
const BITS: u32 = 22;

/// For each pixel of a line: the first that it is made of, and the weights of those from there.
struct Weights {
    each: Vec<(usize, Vec<i32>)>,
}

impl Weights {
    fn new(from: usize, to: usize, filter: Filter) -> Weights {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let each = (0..to).map(|at| {
            let center = (at as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let weight = |x: usize| filter.weight((x as f64 - center + 0.5) * (1.0 / stretch));
            let weights: Vec<f64> = (first..end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            let rounded = |w: &f64| (w / sum * f64::from(1u32 << BITS)).round() as i32;
            (first, weights.iter().map(rounded).collect())
        });
        Weights {
            each: each.collect(),
        }
    }
}

/// A sum of weighted pixels, rounded to one.
fn rounded(sum: i32) -> u8 {
    (sum.wrapping_add(1 << (BITS - 1)) >> BITS).clamp(0, 255) as u8
}

/// The image at another size; `None` where that is none.
pub fn resize(image: Image, width: usize, height: usize, filter: Filter) -> Option<Image> {
    if width == 0 || height == 0 {
        return None;
    }
    if filter == Filter::Nearest {
        let (across, down) = (
            nearest(image.width(), width),
            nearest(image.height(), height),
        );
        return Some(image.rearranged(width, height, |x, y| (across[x], down[y])));
    }
    let rows = |image: Image| match width == image.width() {
        true => Some(image),
        false => resize_rows(&image, width, filter),
    };
    let columns = |image: Image| match height == image.height() {
        true => Some(image),
        false => resize_columns(&image, height, filter),
    };
    let is_high = width > image.width() && height < image.height();
    match is_high {
        true => rows(columns(image)?),
        false => columns(rows(image)?),
    }
}

fn resize_rows(image: &Image, width: usize, filter: Filter) -> Option<Image> {
    let weights = Weights::new(image.width(), width, filter);
    let pixels = match image.channels().count() {
        1 => shrink_rows::<1>(image, &weights),
        _ => shrink_rows::<3>(image, &weights),
    };
    Image::new(width, image.height(), image.channels(), pixels)
}

fn resize_columns(image: &Image, height: usize, filter: Filter) -> Option<Image> {
    let weights = Weights::new(image.height(), height, filter);
    let line = image.width() * image.channels().count();
    let pixels = shrink_columns(image.pixels(), line, &weights);
    Image::new(image.width(), height, image.channels(), pixels)
}

fn shrink_rows<const C: usize>(image: &Image, weights: &Weights) -> Vec<u8> {
    let mut out = Vec::with_capacity(image.height() * weights.each.len() * C);
    for row in image.pixels().chunks_exact(image.width() * C) {
        let (row, _) = row.as_chunks::<C>();
        for (first, weights) in &weights.each {
            let mut sums = [0i32; C];
            for (pixel, weight) in row[*first..].iter().zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
                }
            }
            out.extend(sums.map(rounded));
        }
    }
    out
}

fn shrink_columns(pixels: &[u8], line: usize, weights: &Weights) -> Vec<u8> {
    let mut out = Vec::with_capacity(weights.each.len() * line);
    let mut sums = vec![0i32; line];
    for (first, weights) in &weights.each {
        sums.fill(0);
        for (row, weight) in pixels.chunks_exact(line).skip(*first).zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
            }
        }
        out.extend(sums.iter().map(|sum| rounded(*sum)));
    }
    out
}

/// The pixel of a line that each of another is.
fn nearest(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f64 / to as f64;
    // Added up, not multiplied, as PIL does: it rounds differently.
    let mut at = scale * 0.5;
    let each = (0..to).map(|_| {
        let here = (at as usize).min(from - 1);
        at += scale;
        here
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Channels;

    #[test]
    fn an_even_image_stays_even() {
        for filter in [
            Filter::Nearest,
            Filter::Box,
            Filter::Bilinear,
            Filter::Hamming,
            Filter::Bicubic,
            Filter::Lanczos,
        ] {
            for value in [0, 7, 255] {
                let image = Image::new(13, 9, Channels::Rgb, vec![value; 13 * 9 * 3]).unwrap();
                for (width, height) in [(1, 1), (5, 9), (13, 4), (40, 31), (13, 9)] {
                    let resized = resize(image.clone(), width, height, filter).unwrap();
                    assert_eq!((resized.width(), resized.height()), (width, height));
                    assert!(
                        resized.pixels().iter().all(|v| *v == value),
                        "{filter:?} {value}"
                    );
                }
                assert_eq!(resize(image.clone(), 0, 1, filter), None);
            }
        }
    }
}
