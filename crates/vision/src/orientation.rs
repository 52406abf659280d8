//! How a camera was held, from the Exif data of a file.
//!
//! Exif 2.32, which is TIFF 6.0: a header with the byte order, then a directory whose entries have a tag, a type, a count
//! and a value. The tag 0x0112 says with 1 to 8 which row and column of the file are the top and the left of the image.

use crate::Image;

const TAG: u16 = 0x0112;
/// The type of 16-bit numbers.
const SHORT: u16 = 3;

/// The orientation that Exif data names, 1 to 8; `None` where it names none or is broken.
pub(crate) fn of(exif: &[u8]) -> Option<u8> {
    // JPEG files have this before it.
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let is_little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(match is_little {
            true => u16::from_le_bytes(bytes),
            false => u16::from_be_bytes(bytes),
        })
    };
    let offset: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let directory = match is_little {
        true => u32::from_le_bytes(offset),
        false => u32::from_be_bytes(offset),
    };
    let directory = usize::try_from(directory).ok()?;
    for entry in 0..usize::from(short(directory)?) {
        let at = directory.checked_add(2 + 12 * entry)?;
        if short(at)? == TAG && short(at.checked_add(2)?)? == SHORT {
            let value = short(at.checked_add(8)?)?;
            return u8::try_from(value).ok().filter(|n| (1..=8).contains(n));
        }
    }
    None
}

/// The image as it was seen.
pub(crate) fn upright(image: Image, orientation: u8) -> Image {
    let (w, h) = (image.width(), image.height());
    match orientation {
        2 => image.rearranged(w, h, |x, y| (w - 1 - x, y)),
        3 => image.rearranged(w, h, |x, y| (w - 1 - x, h - 1 - y)),
        4 => image.rearranged(w, h, |x, y| (x, h - 1 - y)),
        5 => image.rearranged(h, w, |x, y| (y, x)),
        6 => image.rearranged(h, w, |x, y| (y, h - 1 - x)),
        7 => image.rearranged(h, w, |x, y| (w - 1 - y, h - 1 - x)),
        8 => image.rearranged(h, w, |x, y| (w - 1 - y, x)),
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Channels;

    #[test]
    fn orientations_are_read_in_both_byte_orders() {
        let little = b"II*\0\x08\0\0\0\x02\0\x00\x01\x03\0\x01\0\0\0\x05\0\0\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        assert_eq!(of(little), Some(6));
        let big = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0";
        assert_eq!(of(big), Some(3));
        for cut in 0..little.len() - 2 {
            assert_eq!(of(&little[..cut]), None, "{cut}");
        }
        assert_eq!(of(b"II*\0\xff\xff\xff\xff"), None);
    }

    #[test]
    fn images_are_turned() {
        // PIL: [list(ImageOps.exif_transpose(image).getdata()) for image with orientation 1..8]
        let image = || Image::new(2, 3, Channels::Gray, vec![1, 2, 3, 4, 5, 6]).unwrap();
        for (orientation, width, pixels) in [
            (1, 2, [1, 2, 3, 4, 5, 6]),
            (2, 2, [2, 1, 4, 3, 6, 5]),
            (3, 2, [6, 5, 4, 3, 2, 1]),
            (4, 2, [5, 6, 3, 4, 1, 2]),
            (5, 3, [1, 3, 5, 2, 4, 6]),
            (6, 3, [5, 3, 1, 6, 4, 2]),
            (7, 3, [6, 4, 2, 5, 3, 1]),
            (8, 3, [2, 4, 6, 1, 3, 5]),
        ] {
            let turned = upright(image(), orientation);
            assert_eq!(
                (turned.width(), turned.pixels()),
                (width, &pixels[..]),
                "{orientation}"
            );
        }
    }
}
