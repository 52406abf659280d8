//! What the machine has.

use sysinfo::System;

/// The share of the free memory that models may take, in percent: the rest is for what is not counted.
const SHARE: u64 = 90;

/// The memory that models may take where nobody says how much: most of what is free now, on the machine and within the
/// control group of this process.
pub(crate) fn default_budget() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    let machine = system.available_memory();
    let group = system.cgroup_limits().map(|group| group.free_memory);
    group.map_or(machine, |group| group.min(machine)) / 100 * SHARE
}

/// Bytes in binary units, for messages.
pub(crate) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    match unit {
        "bytes" => format!("{bytes} bytes"),
        _ => format!("{value:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory() {
        assert!(default_budget() > 1 << 20);
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 KiB"),
            (6_273_024, "6.0 MiB"),
            (8 << 30, "8.0 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
