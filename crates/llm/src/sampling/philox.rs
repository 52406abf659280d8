//! Random numbers that depend on a seed and a counter alone.
//!
//! Philox4x32-10 by Salmon, Moraes, Dror and Shaw ("Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011): there is no state to carry, so that a draw can be repeated at any time and place.

use std::hash::{BuildHasher, Hasher, RandomState};

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Counter word that keeps draws and derived seeds apart.
const DRAW: u32 = 0;
const CANDIDATE: u32 = 1;

fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key[0] = key[0].wrapping_add(KEY_STEPS[0]);
        key[1] = key[1].wrapping_add(KEY_STEPS[1]);
    }
    counter
}

fn word(seed: u64, index: u64, purpose: u32) -> u64 {
    let counter = [index as u32, (index >> 32) as u32, purpose, 0];
    let [a, b, ..] = philox4x32(counter, [seed as u32, (seed >> 32) as u32]);
    u64::from(a) | u64::from(b) << 32
}

/// A number in [0, 1) with 53 random bits for the token at `index` of an answer.
pub(super) fn uniform(seed: u64, index: u64) -> f64 {
    (word(seed, index, DRAW) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// The seed of candidate `index` of a request with several; candidate 0 has the request's own.
pub fn derive_seed(seed: u64, index: usize) -> u64 {
    match index {
        0 => seed,
        _ => word(seed, index as u64, CANDIDATE),
    }
}

/// A seed for a request that names none.
pub fn random_seed() -> u64 {
    // The standard library seeds every `RandomState` from the system's random numbers, and makes
    // each differ from the one before.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the authors' Random123 library (`kat_vectors`).
    #[test]
    fn equals_the_reference() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn uniform_fills_the_unit_interval() {
        let draws: Vec<f64> = (0..10_000).map(|i| uniform(7, i)).collect();
        assert!(draws.iter().all(|u| (0.0..1.0).contains(u)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.02, "mean {mean}");
        let low = draws.iter().filter(|&&u| u < 0.1).count();
        assert!((800..1200).contains(&low), "{low} of 10000 below 0.1");
    }

    #[test]
    fn seeds_differ() {
        assert_eq!(derive_seed(9, 0), 9);
        let mut seeds: Vec<u64> = (0..100).map(|i| derive_seed(9, i)).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 100);
        assert_ne!(random_seed(), random_seed());
        assert_ne!(uniform(1, 0), uniform(2, 0));
        assert_ne!(uniform(1, 0), uniform(1, 1));
    }
}
