//! Products of matrices that are computed themselves, many of them at once, as attention has them.
//!
//! A task packs one right matrix as a convolution's weights are packed, and multiplies rows of the left one with it. Where the
//! products are factors themselves, a task has them for a block of rows at a time, so that they need not be written to memory.

use std::ops::Range;

use super::tile::{Block, Weights};
use super::{Activation, BLOCK_PIXELS, Filters, SHORT, TASKS_PER_THREAD, each_task};
use crate::pool::SharedMut;
use crate::simd::{self, LANES};
use crate::{Pool, Tier, cpu_tier, scratch};

/// A dimension, and how far its neighbours lie apart in the factors and in what comes out; 0 where something has it not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Along {
    /// How many there are.
    pub size: usize,
    /// The step in the left factor.
    pub left: usize,
    /// The step in the right factor.
    pub right: usize,
    /// The step in what comes out.
    pub out: usize,
}

/// The shapes of products, and how they lie in memory.
#[derive(Debug, Clone)]
pub struct Products<'a> {
    /// The dimensions that count the products.
    pub each: &'a [Along],
    /// The rows of the left factor and of the product.
    pub rows: Along,
    /// The columns of the right factor and of the product, where they are side by side.
    pub columns: Along,
    /// What is summed over.
    pub terms: Along,
}

/// What becomes of a block of products before they are factors: the number of the product, its rows, and their values.
/// It must not call kernels that take scratch memory, which the products have meanwhile.
pub type Between<'a> = &'a (dyn Fn(usize, Range<usize>, &mut [f32]) + Sync);

impl Products<'_> {
    fn count(&self) -> usize {
        self.each.iter().map(|along| along.size).product()
    }

    /// Where a factor or the product begins, by its steps.
    fn start(&self, product: usize, step: impl Fn(&Along) -> usize) -> usize {
        let mut rest = product;
        let mut at = 0;
        for along in self.each.iter().rev() {
            at += rest % along.size * step(along);
            rest /= along.size;
        }
        at
    }

    fn filters(&self) -> Filters {
        Filters {
            groups: 1,
            outputs: self.columns.size,
            positions: 1,
            inputs: self.terms.size,
        }
    }

    fn packed_len(&self) -> usize {
        self.filters().panels() * self.terms.size * LANES
    }

    /// Whether something of these steps and sizes lies within `len` elements.
    fn fits(&self, len: usize, of: [Along; 2], step: impl Fn(&Along) -> usize) -> bool {
        let mut last = Some(0usize);
        for along in self.each.iter().chain(&of) {
            let reach = along.size.saturating_sub(1).checked_mul(step(along));
            last = last.zip(reach).and_then(|(a, b)| a.checked_add(b));
        }
        last.is_some_and(|last| last < len)
    }

    /// Whether no two elements of what comes out are at one place.
    fn is_apart(&self) -> bool {
        let mut dims: Vec<Along> = self.each.to_vec();
        dims.extend([self.rows, self.columns]);
        dims.retain(|along| along.size > 1);
        dims.sort_by_key(|along| along.out);
        let mut reach = 0;
        for along in dims {
            if along.out <= reach {
                return false;
            }
            reach += (along.size - 1) * along.out;
        }
        true
    }

    fn check_out(&self, out: &[f32]) {
        assert_eq!(self.columns.out, 1, "products: columns lie apart");
        assert!(
            self.fits(out.len(), [self.rows, self.columns], |along| along.out),
            "products: what comes out is too short"
        );
        assert!(self.is_apart(), "products: they overlap");
    }

    fn check_left(&self, left: &[f32]) {
        assert!(
            self.fits(left.len(), [self.rows, self.terms], |along| along.left),
            "products: the left factor is too short"
        );
    }

    fn check_right(&self, right: &[f32]) {
        assert!(
            self.fits(right.len(), [self.columns, self.terms], |along| along.right),
            "products: the right factor is too short"
        );
    }

    /// Packs a right factor, `[panels, terms, 16]`, zeros where there is no column.
    fn pack(&self, right: &[f32], out: &mut [f32]) {
        let (terms, columns) = (self.terms, self.columns);
        for (panel, out) in out.chunks_exact_mut(terms.size * LANES).enumerate() {
            let first = panel * LANES;
            let count = LANES.min(columns.size - first);
            let right = &right[first * columns.right..];
            let out = out.as_chunks_mut::<LANES>().0;
            if columns.right == 1 {
                for (term, out) in out.iter_mut().enumerate() {
                    out[..count].copy_from_slice(&right[term * terms.right..][..count]);
                    out[count..].fill(0.0);
                }
                continue;
            }
            if count < LANES {
                out.fill([0.0; LANES]);
            }
            for lane in 0..count {
                let column = &right[lane * columns.right..];
                for (out, x) in out
                    .iter_mut()
                    .zip(column.iter().step_by(terms.right.max(1)))
                {
                    out[lane] = *x;
                }
            }
        }
    }

    /// Multiplies some rows, fewer than a block's, with what is packed. `out_first` is where the first of all rows would be.
    fn block(
        &self,
        tier: Tier,
        packed: &[f32],
        (x, places): (&[f32], &[usize]),
        rows: Range<usize>,
        (out, out_first, out_stride): (&SharedMut<f32>, usize, usize),
    ) {
        let filters = self.filters();
        let block = Block {
            weights: Weights {
                filters,
                packed,
                bias: None,
                zeros: &[],
            },
            positions: 1,
            inputs: filters.inputs,
            x,
            places,
            pixels: rows,
            panels: 0..filters.panels(),
            add: None,
            activation: Activation::None,
            out,
            out_first,
            out_stride,
        };
        simd::run(tier, block);
    }
}

