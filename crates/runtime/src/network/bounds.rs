//! What the texts and images of a request may come to.

use hearth_vision::MOST_PIXELS;

/// Most pixels of all images of a request. Each image takes time by its pixels, however few its bytes are.
const MOST_PIXELS_TOGETHER: usize = 8 * MOST_PIXELS;
/// Most pixels that all images of a request have once they are resized: each channel of one takes four bytes then.
const MOST_MADE_TOGETHER: usize = 2 * MOST_PIXELS;
/// Most tokens of all texts of a request, with those that fill up shorter ones.
const MOST_TOKENS_TOGETHER: usize = 4 << 20;
/// Most rows of a column of texts or images.
pub const MOST_ROWS: usize = 4096;

/// What a request may still have.
#[derive(Debug)]
pub struct Left {
    pixels: usize,
    made: usize,
    tokens: usize,
}

impl Left {
    /// All that a request may have.
    pub const ALL: Left = Left {
        pixels: MOST_PIXELS_TOGETHER,
        made: MOST_MADE_TOGETHER,
        tokens: MOST_TOKENS_TOGETHER,
    };

    /// Takes those of an image.
    ///
    /// # Errors
    /// A sentence: how many there may be.
    pub fn take_pixels(&mut self, count: usize) -> Result<(), String> {
        self.pixels = self.pixels.checked_sub(count).ok_or_else(|| {
            format!("the images of a request have at most {MOST_PIXELS_TOGETHER} pixels together")
        })?;
        Ok(())
    }

    /// Takes those that an image was made.
    ///
    /// # Errors
    /// As of [`Self::take_pixels`].
    pub fn take_made(&mut self, count: usize) -> Result<(), String> {
        self.made = self.made.checked_sub(count).ok_or_else(|| {
            format!(
                "the images of a request have at most {MOST_MADE_TOGETHER} pixels together once they are resized"
            )
        })?;
        Ok(())
    }

    /// Takes tokens.
    ///
    /// # Errors
    /// As of [`Self::take_pixels`].
    pub fn take_tokens(&mut self, count: usize) -> Result<(), String> {
        self.tokens = self.tokens.checked_sub(count).ok_or_else(|| {
            format!("the texts of a request have at most {MOST_TOKENS_TOGETHER} tokens together")
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_bounds_of_its_own() {
        let mut left = Left::ALL;
        // As many of the largest images as eight, unless they are enlarged to that.
        for _ in 0..8 {
            assert_eq!(left.take_pixels(MOST_PIXELS), Ok(()));
        }
        assert!(
            left.take_pixels(1)
                .unwrap_err()
                .contains("268435456 pixels")
        );
        for _ in 0..2 {
            assert_eq!(left.take_made(MOST_PIXELS), Ok(()));
        }
        assert!(left.take_made(1).unwrap_err().contains("67108864 pixels"));
        assert_eq!(left.take_tokens(MOST_ROWS * 1024), Ok(()));
        assert!(left.take_tokens(1).unwrap_err().contains("4194304 tokens"));
    }
}
