//! Against what Pillow, transformers and timm make of the same images; `oracle/vision_golden.py` made the fixtures.

use std::path::{Path, PathBuf};

use hearth_vision::{Channels, Filter, Image, ImageConfig, ImageProcessor, Target, decode, resize};
use serde_json::Value;

const FILTERS: [Filter; 6] = [
    Filter::Nearest,
    Filter::Lanczos,
    Filter::Bilinear,
    Filter::Bicubic,
    Filter::Box,
    Filter::Hamming,
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn golden() -> Value {
    serde_json::from_slice(&read("golden.json")).expect("JSON")
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("{value}")) as usize
}

/// FNV-1a of 64 bits.
fn fnv(data: &[u8]) -> String {
    let step = |value: u64, byte: &u8| (value ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", data.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[test]
fn files_are_decoded_as_pillow_does() {
    let golden = golden();
    let pixels = read("decoded.bin");
    for (name, case) in golden["decoded"].as_object().expect("cases") {
        let image = decode(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let image = image.into_channels(Channels::Rgb);
        assert_eq!(
            (image.height(), image.width()),
            (number(&case["height"]), number(&case["width"])),
            "{name}"
        );
        let want = &pixels[number(&case["at"])..][..image.pixels().len()];
        let each = image.pixels().iter().zip(want);
        let differences: Vec<u32> = each.map(|(a, b)| u32::from(a.abs_diff(*b))).collect();
        let most = differences.iter().max().copied().unwrap_or(0);
        let mean = differences.iter().sum::<u32>() as f64 / differences.len() as f64;
        // Another decoder rounds otherwise, and interpolates colors of halved resolution otherwise.
        let (bound, mean_bound) = match name.as_str() {
            "lossy.webp" => (2, 0.5),
            "rgba.png" | "gray_alpha.png" | "palette_transparent.png" | "alpha.webp" => (1, 0.5),
            name if name.ends_with(".jpg") => (4, 0.6),
            _ => (0, 0.0),
        };
        assert!(
            most <= bound && mean <= mean_bound,
            "{name}: at most {most}, {mean} on average"
        );
    }
}

#[test]
fn images_are_resized_as_pillow_does_to_the_last_bit() {
    let golden = golden();
    let source = decode(&read("rgb.png")).expect("an image");
    let cases = golden["resized"].as_array().expect("cases");
    assert_eq!(cases.len(), 72);
    for case in cases {
        let image = match case["mode"].as_str() {
            Some("L") => source.clone().into_channels(Channels::Gray),
            _ => source.clone(),
        };
        let filter = FILTERS[number(&case["resample"])];
        let (width, height) = (number(&case["size"][0]), number(&case["size"][1]));
        let resized = resize(image, width, height, filter).expect("a size");
        assert_eq!(fnv(resized.pixels()), case["fnv"], "{case}");
    }
}

#[test]
fn images_are_processed_as_transformers_and_timm_do() {
    let golden = golden();
    let source = decode(&read("rgb.png")).expect("an image");
    let values = read("processed.bin");
    let (values, _) = values.as_chunks();
    let values: Vec<f32> = values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    for case in golden["processed"].as_array().expect("cases") {
        let config: ImageConfig = serde_json::from_value(case["config"].clone()).expect("settings");
        let target = Target {
            channels: Channels::Rgb,
            channels_last: false,
            height: Some(number(&case["shape"][1])),
            width: Some(number(&case["shape"][2])),
        };
        let processor = ImageProcessor::new(&config, target)
            .unwrap_or_else(|problem| panic!("{case}: {problem}"));
        let pixels = processor.run(source.clone()).expect("it fits");
        let want = &values[number(&case["at"])..][..pixels.values.len()];
        let is_exact = case["exact"] == true;
        for (got, want) in pixels.values.iter().zip(want) {
            assert!(
                !is_exact || got.to_bits() == want.to_bits(),
                "{case}: {got} {want}"
            );
            assert!(
                (got - want).abs() <= 1e-5 * want.abs().max(1.0),
                "{case}: {got} {want}"
            );
        }
    }
}

#[test]
fn hostile_files_are_errors() {
    let names: Vec<String> = golden()["decoded"]
        .as_object()
        .expect("cases")
        .keys()
        .cloned()
        .collect();
    for name in names {
        let file = read(&name);
        for cut in (0..file.len()).step_by(7) {
            // A file without its last bytes may still have all its pixels.
            let _ = decode(&file[..cut]);
        }
        let half = decode(&file[..file.len() / 2]);
        assert!(half.is_err(), "{name} cut in half");
        let mut changed = file.clone();
        for (at, seed) in (12..file.len()).step_by(5).zip(1u32..) {
            changed[at] =
                changed[at].wrapping_add((seed.wrapping_mul(2_654_435_761) >> 13) as u8 | 1);
            let _ = decode(&changed);
            if seed % 8 == 0 {
                changed.copy_from_slice(&file);
            }
        }
    }
    for (bytes, words) in [
        (&b""[..], "0 bytes that are no JPEG, PNG or WebP"),
        (b"GIF89a..........", "no JPEG, PNG or WebP"),
        (b"\xff\xd8\xff\xe0", "no sound JPEG image"),
        (b"\x89PNG\r\n\x1a\n", "no sound PNG image"),
        (b"RIFF\x04\0\0\0WEBP", "no sound WebP image"),
    ] {
        let error = decode(bytes).expect_err("no image").to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn bombs_are_refused_by_their_size() {
    // Headers with the sizes of huge images, and next to nothing behind them.
    let mut png = read("gray.png");
    png[16..20].copy_from_slice(&16_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&16_000u32.to_be_bytes());
    let crc = png_crc(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let mut jpeg = read("gray.jpg");
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .expect("a frame");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    let mut webp = read("lossy.webp");
    webp[26..30].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    for (name, file) in [("png", png), ("jpeg", jpeg), ("webp", webp)] {
        let error = decode(&file).expect_err(name).to_string();
        assert!(error.contains("at most 33554432 pixels"), "{name}: {error}");
    }
    assert!(Image::new(usize::MAX, 2, Channels::Gray, vec![]).is_none());
}

fn png_crc(data: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            1 => crc >> 1 ^ 0xedb8_8320,
            _ => crc >> 1,
        })
    };
    !data.iter().fold(!0, step)
}
