//! The processor that models are computed on: what it has, and what it can do at most.

use hearth_kernels::{Pool, cpu_tier, probe};
use serde::Serialize;

/// The name of the kernels in use: `scalar`, `avx2` or `avx512`.
pub fn kernels() -> &'static str {
    cpu_tier().name()
}

/// The vector instructions of the processor, of those that kernels could use.
pub fn cpu_features() -> Vec<&'static str> {
    let mut features = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! probe {
            ($($name:tt),*) => {
                $(if std::arch::is_x86_feature_detected!($name) {
                    features.push($name);
                })*
            };
        }
        probe!(
            "sse4.2",
            "avx",
            "avx2",
            "fma",
            "f16c",
            "avxvnni",
            "avx512f",
            "avx512bw",
            "avx512dq",
            "avx512vl",
            "avx512vnni",
            "avx512bf16"
        );
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! probe {
            ($($name:tt),*) => {
                $(if std::arch::is_aarch64_feature_detected!($name) {
                    features.push($name);
                })*
            };
        }
        probe!("neon", "dotprod", "i8mm", "fp16", "bf16", "sve");
    }
    features
}

/// What the processor can do at most, measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Benchmark {
    /// Products of f32 and their sums: operations a second, in thousands of millions.
    pub f32_gflops: f64,
    /// Products of bytes and their sums: operations a second, in thousands of millions.
    pub int8_gops: f64,
    /// Bytes read from memory a second, in thousands of millions; absent where there is no memory to
    /// measure with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bandwidth_gbps: Option<f64>,
}

/// Measures the processor with `threads` threads. Takes about a second, and half a GiB of memory; blocks.
pub fn benchmark(threads: usize) -> Benchmark {
    let pool = Pool::new(threads.max(1));
    Benchmark {
        f32_gflops: probe::f32_peak(&pool) / 1e9,
        int8_gops: probe::int8_peak(&pool) / 1e9,
        memory_bandwidth_gbps: probe::read_bandwidth(&pool).map(|rate| rate / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_are_those_of_the_processor() {
        let features = cpu_features();
        match kernels() {
            "avx512" => assert!(features.contains(&"avx512vnni"), "{features:?}"),
            "avx2" => assert!(features.contains(&"avx2"), "{features:?}"),
            name => assert_eq!(name, "scalar"),
        }
    }

    #[test]
    fn a_benchmark_measures() {
        let measured = benchmark(1);
        assert!(measured.f32_gflops > 0.0 && measured.int8_gops > 0.0);
        assert!(measured.memory_bandwidth_gbps.is_none_or(|rate| rate > 0.0));
    }
}
