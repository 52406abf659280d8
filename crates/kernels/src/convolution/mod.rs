//! Convolutions in f32 over images whose channels lie side by side, and products of rows with a matrix, which are convolutions
//! with a window of one; a matrix that is computed itself is packed when it is there.
//!
//! Images are `[N, height, width, channels]`. Nothing is rearranged: for each position of the window a tile of pixels has the
//! places of the rows of channels that it sees there, or of a row of zeros, and six pixels at a time are multiplied with 16
//! outputs' weights, which lie packed in that order. Images of few channels are gathered first, or the way to their rows would
//! take longer than the product.
//!
//! An output is one sum over the window's positions and, at each, the channels, in their order: the same whatever else is
//! computed beside it.

mod depthwise;
mod products;
#[cfg(test)]
mod tests;
mod tile;

pub use depthwise::Depthwise;
pub use products::{Along, Products, products, products_of_products};

use std::cell::Cell;

use crate::memory::Buffer;
use crate::pool::SharedMut;
use crate::simd::{self, LANES, Simd, math};
use crate::{KernelError, Pool, Tier, cpu_tier, scratch};
use tile::{Block, NOWHERE, Weights};

/// Pixels of a block: what they see is to stay in the second-level cache while all weights pass.
const BLOCK_PIXELS: usize = 96;
/// Tasks for each thread, so that the threads even out.
const TASKS_PER_THREAD: usize = 8;
/// Products that are not worth waking other threads for.
const SHORT: usize = 1 << 20;
/// Channels below which what a pixel sees is gathered.
const FEW_CHANNELS: usize = 8;

thread_local! {
    /// What a thread's tasks write places to, one after the other.
    static PLACES: Cell<Vec<usize>> = const { Cell::new(Vec::new()) };
}

/// How a window passes over an image, in rows and columns. What it sees beyond the image is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The image's size.
    pub input: [usize; 2],
    /// The size of what comes out.
    pub output: [usize; 2],
    /// The window's size.
    pub kernel: [usize; 2],
    /// The steps between its places.
    pub stride: [usize; 2],
    /// The steps between the pixels that it sees.
    pub dilation: [usize; 2],
    /// How far before the image its first place begins.
    pub padding: [usize; 2],
}

impl Window {
    /// A window of one pixel over `rows` of them.
    pub fn rows(rows: usize) -> Window {
        Window {
            input: [rows, 1],
            output: [rows, 1],
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            padding: [0, 0],
        }
    }

    fn positions(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// What is seen along a dimension from an output's place at one of the window's positions.
    #[inline(always)]
    fn seen(&self, dim: usize, output: usize, position: usize) -> Option<usize> {
        let at = output
            .saturating_mul(self.stride[dim])
            .saturating_add(position.saturating_mul(self.dilation[dim]));
        at.checked_sub(self.padding[dim])
            .filter(|at| *at < self.input[dim])
    }
}

/// What becomes of a sum at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// Nothing.
    None,
    /// It is brought between two bounds; what is not a number stays so.
    Clamp(f32, f32),
    /// As [`crate::gelu`].
    Gelu,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `x` times `x / 6 + 1 / 2` brought between 0 and 1.
    HardSwish,
}

impl Activation {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        match self {
            Activation::None => x,
            Activation::Clamp(low, high) => s.min(s.splat(high), s.max(s.splat(low), x)),
            Activation::Gelu => crate::activation::gelu_of(s, x),
            Activation::Silu => s.mul(x, math::sigmoid(s, x)),
            Activation::HardSwish => {
                let gate = s.fma(x, s.splat(1.0 / 6.0), s.splat(0.5));
                s.mul(x, s.min(s.splat(1.0), s.max(s.splat(0.0), gate)))
            }
        }
    }
}

/// The sizes of a convolution's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Filters {
    /// Parts into which inputs and outputs fall, each with weights of its own.
    pub groups: usize,
    /// Output channels of a group.
    pub outputs: usize,
    /// Positions of the window.
    pub positions: usize,
    /// Input channels of a group.
    pub inputs: usize,
}