/// Multiplies each left matrix with its right one. All of `out` that the shapes name is overwritten.
///
/// # Panics
/// If the shapes do not fit, products overlap, or their columns are not side by side.
pub fn products(pool: &Pool, shapes: &Products, left: &[f32], right: &[f32], out: &mut [f32]) {
    run_on(cpu_tier(), pool, shapes, [left, right], None, out);
}

/// Multiplies each left matrix with its right one, and what becomes of that with the right matrix of `second`, whose left
/// factor has no steps of its own. `between` may see the rows of a product in several parts.
///
/// # Panics
/// As [`products`], or if the second products are not as many, of as many rows and of as many terms as the first have columns.
pub fn products_of_products(
    pool: &Pool,
    first: &Products,
    [left, right]: [&[f32]; 2],
    between: Between,
    second: &Products,
    second_right: &[f32],
    out: &mut [f32],
) {
    let second = Some((between, second, second_right));
    run_on(cpu_tier(), pool, first, [left, right], second, out);
}

fn run_on(
    tier: Tier,
    pool: &Pool,
    first: &Products,
    [left, right]: [&[f32]; 2],
    second: Option<(Between, &Products, &[f32])>,
    out: &mut [f32],
) {
    let last = second.map_or(first, |(_, second, _)| second);
    assert!(
        sizes(last.each).eq(sizes(first.each))
            && last.rows.size == first.rows.size
            && (second.is_none() || last.terms.size == first.columns.size),
        "products: the second do not follow from the first"
    );
    let (count, rows) = (first.count(), first.rows.size);
    if count == 0 || rows == 0 || last.columns.size == 0 {
        return;
    }
    assert!(
        first.terms.size > 0 && first.columns.size > 0,
        "products: sums of nothing"
    );
    first.check_left(left);
    first.check_right(right);
    if let Some((_, second, right)) = second {
        second.check_right(right);
    }
    last.check_out(out);
    let terms = first.terms.size
        + if second.is_some() {
            last.columns.size
        } else {
            0
        };
    let products = count * rows * first.columns.size * terms;
    let blocks = rows.div_ceil(BLOCK_PIXELS);
    let parts = (TASKS_PER_THREAD * pool.threads())
        .div_ceil(count)
        .min(blocks);
    let parts = if products > SHORT { parts } else { 1 };
    let out = SharedMut::new(out);
    let task = |task: usize| {
        let (product, part) = (task / parts, task % parts);
        let task = Task {
            tier,
            first,
            left: &left[first.start(product, |along| along.left)..],
            right: &right[first.start(product, |along| along.right)..],
            second,
            product,
            out: &out,
        };
        task.run(part * blocks / parts..(part + 1) * blocks / parts, blocks);
    };
    each_task(pool, count * parts, products, task);
}

fn sizes(each: &[Along]) -> impl Iterator<Item = usize> {
    each.iter().map(|along| along.size)
}

