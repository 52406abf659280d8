//! Which instructions the kernels use.

use std::sync::OnceLock;

/// A family of implementations.
///
/// Within a tier results are the same bit for bit on every machine of that tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Portable code.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// As [`Tier::Avx2`], with AVX-VNNI's products of bytes.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// AArch64 with NEON and Armv8.2's dot products.
    Neon,
    /// As [`Tier::Neon`], with products of signed and unsigned bytes (i8mm).
    NeonI8mm,
}

/// All tiers, on each kind of machine the plainest first.
const ALL: [Tier; 6] = [
    Tier::Scalar,
    Tier::Avx2,
    Tier::AvxVnni,
    Tier::Avx512,
    Tier::Neon,
    Tier::NeonI8mm,
];

impl Tier {
    /// The name as `HEARTH_CPU` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Scalar => "scalar",
            Tier::Avx2 => "avx2",
            Tier::AvxVnni => "avx-vnni",
            Tier::Avx512 => "avx512",
            Tier::Neon => "neon",
            Tier::NeonI8mm => "neon-i8mm",
        }
    }

    /// All tiers that this machine can run, the plainest first; `HEARTH_CPU` does not matter.
    pub fn available() -> Vec<Tier> {
        ALL.into_iter().filter(|t| t.is_available()).collect()
    }

    /// Whether this machine can run the tier.
    pub(crate) fn is_available(self) -> bool {
        static AVAILABLE: OnceLock<[bool; ALL.len()]> = OnceLock::new();
        AVAILABLE.get_or_init(|| ALL.map(probe))[self as usize]
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The tier in use: the widest of the machine, or a lower one that the environment variable `HEARTH_CPU`
/// (`scalar`, `avx2`, `avx-vnni`, `avx512`, `neon`, `neon-i8mm`) asks for. Read once; a value that is unknown or not for
/// this machine is ignored.
pub fn cpu_tier() -> Tier {
    static TIER: OnceLock<Tier> = OnceLock::new();
    *TIER.get_or_init(|| {
        let asked = std::env::var("HEARTH_CPU").unwrap_or_default();
        let available = Tier::available();
        available
            .iter()
            .find(|t| asked.eq_ignore_ascii_case(t.name()))
            .or(available.last())
            .copied()
            .unwrap_or(Tier::Scalar)
    })
}

/// Whether the processor reads sooner what it is asked for ahead even where it goes through memory line by line: Intel's do,
/// AMD's are disturbed by it.
pub(crate) fn is_to_be_asked() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        static INTEL: OnceLock<bool> = OnceLock::new();
        *INTEL.get_or_init(|| {
            let leaf = std::arch::x86_64::__cpuid(0);
            [leaf.ebx, leaf.edx, leaf.ecx]
                .map(u32::to_le_bytes)
                .as_flattened()
                == b"GenuineIntel"
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Asks the processor for what a tier needs.
#[cfg(target_arch = "x86_64")]
fn probe(tier: Tier) -> bool {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma") && has!("f16c");
    match tier {
        Tier::Scalar => true,
        Tier::Avx2 => avx2,
        Tier::AvxVnni => avx2 && has!("avxvnni"),
        Tier::Avx512 => {
            avx2 && has!("avx512f")
                && has!("avx512bw")
                && has!("avx512dq")
                && has!("avx512vl")
                && has!("avx512vnni")
        }
        Tier::Neon | Tier::NeonI8mm => false,
    }
}

/// Asks the processor for what a tier needs.
#[cfg(target_arch = "aarch64")]
fn probe(tier: Tier) -> bool {
    use std::arch::is_aarch64_feature_detected as has;
    let neon = has!("neon") && has!("dotprod");
    match tier {
        Tier::Scalar => true,
        Tier::Neon => neon,
        Tier::NeonI8mm => neon && has!("i8mm"),
        Tier::Avx2 | Tier::AvxVnni | Tier::Avx512 => false,
    }
}

/// Portable code runs everywhere.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn probe(tier: Tier) -> bool {
    tier == Tier::Scalar
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
