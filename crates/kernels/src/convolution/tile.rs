//! A block of a convolution: some pixels with some outputs, a tile of them at a time.

use std::ops::Range;

use super::{Activation, BLOCK_PIXELS, Filters};
use crate::pool::SharedMut;
use crate::simd::{Kernel, LANES, Simd, load_part, store_part};

/// Pixels of a tile at most: six sums of 16 lanes, with the weights and a pixel's value, are what the narrowest processors'
/// registers hold.
const PIXELS: usize = 6;

/// Panels that are computed together at most.
const PANELS: usize = 4;
/// Products of a run at most, and those of all panels together: 32 KiB of weights.
const RUN: usize = 256;
const RUNS: usize = 512;

/// The place of a row of zeros.
pub(super) const NOWHERE: usize = usize::MAX;

/// Cuts pixels into tiles of about the same size.
pub(super) fn tiles(pixels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (first, n) = (pixels.start, pixels.len());
    let count = n.div_ceil(PIXELS);
    (0..count).map(move |i| first + i * n / count..first + (i + 1) * n / count)
}

/// Packed weights.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub filters: Filters,
    /// `[groups, panels, positions, inputs, 16]`.
    pub packed: &'a [f32],
    /// `[groups, panels, 16]`.
    pub bias: Option<&'a [f32]>,
    /// What is seen where there is no pixel; empty where there always is one.
    pub zeros: &'a [f32],
}

pub(super) struct Block<'a> {
    pub weights: Weights<'a>,
    /// The rows of channels that a pixel sees, and their lengths within a group.
    pub positions: usize,
    pub inputs: usize,
    pub x: &'a [f32],
    /// For each tile and position, the places in `x` of its pixels' rows.
    pub places: &'a [usize],
    pub pixels: Range<usize>,
    /// Of all groups.
    pub panels: Range<usize>,
    pub add: Option<&'a [f32]>,
    pub activation: Activation,
    pub out: &'a SharedMut<f32>,
    /// Where the first pixel's outputs begin, and how far those of the next are from there.
    pub out_first: usize,
    pub out_stride: usize,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let filters = self.weights.filters;
        let (groups, of_group) = (filters.groups, filters.panels());
        assert!(self.panels.end <= groups * of_group);
        assert!(self.weights.packed.len() == groups * of_group * filters.terms() * LANES);
        assert!(self.places.len() == self.pixels.len() * self.positions);
        assert!(self.positions * self.inputs == filters.terms());
        let channels = groups * self.inputs;
        for place in self.places {
            assert!(
                *place == NOWHERE || (*place <= self.x.len() && channels <= self.x.len() - *place)
            );
        }
        assert!(self.weights.zeros.len() >= channels || !self.places.contains(&NOWHERE));
        assert!(self.pixels.len() <= BLOCK_PIXELS);
        let mut sums = [[0.0; LANES]; BLOCK_PIXELS * PANELS];
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            // Panels of one group.
            let left = (self.panels.end - panel).min(of_group - panel % of_group);
            // Few pixels take several panels, or each sum would wait for the one before.
            let together = match (self.pixels.len(), left) {
                (1, 4..) => 4,
                (_, 4..) if S::WIDE => 4,
                (2, 3..) => 3,
                (3, 2..) => 2,
                _ => 1,
            };
            let sums = &mut sums[..self.pixels.len() * together];
            sums.fill([0.0; LANES]);
            let mut runs = self.runs(together).peekable();
            while let Some(run) = runs.next() {
                // The weights of the next run, or those of the next panels.
                let next = match runs.peek() {
                    Some(next) => panel * filters.terms() + next.first(self.inputs),
                    None => (panel + together) * filters.terms(),
                };
                let next = self.weights.packed.as_ptr().wrapping_add(next * LANES);
                let count = self.pixels.len().div_ceil(PIXELS);
                for (i, tile) in tiles(self.pixels.clone()).enumerate() {
                    let lines = run.positions.len() * run.channels.len();
                    let ahead = Ahead {
                        line: next.wrapping_add(i * lines / count * LANES),
                        steps: count,
                    };
                    let at = tile.start - self.pixels.start;
                    let places = &self.places[at * self.positions..];
                    let places = &places[run.positions.start * tile.len()..];
                    let places = &places[..run.positions.len() * tile.len()];
                    let sums = &mut sums[at * together..][..tile.len() * together];
                    macro_rules! tile {
                        ($(($pixels:literal, $panels:literal, $is_there:expr))*) => {
                            match (tile.len(), together) {
                                // SAFETY: by the checks above each place has the channels of all groups, as have the
                                // zeros, and the panels are there, of one group.
                                $(($pixels, $panels) if $is_there => unsafe {
                                    self.tile::<S, $pixels, $panels>(s, &run, ahead, places, panel, sums)
                                },)*
                                _ => unreachable!("a tile of {tile:?}; this is a bug"),
                            }
                        };
                    }
                    tile!(
                        (1, 1, true)(2, 1, true)(3, 1, true)(4, 1, true)(5, 1, true)(6, 1, true)(
                            1, 4, true
                        )(2, 3, true)(3, 2, true)(2, 4, S::WIDE)(
                            3, 4, S::WIDE
                        )(4, 4, S::WIDE)(5, 4, S::WIDE)(6, 4, S::WIDE)
                    );
                }
            }
            self.finish(s, sums, together, panel);
            panel += together;
        }
    }
}

/// Some of an output's products: some positions of the window, and at each the same channels.
struct Run {
    positions: Range<usize>,
    channels: Range<usize>,
}

