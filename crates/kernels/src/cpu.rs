//! Which instructions the kernels use.

use std::sync::OnceLock;

/// A family of implementations, from the plainest to the widest.
///
/// Within a tier results are the same bit for bit on every machine of that tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Portable code.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
}

impl Tier {
    /// The name as `HEARTH_CPU` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Scalar => "scalar",
            Tier::Avx2 => "avx2",
            Tier::Avx512 => "avx512",
        }
    }

    /// All tiers that this machine can run, the plainest first; `HEARTH_CPU` does not matter.
    pub fn available() -> Vec<Tier> {
        [Tier::Scalar, Tier::Avx2, Tier::Avx512]
            .into_iter()
            .filter(|t| *t <= widest())
            .collect()
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The tier in use: the widest of the machine, or a lower one that the environment variable `HEARTH_CPU`
/// (`scalar`, `avx2`, `avx512`) asks for. Read once; a value that is unknown or too wide for the machine is ignored.
pub fn cpu_tier() -> Tier {
    static TIER: OnceLock<Tier> = OnceLock::new();
    *TIER.get_or_init(|| {
        let asked = std::env::var("HEARTH_CPU").unwrap_or_default();
        Tier::available()
            .into_iter()
            .find(|t| asked.eq_ignore_ascii_case(t.name()))
            .unwrap_or_else(widest)
    })
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn widest() -> Tier {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma") && has!("f16c");
    let avx512 = has!("avx512f")
        && has!("avx512bw")
        && has!("avx512dq")
        && has!("avx512vl")
        && has!("avx512vnni");
    match (avx2, avx512) {
        (true, true) => Tier::Avx512,
        (true, false) => Tier::Avx2,
        _ => Tier::Scalar,
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn widest() -> Tier {
    Tier::Scalar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tier_in_use_is_available() {
        assert!(Tier::available().contains(&cpu_tier()));
        assert_eq!(Tier::available()[0], Tier::Scalar);
    }
}
