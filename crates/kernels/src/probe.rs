//! What the machine can do at most, measured: the bounds that products are compared with.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::memory::Buffer;
use crate::simd::{self, Kernel, LANES, Simd};
use crate::{Pool, cpu_tier};

/// Registers that are summed into at once: enough to hide the latency of an instruction.
const CHAINS: usize = 12;
/// Steps of an inner loop.
const STEPS: usize = 100_000;
/// How often a probe is repeated; the best counts, as other programs only ever take away.
const REPEATS: usize = 5;

/// Bytes per second that all threads together read from memory, or `None` where there is no memory for a buffer that
/// no cache holds.
pub fn read_bandwidth(pool: &Pool) -> Option<f64> {
    const LINES: usize = (512 << 20) / 64;
    const TASK: usize = (1 << 20) / 64;
    let mut lines = Buffer::<[u8; 64]>::zeroed(LINES)?;
    // The system gives memory on the first write.
    pool.for_each_chunk(&mut lines, TASK, |i, lines| {
        lines.as_flattened_mut().fill(i as u8)
    });
    let lines = &*lines;
    let best = best_of(|| {
        pool.run(LINES / TASK, |i| {
            black_box(simd::run(cpu_tier(), Read(&lines[i * TASK..][..TASK])));
        });
    });
    Some((LINES * 64) as f64 / best.as_secs_f64())
}

/// Operations per second (two for each product and its sum) of all threads together in products of bytes.
pub fn int8_peak(pool: &Pool) -> f64 {
    let tasks = pool.threads() * 4;
    let best = best_of(|| {
        pool.run(tasks, |i| {
            black_box(simd::run(cpu_tier(), Bytes(i)));
        })
    });
    (tasks * STEPS * CHAINS * 64 * 2) as f64 / best.as_secs_f64()
}

/// Operations per second (two for each product and its sum) of all threads together in fused products of f32.
pub fn f32_peak(pool: &Pool) -> f64 {
    let tasks = pool.threads() * 4;
    let best = best_of(|| {
        pool.run(tasks, |i| {
            black_box(simd::run(cpu_tier(), Floats(i)));
        })
    });
    (tasks * STEPS * CHAINS * LANES * 2) as f64 / best.as_secs_f64()
}

fn best_of(mut f: impl FnMut()) -> Duration {
    f();
    let times = (0..REPEATS).map(|_| {
        let start = Instant::now();
        f();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

/// The sum of all words.
struct Read<'a>(&'a [[u8; 64]]);

impl Kernel for Read<'_> {
    type Output = [u8; 64];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [u8; 64] {
        let mut sums = [s.splat_i32(0); 4];
        for lines in self.0.as_chunks::<4>().0 {
            for (sum, line) in sums.iter_mut().zip(lines) {
                *sum = s.add_i32(*sum, s.load_bytes(line));
            }
        }
        let mut out = [0; 64];
        let sum = s.add_i32(s.add_i32(sums[0], sums[1]), s.add_i32(sums[2], sums[3]));
        s.store_bytes(sum, &mut out);
        out
    }
}

/// Products of bytes in independent chains.
struct Bytes(usize);

impl Kernel for Bytes {
    type Output = [u8; 64];
    const MULTIPLIES_BYTES: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [u8; 64] {
        let w = s.splat_i32(black_box(self.0 as i32 & 0x0F0F_0F0F));
        let a = s.splat_i32(black_box(0x0102_0304));
        let mut acc = [s.splat_i32(0); CHAINS];
        for _ in 0..STEPS {
            for acc in &mut acc {
                *acc = s.dot_u7(*acc, w, a);
            }
        }
        let mut out = [0; 64];
        let sum = acc
            .into_iter()
            .fold(s.splat_i32(0), |sum, acc| s.add_i32(sum, acc));
        s.store_bytes(sum, &mut out);
        out
    }
}

/// Products of f32 in independent chains.
struct Floats(usize);

impl Kernel for Floats {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let w = s.splat(black_box(self.0 as f32 * 1e-9));
        let a = s.splat(black_box(0.5));
        let mut acc = [s.splat(0.0); CHAINS];
        for _ in 0..STEPS {
            for acc in &mut acc {
                *acc = s.fma(*acc, a, w);
            }
        }
        s.sum(
            acc.into_iter()
                .fold(s.splat(0.0), |sum, acc| s.add(sum, acc)),
        )
    }
}
