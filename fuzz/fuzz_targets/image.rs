//! Any bytes as an image: an error, or as many pixels as it says, which can be brought to another size.

#![no_main]

use std::panic;
use std::sync::Once;

use hearth_vision::{Filter, MOST_PIXELS, decode, resize};
use libfuzzer_sys::fuzz_target;

static BEGIN: Once = Once::new();

fuzz_target!(|data: &[u8]| {
    // The fuzzer's own hook ends the process where a decoder panics, which is caught; what is not caught ends it anyway.
    BEGIN.call_once(|| panic::set_hook(Box::new(|_| {})));
    let Ok(image) = decode(data) else {
        return;
    };
    let count = image.width() * image.height();
    assert!(count <= MOST_PIXELS);
    assert_eq!(image.pixels().len(), count * image.channels().count());
    if count <= 1 << 16 {
        resize(image, 5, 7, Filter::Bicubic).expect("a size that is none too large");
    }
});
