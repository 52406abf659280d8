//! Why an image can't be used.

/// Why an image can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The bytes are of no format that is read.
    #[error("{bytes} bytes that are no JPEG, PNG or WebP image")]
    Format {
        /// How many there are.
        bytes: usize,
    },
    /// There are more pixels than any network needs.
    #[error(
        "an image of {width}x{height} pixels; at most {most} pixels are taken, and {side} on a side",
        most = crate::MOST_PIXELS,
        side = crate::MOST_SIDE
    )]
    TooLarge {
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
    },
    /// The file is not as its format has it.
    #[error("no sound {format} image: {problem}")]
    Broken {
        /// The format.
        format: crate::Format,
        /// What its decoder says.
        problem: String,
    },
    /// The image would grow beyond all bounds when it is resized.
    #[error(
        "an image of {width}x{height} pixels would be resized to {to_width}x{to_height}, which is too large"
    )]
    Stretched {
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
        /// The width that it would have.
        to_width: usize,
        /// The height that it would have.
        to_height: usize,
    },
    /// The network takes images of one size only, and nothing says how others become so.
    #[error(
        "an image of {width}x{height} pixels; the network takes {takes_width}x{takes_height}, and nothing says how others are resized"
    )]
    Size {
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
        /// The width that is taken.
        takes_width: usize,
        /// The height that is taken.
        takes_height: usize,
    },
}
