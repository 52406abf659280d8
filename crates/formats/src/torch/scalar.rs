//! The element types of tensors.

use serde::Deserialize;

/// An element type, by the numbers that exported programs write.
///
/// Source: `ScalarType` in `torch/_export/serde/schema.py`, the same from PyTorch 2.5 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "u8")]
#[allow(missing_docs)]
pub enum ScalarType {
    Byte,
    Char,
    Short,
    Int,
    Long,
    Half,
    Float,
    Double,
    ComplexHalf,
    ComplexFloat,
    ComplexDouble,
    Bool,
    BFloat16,
    UInt16,
    Float8E4M3FN,
    Float8E5M2,
    Float8E4M3FNUZ,
    Float8E5M2FNUZ,
    Float8E8M0FNU,
    UInt32,
    UInt64,
}

impl ScalarType {
    /// The size of an element in bytes.
    pub const fn bytes(self) -> usize {
        use ScalarType::*;
        match self {
            Byte | Char | Bool | Float8E4M3FN | Float8E5M2 | Float8E4M3FNUZ | Float8E5M2FNUZ
            | Float8E8M0FNU => 1,
            Short | Half | BFloat16 | UInt16 => 2,
            Int | Float | ComplexHalf | UInt32 => 4,
            Long | Double | ComplexFloat | UInt64 => 8,
            ComplexDouble => 16,
        }
    }

    /// Whether elements are real floating-point numbers.
    pub const fn is_float(self) -> bool {
        use ScalarType::*;
        matches!(self, Half | BFloat16 | Float | Double)
    }

    /// The type of a number in TorchScript's code, which counts as C++ does.
    ///
    /// Source: `c10/core/ScalarType.h`.
    pub fn of_code(number: i64) -> Option<ScalarType> {
        use ScalarType::*;
        Some(match number {
            0 => Byte,
            1 => Char,
            2 => Short,
            3 => Int,
            4 => Long,
            5 => Half,
            6 => Float,
            7 => Double,
            8 => ComplexHalf,
            9 => ComplexFloat,
            10 => ComplexDouble,
            11 => Bool,
            15 => BFloat16,
            27 => UInt16,
            28 => UInt32,
            29 => UInt64,
            _ => return None,
        })
    }

    /// The type that PyTorch calls `name`, such as `float32`.
    pub fn of_name(name: &str) -> Option<ScalarType> {
        use ScalarType::*;
        Some(match name {
            "uint8" => Byte,
            "int8" => Char,
            "int16" => Short,
            "int32" => Int,
            "int64" => Long,
            "float16" => Half,
            "float32" => Float,
            "float64" => Double,
            "bool" => Bool,
            "bfloat16" => BFloat16,
            "uint16" => UInt16,
            "uint32" => UInt32,
            "uint64" => UInt64,
            "complex32" => ComplexHalf,
            "float8_e4m3fn" => Float8E4M3FN,
            "float8_e5m2" => Float8E5M2,
            "float8_e4m3fnuz" => Float8E4M3FNUZ,
            "float8_e5m2fnuz" => Float8E5M2FNUZ,
            "float8_e8m0fnu" => Float8E8M0FNU,
            _ => return None,
        })
    }

    /// Its number in TorchScript's code; `None` for types that have none there.
    pub fn code(self) -> Option<i64> {
        (0..=29).find(|&number| ScalarType::of_code(number) == Some(self))
    }

    /// The type whose storages `torch.save` calls `name`, such as `FloatStorage`.
    pub(crate) fn of_storage(name: &str) -> Option<ScalarType> {
        use ScalarType::*;
        Some(match name {
            "ByteStorage" => Byte,
            "CharStorage" => Char,
            "ShortStorage" => Short,
            "IntStorage" => Int,
            "LongStorage" => Long,
            "HalfStorage" => Half,
            "FloatStorage" => Float,
            "DoubleStorage" => Double,
            "ComplexFloatStorage" => ComplexFloat,
            "ComplexDoubleStorage" => ComplexDouble,
            "BoolStorage" => Bool,
            "BFloat16Storage" => BFloat16,
            _ => return None,
        })
    }
}

impl TryFrom<u8> for ScalarType {
    type Error = String;

    fn try_from(number: u8) -> Result<ScalarType, String> {
        use ScalarType::*;
        Ok(match number {
            1 => Byte,
            2 => Char,
            3 => Short,
            4 => Int,
            5 => Long,
            6 => Half,
            7 => Float,
            8 => Double,
            9 => ComplexHalf,
            10 => ComplexFloat,
            11 => ComplexDouble,
            12 => Bool,
            13 => BFloat16,
            28 => UInt16,
            29 => Float8E4M3FN,
            30 => Float8E5M2,
            31 => Float8E4M3FNUZ,
            32 => Float8E5M2FNUZ,
            33 => Float8E8M0FNU,
            34 => UInt32,
            35 => UInt64,
            _ => return Err(format!("{number} is no scalar type")),
        })
    }
}