impl Filters {
    /// Runs of 16 outputs of a group, the last padded.
    fn panels(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Products of an output.
    fn terms(&self) -> usize {
        self.positions * self.inputs
    }
}

/// A convolution's weights, packed, and what is added to each output channel.
pub struct Convolution {
    filters: Filters,
    /// `[groups, panels, positions, inputs, 16]`, zeros where there is no output.
    weights: Buffer<f32>,
    /// `[groups, panels, 16]`.
    bias: Vec<f32>,
    /// What is seen where there is no pixel.
    zeros: Vec<f32>,
}

impl Convolution {
    /// Packs `weights`, `[groups, outputs, positions, inputs]`, with a bias for each output channel of all groups.
    ///
    /// # Errors
    /// A size is 0, or there is no memory.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn new(
        filters: Filters,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Convolution, KernelError> {
        let Filters {
            groups,
            outputs,
            positions,
            inputs,
        } = filters;
        let what = || format!("weights of {groups} x {outputs} x {positions} x {inputs}");
        if groups == 0 || outputs == 0 || positions == 0 || inputs == 0 {
            return Err(KernelError::Empty { what: what() });
        }
        let len = [outputs, positions, inputs]
            .iter()
            .try_fold(groups, |n, size| n.checked_mul(*size));
        let channels = groups.checked_mul(outputs);
        assert!(len == Some(weights.len()), "convolution: wrong weights");
        assert!(
            bias.is_none_or(|bias| Some(bias.len()) == channels),
            "convolution: wrong bias"
        );
        let (panels, terms) = (filters.panels(), filters.terms());
        let packed = (groups * panels)
            .checked_mul(terms)
            .and_then(|n| n.checked_mul(LANES))
            .ok_or_else(|| KernelError::TooLarge { what: what() })?;
        let mut packed = Buffer::zeroed(packed).ok_or_else(|| KernelError::OutOfMemory {
            what: what(),
            bytes: packed.saturating_mul(4),
        })?;
        let mut padded_bias = vec![0.0; groups * panels * LANES];
        for channel in 0..groups * outputs {
            let (group, output) = (channel / outputs, channel % outputs);
            let (panel, lane) = (group * panels + output / LANES, output % LANES);
            let out = packed[panel * terms * LANES..][..terms * LANES]
                .as_chunks_mut::<LANES>()
                .0;
            for (out, weight) in out.iter_mut().zip(&weights[channel * terms..][..terms]) {
                out[lane] = *weight;
            }
            if let Some(bias) = bias {
                padded_bias[panel * LANES + lane] = bias[channel];
            }
        }
        Ok(Convolution {
            filters,
            weights: packed,
            bias: padded_bias,
            zeros: vec![0.0; groups * inputs],
        })
    }

    /// The sizes of its weights.
    pub fn filters(&self) -> Filters {
        self.filters
    }

    /// The bytes that the weights take in memory.
    pub fn memory_bytes(&self) -> usize {
        4 * (self.weights.len() + self.bias.len())
    }

    /// Convolves images, of `groups * inputs` channels. `out` (`[count, output, groups * outputs]`) is overwritten.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn run(&self, pool: &Pool, images: &Images, out: &mut [f32]) {
        self.run_on(cpu_tier(), pool, images, out);
    }

    fn run_on(&self, tier: Tier, pool: &Pool, images: &Images, out: &mut [f32]) {
        let Filters {
            groups,
            outputs,
            positions,
            inputs,
        } = self.filters;
        assert_eq!(
            images.window.positions(),
            positions,
            "convolution: wrong window"
        );
        images.check(groups * inputs, groups * outputs, out);
        if out.is_empty() {
            return;
        }
        let pixels = images.count * images.window.pixels();
        let panels = groups * self.filters.panels();
        let blocks = pixels.div_ceil(BLOCK_PIXELS);
        let products = pixels * panels * LANES * self.filters.terms();
        let parts = if pool.threads() > 1 && products > SHORT {
            let wanted = TASKS_PER_THREAD * pool.threads();
            wanted.div_ceil(blocks).min(panels)
        } else {
            1
        };
        let is_gathered = positions > 1 && groups == 1 && inputs < FEW_CHANNELS;
        let out = SharedMut::new(out);
        // All blocks of a part before the next part, so that its weights stay in the cache.
        each_task(pool, blocks * parts, products, |task| {
            let (part, block) = (task / blocks, task % blocks);
            let share = |i: usize, of: usize, n: usize| i * n / of;
            let rows = share(block, blocks, pixels)..share(block + 1, blocks, pixels);
            let run = |x: &[f32], places: &[usize], positions, inputs| {
                let block = Block {
                    weights: Weights {
                        filters: self.filters,
                        packed: &self.weights,
                        bias: Some(&self.bias),
                        zeros: &self.zeros,
                    },
                    positions,
                    inputs,
                    x,
                    places,
                    pixels: rows.clone(),
                    panels: share(part, parts, panels)..share(part + 1, parts, panels),
                    add: images.add,
                    activation: images.activation,
                    out: &out,
                    out_first: 0,
                    out_stride: groups * outputs,
                };
                simd::run(tier, block);
            };
            if is_gathered {
                let terms = self.filters.terms();
                scratch::with(rows.len() * terms, |seen| {
                    images.gather(rows.clone(), inputs, seen);
                    let places: [usize; BLOCK_PIXELS] = std::array::from_fn(|i| i * terms);
                    run(seen, &places[..rows.len()], 1, terms);
                });
            } else {
                let mut places = PLACES.take();
                images.places(rows.clone(), groups * inputs, &mut places);
                run(images.x, &places, positions, inputs);
                PLACES.set(places);
            }
        });
    }
}

