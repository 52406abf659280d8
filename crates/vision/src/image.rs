//! Pixels in memory.

/// How many numbers a pixel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// One, the brightness.
    Gray,
    /// Red, green and blue.
    Rgb,
}

impl Channels {
    /// The number of them.
    pub fn count(self) -> usize {
        match self {
            Channels::Gray => 1,
            Channels::Rgb => 3,
        }
    }
}

/// An image of 8 bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    channels: Channels,
    pixels: Vec<u8>,
}

impl Image {
    /// An image of these pixels, row by row from the top; `None` where they are more or fewer than that, or there are none.
    pub fn new(width: usize, height: usize, channels: Channels, pixels: Vec<u8>) -> Option<Image> {
        let size = width.checked_mul(height)?.checked_mul(channels.count())?;
        (size > 0 && size == pixels.len()).then_some(Image {
            width,
            height,
            channels,
            pixels,
        })
    }

    /// Pixels of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// What a pixel has.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// The pixels, row by row from the top, the channels of each beside each other.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The same image in other channels. Brightness is ITU-R BT.601's luma, rounded as PIL does.
    pub fn into_channels(self, channels: Channels) -> Image {
        let pixels = match (self.channels, channels) {
            (Channels::Gray, Channels::Rgb) => self.pixels.iter().flat_map(|&v| [v; 3]).collect(),
            (Channels::Rgb, Channels::Gray) => {
                let (pixels, _) = self.pixels.as_chunks();
                let luma = |&[r, g, b]: &[u8; 3]| {
                    let [r, g, b] = [r, g, b].map(u32::from);
                    ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
                };
                pixels.iter().map(luma).collect()
            }
            _ => return self,
        };
        Image {
            channels,
            pixels,
            ..self
        }
    }

    /// The image with what lies at `(x, y)` of the result taken from `from(x, y)` of this one.
    pub(crate) fn rearranged(
        &self,
        width: usize,
        height: usize,
        from: impl Fn(usize, usize) -> (usize, usize),
    ) -> Image {
        let count = self.channels.count();
        let mut pixels = Vec::with_capacity(width * height * count);
        for y in 0..height {
            for x in 0..width {
                let (from_x, from_y) = from(x, y);
                let at = (from_y * self.width + from_x) * count;
                pixels.extend_from_slice(&self.pixels[at..at + count]);
            }
        }
        Image {
            width,
            height,
            channels: self.channels,
            pixels,
        }
    }

    /// The middle of the image. Where it is smaller than that, it lies in the middle of black. A middle that begins at half a pixel
    /// begins at the one before, or `evenly` at the even one.
    pub(crate) fn center_crop(&self, width: usize, height: usize, evenly: bool) -> Image {
        let count = self.channels.count();
        let mut pixels = vec![0; width * height * count];
        let (across, down) = (
            overlap(self.width, width, evenly),
            overlap(self.height, height, evenly),
        );
        for row in 0..down.length {
            let from = ((down.from + row) * self.width + across.from) * count;
            let to = ((down.to + row) * width + across.to) * count;
            let length = across.length * count;
            pixels[to..to + length].copy_from_slice(&self.pixels[from..from + length]);
        }
        Image {
            width,
            height,
            channels: self.channels,
            pixels,
        }
    }

    /// Whether the pixels along the border are rather light than dark.
    pub(crate) fn has_light_border(&self) -> bool {
        let row = self.width * self.channels.count();
        let side = self.channels.count();
        let rows = self.pixels.chunks_exact(row);
        let (mut sum, mut count) = (0u64, 0u64);
        for (y, row) in rows.enumerate() {
            let border: [&[u8]; 2] = match y == 0 || y + 1 == self.height {
                true => [row, &[]],
                false => [&row[..side], &row[row.len() - side..]],
            };
            for value in border.into_iter().flatten() {
                sum += u64::from(*value);
                count += 1;
            }
        }
        2 * sum > 255 * count
    }

    /// The negative.
    pub(crate) fn inverted(mut self) -> Image {
        self.pixels
            .iter_mut()
            .for_each(|value| *value = 255 - *value);
        self
    }
}

/// What a line of `length` pixels has of a line's middle, and where that lies.
struct Overlap {
    from: usize,
    to: usize,
    length: usize,
}

fn overlap(has: usize, wants: usize, evenly: bool) -> Overlap {
    let half = |rest: usize| match evenly && rest % 4 == 3 {
        true => rest.div_ceil(2),
        false => rest / 2,
    };
    match has >= wants {
        true => Overlap {
            from: half(has - wants),
            to: 0,
            length: wants,
        },
        false => Overlap {
            from: 0,
            to: (wants - has) / 2,
            length: has,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_cut_out_or_laid_on_black() {
        let image = Image::new(4, 2, Channels::Gray, (1..=8).collect()).unwrap();
        let crop = |width, height, evenly| image.center_crop(width, height, evenly);
        assert_eq!(crop(2, 2, false).pixels(), [2, 3, 6, 7]);
        assert_eq!(crop(1, 1, false).pixels(), [2]);
        assert_eq!(crop(1, 1, true).pixels(), [3]);
        assert_eq!(crop(3, 1, true).pixels(), [1, 2, 3]);
        let wide = crop(2, 4, false);
        assert_eq!(wide.pixels(), [0, 0, 2, 3, 6, 7, 0, 0]);
        assert_eq!(Image::new(2, 2, Channels::Rgb, vec![0; 11]), None);
        assert_eq!(Image::new(0, 2, Channels::Rgb, vec![]), None);
    }

    #[test]
    fn borders_are_light_or_dark() {
        let mut pixels = vec![255; 9];
        pixels[4] = 0;
        let ink = Image::new(3, 3, Channels::Gray, pixels).unwrap();
        assert!(ink.has_light_border());
        assert!(!ink.inverted().has_light_border());
        let dot = Image::new(1, 1, Channels::Rgb, vec![9; 3]).unwrap();
        assert!(!dot.has_light_border());
    }
}
