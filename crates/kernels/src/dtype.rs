//! The element and block types that weights are stored in.

/// The type of a weight tensor's elements.
///
/// Quantized types store rows as blocks of 32 or 256 consecutive values in the layouts of ggml, the library behind
/// GGUF, and carry its numbers in files ([`DType::ggml_id`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum DType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single: 8 bits of exponent, 7 of fraction.
    BF16,
    /// 32 values of 4 bits and one f16 scale.
    Q4_0,
    /// 32 values of 4 bits, an f16 scale and an f16 minimum.
    Q4_1,
    /// 32 values of 5 bits and one f16 scale.
    Q5_0,
    /// 32 values of 5 bits, an f16 scale and an f16 minimum.
    Q5_1,
    /// 32 values of 8 bits and one f16 scale.
    Q8_0,
    /// 256 values of 2 bits in 16 groups with 4-bit scales and minima.
    Q2_K,
    /// 256 values of 3 bits in 16 groups with 6-bit scales.
    Q3_K,
    /// 256 values of 4 bits in 8 groups with 6-bit scales and minima.
    Q4_K,
    /// 256 values of 5 bits in 8 groups with 6-bit scales and minima.
    Q5_K,
    /// 256 values of 6 bits in 16 groups with 8-bit scales.
    Q6_K,
}

impl DType {
    /// All types, in the order of their ggml numbers.
    pub const ALL: [DType; 13] = [
        DType::F32,
        DType::F16,
        DType::Q4_0,
        DType::Q4_1,
        DType::Q5_0,
        DType::Q5_1,
        DType::Q8_0,
        DType::Q2_K,
        DType::Q3_K,
        DType::Q4_K,
        DType::Q5_K,
        DType::Q6_K,
        DType::BF16,
    ];

    /// How many values one block holds; 1 for the plain types.
    pub const fn block_len(self) -> usize {
        match self {
            DType::F32 | DType::F16 | DType::BF16 => 1,
            DType::Q4_0 | DType::Q4_1 | DType::Q5_0 | DType::Q5_1 | DType::Q8_0 => 32,
            DType::Q2_K | DType::Q3_K | DType::Q4_K | DType::Q5_K | DType::Q6_K => 256,
        }
    }

    /// The size of one block in bytes.
    pub const fn block_bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q4_0 => 18,
            DType::Q4_1 => 20,
            DType::Q5_0 => 22,
            DType::Q5_1 => 24,
            DType::Q8_0 => 34,
            DType::Q2_K => 84,
            DType::Q3_K => 110,
            DType::Q4_K => 144,
            DType::Q5_K => 176,
            DType::Q6_K => 210,
        }
    }

    /// The bytes that `len` consecutive values take, or `None` where `len` is no multiple of the block or the size
    /// overflows.
    pub const fn bytes_for(self, len: usize) -> Option<usize> {
        if !len.is_multiple_of(self.block_len()) {
            return None;
        }
        (len / self.block_len()).checked_mul(self.block_bytes())
    }

    /// True where values are stored in blocks with a scale.
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// The number that ggml, and so GGUF, gives the type.
    pub const fn ggml_id(self) -> u32 {
        match self {
            DType::F32 => 0,
            DType::F16 => 1,
            DType::Q4_0 => 2,
            DType::Q4_1 => 3,
            DType::Q5_0 => 6,
            DType::Q5_1 => 7,
            DType::Q8_0 => 8,
            DType::Q2_K => 10,
            DType::Q3_K => 11,
            DType::Q4_K => 12,
            DType::Q5_K => 13,
            DType::Q6_K => 14,
            DType::BF16 => 30,
        }
    }

    /// The type with that ggml number, if it is one of ours.
    pub fn from_ggml_id(id: u32) -> Option<DType> {
        DType::ALL.into_iter().find(|t| t.ggml_id() == id)
    }

    /// The name as files and commands write it, for example `Q4_K`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            DType::Q4_0 => "Q4_0",
            DType::Q4_1 => "Q4_1",
            DType::Q5_0 => "Q5_0",
            DType::Q5_1 => "Q5_1",
            DType::Q8_0 => "Q8_0",
            DType::Q2_K => "Q2_K",
            DType::Q3_K => "Q3_K",
            DType::Q4_K => "Q4_K",
            DType::Q5_K => "Q5_K",
            DType::Q6_K => "Q6_K",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no known type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown tensor type {0:?}; known: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K"
)]
pub struct UnknownDType(pub String);

impl std::str::FromStr for DType {
    type Err = UnknownDType;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        DType::ALL
            .into_iter()
            .find(|t| t.name().eq_ignore_ascii_case(s))
            .ok_or_else(|| UnknownDType(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_the_type() {
        for t in DType::ALL {
            assert_eq!(DType::from_ggml_id(t.ggml_id()), Some(t));
            assert_eq!(t.name().to_lowercase().parse(), Ok(t));
        }
        assert_eq!(DType::from_ggml_id(9), None);
    }

    #[test]
    fn ragged_or_hostile_lengths_have_no_size() {
        assert_eq!(DType::Q4_K.bytes_for(256), Some(144));
        assert_eq!(DType::Q4_K.bytes_for(255), None);
        assert_eq!(DType::F32.bytes_for(usize::MAX), None);
    }
}