/// Runs tasks on all threads, or on this one alone where they have few products.
fn each_task(pool: &Pool, tasks: usize, products: usize, run: impl Fn(usize) + Sync) {
    if products > SHORT {
        pool.run(tasks, run);
    } else {
        (0..tasks).for_each(run);
    }
}

/// Images that go through a convolution, and what becomes of its sums.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// How the window passes over each.
    pub window: &'a Window,
    /// How many there are.
    pub count: usize,
    /// `[count, input, channels]`.
    pub x: &'a [f32],
    /// Added to the sums, of the output's shape.
    pub add: Option<&'a [f32]>,
    /// Comes last.
    pub activation: Activation,
}

impl Images<'_> {
    fn check(&self, inputs: usize, outputs: usize, out: &[f32]) {
        let volume = |[rows, columns]: [usize; 2], channels: usize| {
            let sizes = [rows, columns, channels];
            sizes
                .iter()
                .try_fold(self.count, |n, size| n.checked_mul(*size))
        };
        let window = self.window;
        assert!(
            volume(window.input, inputs) == Some(self.x.len()),
            "convolution: wrong input length"
        );
        assert!(
            volume(window.output, outputs) == Some(out.len()),
            "convolution: wrong output length"
        );
        assert!(
            self.add.is_none_or(|add| add.len() == out.len()),
            "convolution: what is added has another length"
        );
    }

    /// For each of the output's pixels, its image and place.
    fn each(&self, pixels: std::ops::Range<usize>) -> impl Iterator<Item = (usize, usize, usize)> {
        let [height, width] = self.window.output;
        pixels.map(move |i| (i / (height * width), i / width % height, i % width))
    }

    /// Writes where the rows of channels begin that pixels see: tiles of them, and in each the pixels' rows for one of the
    /// window's positions after the other.
    fn places(&self, pixels: std::ops::Range<usize>, channels: usize, places: &mut Vec<usize>) {
        let window = self.window;
        let [height, width] = window.input;
        places.clear();
        for tile in tile::tiles(pixels) {
            for position in 0..window.positions() {
                let (ky, kx) = (position / window.kernel[1], position % window.kernel[1]);
                for (image, y, x) in self.each(tile.clone()) {
                    let seen = window.seen(0, y, ky).zip(window.seen(1, x, kx));
                    places.push(seen.map_or(NOWHERE, |(y, x)| {
                        ((image * height + y) * width + x) * channels
                    }));
                }
            }
        }
    }

    /// Writes what each pixel sees, `[pixels, positions, channels]`.
    fn gather(&self, pixels: std::ops::Range<usize>, channels: usize, out: &mut [f32]) {
        let window = self.window;
        let [height, width] = window.input;
        let [rows, columns] = window.kernel;
        let places = self.each(pixels);
        for ((image, y, x), out) in places.zip(out.chunks_exact_mut(rows * columns * channels)) {
            for (ky, out) in out.chunks_exact_mut(columns * channels).enumerate() {
                let Some(y) = window.seen(0, y, ky) else {
                    out.fill(0.0);
                    continue;
                };
                let row = &self.x[(image * height + y) * width * channels..][..width * channels];
                let first = window.seen(1, x, 0);
                let last = window.seen(1, x, columns - 1);
                if let (1, Some(first), Some(_)) = (window.dilation[1], first, last) {
                    out.copy_from_slice(&row[first * channels..][..columns * channels]);
                    continue;
                }
                for (kx, out) in out.chunks_exact_mut(channels).enumerate() {
                    match window.seen(1, x, kx) {
                        Some(x) => out.copy_from_slice(&row[x * channels..][..channels]),
                        None => out.fill(0.0),
                    }
                }
            }
        }
    }
}