/// Some rows of one product.
struct Task<'a> {
    tier: Tier,
    first: &'a Products<'a>,
    left: &'a [f32],
    right: &'a [f32],
    second: Option<(Between<'a>, &'a Products<'a>, &'a [f32])>,
    product: usize,
    out: &'a SharedMut<f32>,
}

impl Task<'_> {
    /// Computes some of the blocks into which the rows fall.
    fn run(&self, blocks: Range<usize>, of: usize) {
        let first = self.first;
        let rows = first.rows.size;
        let columns = first.columns.size;
        // Rows whose terms lie apart are brought together.
        let is_gathered = first.terms.left != 1 && first.terms.size > 1;
        let lens = [
            first.packed_len(),
            self.second.map_or(0, |(_, second, _)| second.packed_len()),
            if self.second.is_some() {
                BLOCK_PIXELS * columns
            } else {
                0
            },
            if is_gathered {
                BLOCK_PIXELS * first.terms.size
            } else {
                0
            },
        ];
        // Each from a cache line's start.
        let lens = lens.map(|len| len.next_multiple_of(LANES));
        scratch::with(lens.iter().sum(), |memory| {
            let (packed, memory) = memory.split_at_mut(lens[0]);
            let (second_packed, memory) = memory.split_at_mut(lens[1]);
            let (between, gathered) = memory.split_at_mut(lens[2]);
            first.pack(self.right, packed);
            if let Some((_, second, right)) = self.second {
                let start = second.start(self.product, |along| along.right);
                second.pack(&right[start..], second_packed);
            }
            for block in blocks {
                let rows = block * rows / of..(block + 1) * rows / of;
                let mut places = [0; BLOCK_PIXELS];
                let places = &mut places[..rows.len()];
                let x = if is_gathered {
                    let terms = first.terms.size;
                    for (row, out) in rows.clone().zip(gathered.chunks_exact_mut(terms)) {
                        let row = self.left[row * first.rows.left..].iter();
                        let row = row.step_by(first.terms.left.max(1));
                        out.iter_mut().zip(row).for_each(|(out, x)| *out = *x);
                    }
                    (0..).zip(&mut *places).for_each(|(i, at)| *at = i * terms);
                    &*gathered
                } else {
                    let step = first.rows.left;
                    let each = rows.clone().zip(&mut *places);
                    each.for_each(|(row, at)| *at = row * step);
                    self.left
                };
                let Some((then, second, _)) = self.second else {
                    let start = first.start(self.product, |along| along.out);
                    let out = (self.out, start, first.rows.out);
                    first.block(self.tier, packed, (x, places), rows, out);
                    continue;
                };
                let between = &mut between[..rows.len() * columns];
                let count = rows.len();
                let shared = SharedMut::new(between);
                let out = (&shared, 0, columns);
                first.block(self.tier, packed, (x, places), 0..count, out);
                then(self.product, rows.clone(), between);
                (0..)
                    .zip(&mut *places)
                    .for_each(|(i, at)| *at = i * columns);
                let start = second.start(self.product, |along| along.out);
                let out = (self.out, start, second.rows.out);
                second.block(self.tier, second_packed, (between, places), rows, out);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close};

    fn along(size: usize, left: usize, right: usize, out: usize) -> Along {
        Along {
            size,
            left,
            right,
            out,
        }
    }

    /// The products in f64, at the places of `out`.
    fn expected(shapes: &Products, left: &[f64], right: &[f64], out: &mut [f64]) {
        for product in 0..shapes.count() {
            let at = [
                shapes.start(product, |along| along.left),
                shapes.start(product, |along| along.right),
                shapes.start(product, |along| along.out),
            ];
            for row in 0..shapes.rows.size {
                for column in 0..shapes.columns.size {
                    let terms = (0..shapes.terms.size).map(|term| {
                        left[at[0] + row * shapes.rows.left + term * shapes.terms.left]
                            * right
                                [at[1] + column * shapes.columns.right + term * shapes.terms.right]
                    });
                    out[at[2] + row * shapes.rows.out + column] = terms.sum();
                }
            }
        }
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|x| f64::from(*x)).collect()
    }

    fn narrow(x: &[f64]) -> Vec<f32> {
        x.iter().map(|x| *x as f32).collect()
    }

    #[test]
    fn factors_lie_in_any_way_in_every_tier() {
        let mut random = Random::new(5);
        for tier in Tier::available() {
            for (b, h, m, k, n) in [
                (2, 3, 7, 5, 9),
                (1, 2, 200, 64, 130),
                (1, 1, 1, 1, 1),
                (3, 1, 96, 17, 16),
            ] {
                // Heads side by side, [b, m, h, k] with [b, n, h, k]; one after the other, [b, h, k, m] with [b, h, k, n].
                let side_by_side = Products {
                    each: &[
                        along(b, m * h * k, n * h * k, h * m * n),
                        along(h, k, k, m * n),
                    ],
                    rows: along(m, h * k, 0, n),
                    columns: along(n, 0, h * k, 1),
                    terms: along(k, 1, 1, 0),
                };
                let transposed = Products {
                    each: &[
                        along(b, h * k * m, h * k * n, m * h * n),
                        along(h, k * m, k * n, n),
                    ],
                    rows: along(m, 1, 0, h * n),
                    columns: along(n, 0, 1, 1),
                    terms: along(k, m, n, 0),
                };
                let left = random.normals(b * h * m * k);
                let right = random.normals(b * h * n * k);
                for shapes in [side_by_side, transposed] {
                    let mut told = vec![f64::NAN; b * h * m * n];
                    expected(&shapes, &wide(&left), &wide(&right), &mut told);
                    for threads in [1, 3] {
                        let mut out = vec![f32::NAN; b * h * m * n];
                        let pool = Pool::new(threads);
                        run_on(tier, &pool, &shapes, [&left, &right], None, &mut out);
                        assert_close(
                            &out,
                            &narrow(&told),
                            1e-4,
                            &format!("{tier} {b} {h} {m} {k} {n}"),
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_factors_in_every_tier() {
        let mut random = Random::new(6);
        let (h, m, k, n, d) = (3, 150, 8, 37, 20);
        let first = Products {
            each: &[along(h, m * k, n * k, m * n)],
            rows: along(m, k, 0, n),
            columns: along(n, 0, k, 1),
            terms: along(k, 1, 1, 0),
        };
        // [h, n, d], to [m, h, d].
        let second = Products {
            each: &[along(h, m * n, n * d, d)],
            rows: along(m, n, 0, h * d),
            columns: along(d, 0, 1, 1),
            terms: along(n, 1, d, 0),
        };
        let factors = [h * m * k, h * n * k, h * n * d].map(|len| random.normals(len));
        let [left, right, last] = &factors;
        let mut scores = vec![0.0; h * m * n];
        expected(&first, &wide(left), &wide(right), &mut scores);
        for (product, scores) in scores.chunks_exact_mut(m * n).enumerate() {
            for (row, scores) in scores.chunks_exact_mut(n).enumerate() {
                let scale = (product * m + row) as f64 / (h * m) as f64;
                scores.iter_mut().for_each(|score| *score *= scale);
            }
        }
        let mut told = vec![0.0; h * m * d];
        expected(&second, &scores, &wide(last), &mut told);
        let between = |product: usize, rows: Range<usize>, scores: &mut [f32]| {
            for (row, scores) in rows.zip(scores.chunks_exact_mut(n)) {
                let scale = (product * m + row) as f32 / (h * m) as f32;
                scores.iter_mut().for_each(|score| *score *= scale);
            }
        };
        for tier in Tier::available() {
            for threads in [1, 4] {
                let mut out = vec![f32::NAN; h * m * d];
                let pool = Pool::new(threads);
                let then: (Between, _, _) = (&between, &second, last.as_slice());
                run_on(tier, &pool, &first, [left, right], Some(then), &mut out);
                assert_close(
                    &out,
                    &narrow(&told),
                    1e-4,
                    &format!("{tier}, {threads} threads"),
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "they overlap")]
    fn products_at_one_place_are_refused() {
        let shapes = Products {
            each: &[along(2, 4, 4, 2)],
            rows: along(2, 2, 0, 2),
            columns: along(2, 0, 1, 1),
            terms: along(2, 1, 2, 0),
        };
        products(&Pool::new(1), &shapes, &[1.0; 8], &[1.0; 8], &mut [0.0; 8]);
    }
}
