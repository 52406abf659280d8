//! What a file can be converted to.

use hearth_kernels::DType;

/// A target of conversion: one type for all matrices, or one of llama.cpp's mixes of block types, under the names that
/// `llama-quantize` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Target {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2_K,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
}

impl Target {
    /// All targets.
    pub const ALL: [Target; 17] = [
        Target::F32,
        Target::F16,
        Target::BF16,
        Target::Q8_0,
        Target::Q4_0,
        Target::Q4_1,
        Target::Q5_0,
        Target::Q5_1,
        Target::Q2_K,
        Target::Q3_K_S,
        Target::Q3_K_M,
        Target::Q3_K_L,
        Target::Q4_K_S,
        Target::Q4_K_M,
        Target::Q5_K_S,
        Target::Q5_K_M,
        Target::Q6_K,
    ];

    /// The name as commands write it.
    pub const fn name(self) -> &'static str {
        match self {
            Target::F32 => "F32",
            Target::F16 => "F16",
            Target::BF16 => "BF16",
            Target::Q8_0 => "Q8_0",
            Target::Q4_0 => "Q4_0",
            Target::Q4_1 => "Q4_1",
            Target::Q5_0 => "Q5_0",
            Target::Q5_1 => "Q5_1",
            Target::Q2_K => "Q2_K",
            Target::Q3_K_S => "Q3_K_S",
            Target::Q3_K_M => "Q3_K_M",
            Target::Q3_K_L => "Q3_K_L",
            Target::Q4_K_S => "Q4_K_S",
            Target::Q4_K_M => "Q4_K_M",
            Target::Q5_K_S => "Q5_K_S",
            Target::Q5_K_M => "Q5_K_M",
            Target::Q6_K => "Q6_K",
        }
    }

    /// The type of most matrices.
    pub const fn dtype(self) -> DType {
        match self {
            Target::F32 => DType::F32,
            Target::F16 => DType::F16,
            Target::BF16 => DType::BF16,
            Target::Q8_0 => DType::Q8_0,
            Target::Q4_0 => DType::Q4_0,
            Target::Q4_1 => DType::Q4_1,
            Target::Q5_0 => DType::Q5_0,
            Target::Q5_1 => DType::Q5_1,
            Target::Q2_K => DType::Q2_K,
            Target::Q3_K_S | Target::Q3_K_M | Target::Q3_K_L => DType::Q3_K,
            Target::Q4_K_S | Target::Q4_K_M => DType::Q4_K,
            Target::Q5_K_S | Target::Q5_K_M => DType::Q5_K,
            Target::Q6_K => DType::Q6_K,
        }
    }

    /// llama.cpp's number for it, the value of `general.file_type`.
    pub const fn file_type(self) -> u32 {
        match self {
            Target::F32 => 0,
            Target::F16 => 1,
            Target::Q4_0 => 2,
            Target::Q4_1 => 3,
            Target::Q8_0 => 7,
            Target::Q5_0 => 8,
            Target::Q5_1 => 9,
            Target::Q2_K => 10,
            Target::Q3_K_S => 11,
            Target::Q3_K_M => 12,
            Target::Q3_K_L => 13,
            Target::Q4_K_S => 14,
            Target::Q4_K_M => 15,
            Target::Q5_K_S => 16,
            Target::Q5_K_M => 17,
            Target::Q6_K => 18,
            Target::BF16 => 32,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown target type {0:?}; known: {known}", known = known())]
pub struct UnknownTarget(pub String);

fn known() -> String {
    Target::ALL.map(Target::name).join(", ")
}

impl std::str::FromStr for Target {
    type Err = UnknownTarget;

    /// A target by its name, in upper or lower case; `Q3_K`, `Q4_K` and `Q5_K` mean the medium mix, as they do for
    /// `llama-quantize`.
    fn from_str(s: &str) -> Result<Target, UnknownTarget> {
        let upper = s.to_ascii_uppercase();
        let name = match upper.as_str() {
            "Q3_K" => "Q3_K_M",
            "Q4_K" => "Q4_K_M",
            "Q5_K" => "Q5_K_M",
            other => other,
        };
        Target::ALL
            .into_iter()
            .find(|t| t.name() == name)
            .ok_or_else(|| UnknownTarget(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_the_target() {
        for t in Target::ALL {
            assert_eq!(t.name().to_lowercase().parse(), Ok(t));
        }
        assert_eq!("q4_k".parse(), Ok(Target::Q4_K_M));
        let error = "Q9".parse::<Target>().unwrap_err().to_string();
        assert!(error.starts_with("unknown target type \"Q9\"; known: F32, F16"));
    }
}