impl Run {
    /// Its first product of an output.
    #[inline(always)]
    fn first(&self, inputs: usize) -> usize {
        self.positions.start * inputs + self.channels.start
    }
}

/// A tile's share of the next run's weights, which are called into the second-level cache meanwhile.
#[derive(Clone, Copy)]
struct Ahead {
    /// That of the first panel.
    line: *const f32,
    /// Products after which a line of each panel is called.
    steps: usize,
}

impl Block<'_> {
    /// All products in their order, in runs whose weights stay in the first-level cache while all pixels pass.
    fn runs(&self, panels: usize) -> impl Iterator<Item = Run> {
        let (positions, inputs) = (self.positions, self.inputs);
        let len = RUN.min(RUNS / panels);
        let together = (len / inputs).max(1);
        let parts = inputs.div_ceil(len);
        (0..positions).step_by(together).flat_map(move |first| {
            (0..parts).map(move |part| Run {
                positions: first..(first + together).min(positions),
                channels: part * inputs / parts..(part + 1) * inputs / parts,
            })
        })
    }

    /// Adds a run of products to the sums of `P` pixels, each with `Q` panels from `panel`.
    ///
    /// # Safety
    /// There are `P` places for each of the run's positions, each [`NOWHERE`] or that of a row of all groups' channels in
    /// `x`; the zeros are as many; the panels are there, of one group.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const Q: usize>(
        &self,
        s: S,
        run: &Run,
        mut ahead: Ahead,
        places: &[usize],
        panel: usize,
        sums: &mut [[f32; LANES]],
    ) {
        let Weights {
            filters,
            packed,
            zeros,
            ..
        } = self.weights;
        let group = panel / filters.panels();
        let panel_len = filters.terms() * LANES;
        let first = run.first(self.inputs);
        // Between the run's channels of one position and those of the next.
        let skipped = (self.inputs - run.channels.len()) * LANES;
        // Of a known length, or what is summed would be written to memory at each step.
        let sums = sums.as_chunks_mut::<Q>().0.first_chunk_mut::<P>();
        let sums = sums.expect("a sum for each pixel; this is a bug");
        let mut acc = [[s.splat(0.0); Q]; P];
        for (acc, sums) in acc.iter_mut().zip(sums.iter()) {
            for (acc, sum) in acc.iter_mut().zip(sums) {
                *acc = s.load(sum);
            }
        }
        let mut weights = [packed.as_ptr(); Q];
        for (q, weights) in weights.iter_mut().enumerate() {
            // SAFETY: the panel is there, and has the run's products.
            *weights = unsafe { weights.add((panel + q) * panel_len + first * LANES) };
        }
        for places in places.as_chunks::<P>().0 {
            let mut rows = [zeros.as_ptr(); P];
            for (row, place) in rows.iter_mut().zip(places) {
                if *place != NOWHERE {
                    // SAFETY: a row begins there.
                    *row = unsafe { self.x.as_ptr().add(*place) };
                }
                // SAFETY: the row has the channels of all groups.
                *row = unsafe { row.add(group * self.inputs + run.channels.start) };
            }
            let mut begin = 0;
            while begin < run.channels.len() {
                for q in 0..Q {
                    s.prefetch_later(ahead.line.wrapping_add(q * panel_len).cast());
                }
                ahead.line = ahead.line.wrapping_add(LANES);
                let end = run.channels.len().min(begin + ahead.steps);
                for c in begin..end {
                    let mut w = [s.splat(0.0); Q];
                    for (w, weights) in w.iter_mut().zip(&mut weights) {
                        // SAFETY: a panel has 16 values for each channel at each position.
                        unsafe {
                            *w = s.load(&*weights.cast::<[f32; LANES]>());
                            *weights = weights.add(LANES);
                        }
                    }
                    for (acc, row) in acc.iter_mut().zip(&rows) {
                        // SAFETY: a row has this many channels.
                        let x = s.splat(unsafe { *row.add(c) });
                        for (acc, w) in acc.iter_mut().zip(&w) {
                            *acc = s.fma(x, *w, *acc);
                        }
                    }
                }
                begin = end;
            }
            for weights in &mut weights {
                *weights = weights.wrapping_add(skipped);
            }
        }
        for (acc, sums) in acc.iter().zip(sums) {
            for (acc, sum) in acc.iter().zip(sums) {
                s.store(*acc, sum);
            }
        }
    }

    /// Writes what becomes of all pixels' sums, each with `together` panels from `panel`.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, sums: &[[f32; LANES]], together: usize, panel: usize) {
        let filters = self.weights.filters;
        let of_group = filters.panels();
        let group = panel / of_group;
        for q in 0..together {
            let output = (panel + q) % of_group * LANES;
            let count = LANES.min(filters.outputs - output);
            let bias = self.weights.bias;
            let bias = bias.map_or(s.splat(0.0), |bias| {
                load_part(s, &bias[(panel + q) * LANES..][..LANES], 0.0)
            });
            let first = group * filters.outputs + output;
            let of_panel = sums.iter().skip(q).step_by(together);
            for (pixel, sum) in self.pixels.clone().zip(of_panel) {
                let at = self.out_first + pixel * self.out_stride + first;
                let mut sum = s.add(s.load(sum), bias);
                if let Some(add) = self.add {
                    sum = s.add(sum, load_part(s, &add[at..][..count], 0.0));
                }
                let sum = self.activation.apply(s, sum);
                // SAFETY: these outputs of these pixels belong to this task alone.
                store_part(s, sum, unsafe { self.out.range(at, count) });
            }
        }
    }
}
