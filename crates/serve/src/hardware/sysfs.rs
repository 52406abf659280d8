//! GPUs as the Linux kernel lists them below `/sys/class/drm`.
//!
//! The files are those of the kernel's PCI and amdgpu documentation: `device/vendor` and `device/device`
//! hold hexadecimal numbers, `mem_info_vram_total` and `mem_info_vram_used` bytes, `gpu_busy_percent` a share.

use std::fs;
use std::path::Path;

use super::Gpu;

/// The GPUs below `drm`, in the order of their cards; none where there is no such folder.
pub fn gpus(drm: &Path) -> Vec<Gpu> {
    let Ok(entries) = fs::read_dir(drm) else {
        return Vec::new();
    };
    let mut cards: Vec<u32> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            // `card0-HDMI-A-1` and the like are the card's connectors.
            name.to_str()?.strip_prefix("card")?.parse().ok()
        })
        .collect();
    cards.sort_unstable();
    let read_card = |&card: &u32| read(card, &drm.join(format!("card{card}/device")));
    cards.iter().filter_map(read_card).collect()
}

/// Reads a card's folder; `None` for one that is no GPU of a known vendor, such as a virtual display.
fn read(card: u32, folder: &Path) -> Option<Gpu> {
    let text = |file: &str| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    let number = |file: &str| text(file)?.parse::<u64>().ok();
    let (vendor, title) = match text("vendor")?.as_str() {
        "0x10de" => ("nvidia", "NVIDIA"),
        "0x1002" => ("amd", "AMD"),
        "0x8086" => ("intel", "Intel"),
        _ => return None,
    };
    let name = text("product_name").filter(|name| !name.is_empty());
    let name = match name {
        Some(name) => name,
        None => format!("{title} GPU {}", text("device")?),
    };
    let memory = number("mem_info_vram_total");
    let used = number("mem_info_vram_used");
    Some(Gpu {
        id: card,
        device_id: card,
        name,
        vendor,
        architecture: "unknown".to_owned(),
        memory_bytes: memory.unwrap_or(0),
        available_bytes: memory
            .zip(used)
            .map(|(memory, used)| memory.saturating_sub(used)),
        utilization: number("gpu_busy_percent").map(|percent| percent.min(100) as f64 / 100.0),
        compute_capability: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_read_and_displays_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let card = |name: &str, files: &[(&str, &str)]| {
            let device = folder.path().join(name).join("device");
            fs::create_dir_all(&device).expect("a folder");
            for (file, text) in files {
                fs::write(device.join(file), text).expect("a file");
            }
        };
        card(
            "card1",
            &[
                ("vendor", "0x1002\n"),
                ("device", "0x73bf\n"),
                ("mem_info_vram_total", "17163091968\n"),
                ("mem_info_vram_used", "163091968\n"),
                ("gpu_busy_percent", "25\n"),
            ],
        );
        card("card0", &[("vendor", "0x1234\n"), ("device", "0x1111\n")]);
        card("card1-HDMI-A-1", &[("vendor", "0x1002\n")]);
        card("card2", &[("vendor", "0x8086\n"), ("device", "0x46a6\n")]);

        let gpus = gpus(folder.path());
        assert_eq!(gpus.len(), 2, "{gpus:?}");
        assert_eq!(
            (gpus[0].vendor, gpus[0].name.as_str()),
            ("amd", "AMD GPU 0x73bf")
        );
        assert_eq!(gpus[0].available_bytes, Some(17_000_000_000));
        assert_eq!(gpus[0].utilization, Some(0.25));
        assert_eq!(
            (gpus[1].vendor, gpus[1].memory_bytes, gpus[1].utilization),
            ("intel", 0, None)
        );
        assert!(super::gpus(&folder.path().join("none")).is_empty());
    }
}
