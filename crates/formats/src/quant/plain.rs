//! The 16-bit floats.

/// To half precision, nearest even; what is not a number becomes the quiet one of its sign.
pub(super) fn f16(x: f32) -> [u8; 2] {
    if x.is_nan() {
        let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
        return (sign | 0x7E00_u16).to_le_bytes();
    }
    half::f16::from_f32(x).to_le_bytes()
}

/// To the upper half of a single, nearest even; what is not a number stays so with the upper bits of its payload.
pub(super) fn bf16(x: f32) -> [u8; 2] {
    let bits = x.to_bits();
    let upper = if x.is_nan() {
        bits >> 16 | 0x40
    } else {
        (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    };
    (upper as u16).to_le_bytes()
}

/// Stores a factor as half precision at `at` and gives what a reader of the block will see.
pub(super) fn store_f16(block: &mut [u8], at: usize, x: f32) -> f32 {
    let bytes = f16(x);
    block[at..at + 2].copy_from_slice(&bytes);
    half::f16::from_le_bytes(bytes).to_f32()
}
