//! Convolutions of each channel with a window of its own.

use super::{Images, each_task};
use crate::memory::Buffer;
use crate::pool::SharedMut;
use crate::simd::{self, Kernel, LANES, Simd, load_part, store_part};
use crate::{KernelError, Pool, Tier, cpu_tier};

/// Channels that are summed at once.
const WHOLE: usize = 4 * LANES;

/// A window for each channel.
pub struct Depthwise {
    channels: usize,
    positions: usize,
    /// `[positions, channels]`, a row padded to whole vectors.
    weights: Buffer<f32>,
    /// Padded as a row.
    bias: Vec<f32>,
}

impl Depthwise {
    /// Packs `weights`, `[channels, positions]`, with a bias for each channel.
    ///
    /// # Errors
    /// A size is 0, or there is no memory.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn new(
        channels: usize,
        positions: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Depthwise, KernelError> {
        let what = || format!("weights of {channels} x {positions}");
        if channels == 0 || positions == 0 {
            return Err(KernelError::Empty { what: what() });
        }
        assert!(
            channels.checked_mul(positions) == Some(weights.len()),
            "depthwise: wrong weights"
        );
        assert!(
            bias.is_none_or(|bias| bias.len() == channels),
            "depthwise: wrong bias"
        );
        let padded = channels.next_multiple_of(LANES);
        let len = padded
            .checked_mul(positions)
            .ok_or_else(|| KernelError::TooLarge { what: what() })?;
        let mut packed = Buffer::zeroed(len).ok_or_else(|| KernelError::OutOfMemory {
            what: what(),
            bytes: len.saturating_mul(4),
        })?;
        for (position, out) in packed.chunks_exact_mut(padded).enumerate() {
            for (out, weights) in out.iter_mut().zip(weights.chunks_exact(positions)) {
                *out = weights[position];
            }
        }
        let mut padded_bias = vec![0.0; padded];
        if let Some(bias) = bias {
            padded_bias[..channels].copy_from_slice(bias);
        }
        Ok(Depthwise {
            channels,
            positions,
            weights: packed,
            bias: padded_bias,
        })
    }

    /// The bytes that the weights take in memory.
    pub fn memory_bytes(&self) -> usize {
        4 * (self.weights.len() + self.bias.len())
    }

    /// Convolves images; as [`super::Convolution::run`].
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn run(&self, pool: &Pool, images: &Images, out: &mut [f32]) {
        self.run_on(cpu_tier(), pool, images, out);
    }

    pub(super) fn run_on(&self, tier: Tier, pool: &Pool, images: &Images, out: &mut [f32]) {
        let window = images.window;
        assert_eq!(
            window.positions(),
            self.positions,
            "depthwise: wrong window"
        );
        images.check(self.channels, self.channels, out);
        if out.is_empty() {
            return;
        }
        let out = SharedMut::new(out);
        let rows = images.count * window.output[0];
        let products = rows * window.output[1] * self.channels * self.positions;
        each_task(pool, rows, products, |row| {
            let (image, y) = (row / window.output[0], row % window.output[0]);
            let len = window.output[1] * self.channels;
            // SAFETY: each task has a row of its own.
            let out = unsafe { out.range(row * len, len) };
            simd::run(
                tier,
                Row {
                    depthwise: self,
                    images,
                    image,
                    y,
                    out,
                },
            );
        });
    }
}

/// A row of an output image.
struct Row<'a> {
    depthwise: &'a Depthwise,
    images: &'a Images<'a>,
    image: usize,
    y: usize,
    out: &'a mut [f32],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Depthwise {
            channels,
            positions,
            bias,
            ..
        } = self.depthwise;
        let (window, channels, padded) = (self.images.window, *channels, bias.len());
        let mut seen = Vec::with_capacity(*positions);
        for pixel in 0..window.output[1] {
            // Where the channels begin that the pixel sees, and where their weights do.
            seen.clear();
            for ky in 0..window.kernel[0] {
                let Some(y) = window.seen(0, self.y, ky) else {
                    continue;
                };
                let row = (self.image * window.input[0] + y) * window.input[1];
                for kx in 0..window.kernel[1] {
                    if let Some(x) = window.seen(1, pixel, kx) {
                        let position = ky * window.kernel[1] + kx;
                        seen.push(((row + x) * channels, position * padded));
                    }
                }
            }
            let mut channel = 0;
            while channel < channels {
                channel += match channels - channel {
                    WHOLE.. => self.vectors::<S, { WHOLE / LANES }>(s, &seen, pixel, channel),
                    LANES.. => self.vectors::<S, 1>(s, &seen, pixel, channel),
                    _ => self.rest(s, &seen, pixel, channel),
                };
            }
        }
    }
}

impl Row<'_> {
    /// Writes `N` times 16 channels of a pixel; returns how many.
    #[inline(always)]
    fn vectors<S: Simd, const N: usize>(
        &mut self,
        s: S,
        seen: &[(usize, usize)],
        pixel: usize,
        channel: usize,
    ) -> usize {
        let mut acc = [s.splat(0.0); N];
        for &(x, weights) in seen {
            let x = self.images.x[x + channel..][..N * LANES]
                .as_chunks::<LANES>()
                .0;
            let weights = &self.depthwise.weights[weights + channel..][..N * LANES];
            let weights = weights.as_chunks::<LANES>().0;
            for (acc, (x, w)) in acc.iter_mut().zip(x.iter().zip(weights)) {
                *acc = s.fma(s.load(x), s.load(w), *acc);
            }
        }
        // By way of memory: sums that a loop looks at would be kept there all along.
        let mut sums = [[0.0; LANES]; N];
        for (sum, acc) in sums.iter_mut().zip(&acc) {
            s.store(*acc, sum);
        }
        for (i, sum) in sums.iter().enumerate() {
            self.finish(s, s.load(sum), pixel, channel + i * LANES, LANES);
        }
        N * LANES
    }

    /// Writes the last channels of a pixel, fewer than 16; returns how many.
    #[inline(always)]
    fn rest<S: Simd>(
        &mut self,
        s: S,
        seen: &[(usize, usize)],
        pixel: usize,
        channel: usize,
    ) -> usize {
        let count = self.depthwise.channels - channel;
        let mut acc = s.splat(0.0);
        for &(x, weights) in seen {
            let x = load_part(s, &self.images.x[x + channel..][..count], 0.0);
            let w = load_part(
                s,
                &self.depthwise.weights[weights + channel..][..LANES],
                0.0,
            );
            acc = s.fma(x, w, acc);
        }
        self.finish(s, acc, pixel, channel, count);
        count
    }

    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, sum: S::F, pixel: usize, channel: usize, count: usize) {
        let Depthwise { channels, bias, .. } = self.depthwise;
        let (window, at) = (self.images.window, pixel * channels + channel);
        let mut sum = s.add(sum, load_part(s, &bias[channel..][..LANES], 0.0));
        if let Some(add) = self.images.add {
            let row = (self.image * window.output[0] + self.y) * window.output[1] * channels;
            sum = s.add(sum, load_part(s, &add[row + at..][..count], 0.0));
        }
        let sum = self.images.activation.apply(s, sum);
        store_part(s, sum, &mut self.out[at..][..count]);
    }
}
