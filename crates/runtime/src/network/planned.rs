//! The numbers of inputs that a network has plans for.
//!
//! An engine that plans a network for each number of inputs takes its time for each plan. So only some numbers run: powers of
//! two, as many as there may be plans. One is planned before requests come, the others meanwhile, and a batch of another number runs
//! as several that there are plans for.

use std::sync::atomic::{AtomicU64, Ordering};

use hearth_graph::onnx::{Dim, ValueInfo};

/// The numbers that are planned for by now: bit `n` is for `2^n`.
#[derive(Debug)]
pub(super) struct Planned(AtomicU64);

impl Planned {
    /// One is.
    pub fn new() -> Planned {
        Planned(AtomicU64::new(1))
    }

    /// A power of two is planned for, too.
    pub fn add(&self, number: usize) {
        self.0.fetch_or(1 << number.ilog2(), Ordering::Release);
    }

    /// How many of `rows`, one at least, are run next.
    pub fn next(&self, rows: usize) -> usize {
        let planned = self.0.load(Ordering::Acquire);
        // Those that are no larger.
        let fitting = planned & (u64::MAX >> (63 - rows.max(1).ilog2()));
        1 << fitting.max(1).ilog2()
    }
}

/// The powers of two up to `most`, at most `count` of them: the first, the last, and of those between some at even distances.
pub(crate) fn numbers(most: usize, count: usize) -> Vec<usize> {
    let last = most.max(1).ilog2() as usize;
    let count = count.clamp(1, last + 1);
    let steps = (count - 1).max(1);
    (0..count).map(|step| 1 << (step * last / steps)).collect()
}

/// The shapes of so many inputs, where all other dimensions are fixed; `None` where they are not.
pub(super) fn shapes(inputs: &[ValueInfo], number: usize) -> Option<Vec<Vec<usize>>> {
    let shape = |input: &ValueInfo| {
        let rest = input.dims.iter().skip(1).map(|dim| match dim {
            Dim::Fixed(size) => usize::try_from(*size).ok(),
            _ => None,
        });
        std::iter::once(Some(number)).chain(rest).collect()
    };
    inputs.iter().map(shape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_made_of_what_is_planned() {
        let planned = Planned::new();
        let parts = |planned: &Planned, mut rows: usize| {
            let mut parts = Vec::new();
            while rows > 0 {
                parts.push(planned.next(rows));
                rows -= planned.next(rows);
            }
            parts
        };
        assert_eq!(parts(&planned, 3), [1, 1, 1]);
        planned.add(4);
        assert_eq!(parts(&planned, 11), [4, 4, 1, 1, 1]);
        planned.add(2);
        planned.add(8);
        assert_eq!(parts(&planned, 15), [8, 4, 2, 1]);
        planned.add(1 << 63);
        assert_eq!(planned.next(usize::MAX), 1 << 63);
        assert_eq!(planned.next(7), 4);
    }

    #[test]
    fn so_many_powers_of_two_are_planned_for() {
        for (most, count, expected) in [
            (32, 8, vec![1, 2, 4, 8, 16, 32]),
            (24, 8, vec![1, 2, 4, 8, 16]),
            (1, 8, vec![1]),
            (0, 8, vec![1]),
            (32, 2, vec![1, 32]),
            (32, 3, vec![1, 4, 32]),
            (512, 8, vec![1, 2, 4, 8, 32, 64, 128, 512]),
            (32, 1, vec![1]),
        ] {
            assert_eq!(numbers(most, count), expected, "{most} {count}");
        }
    }
}
