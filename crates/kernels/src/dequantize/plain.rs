//! The types without blocks.

/// Little-endian singles.
pub(super) fn f32(src: &[u8], dst: &mut [f32]) {
    for (s, d) in src.as_chunks::<4>().0.iter().zip(dst) {
        *d = f32::from_le_bytes(*s);
    }
}

/// Little-endian halves.
pub(super) fn f16(src: &[u8], dst: &mut [f32]) {
    for (s, d) in src.as_chunks::<2>().0.iter().zip(dst) {
        *d = half::f16::from_le_bytes(*s).to_f32();
    }
}

/// The upper halves of singles; exact by definition, also for what is not a number.
pub(super) fn bf16(src: &[u8], dst: &mut [f32]) {
    for (s, d) in src.as_chunks::<2>().0.iter().zip(dst) {
        *d = f32::from_bits(u32::from(u16::from_le_bytes(*s)) << 16);
    }
}
