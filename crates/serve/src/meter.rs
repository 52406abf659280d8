//! Measurements of the machine and of this process.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Measures the machine. Processor use is a mean over the time between two looks, so the meter keeps
/// the last one.
#[derive(Debug)]
pub struct Meter(Mutex<Look>);

#[derive(Debug)]
struct Look {
    system: System,
    at: Instant,
}

/// What the meter reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Use of all processors since the last look, in percent of the whole machine.
    pub cpu_percent: f32,
    /// Memory in use on the machine, in bytes.
    pub memory_used: u64,
    /// Memory of the machine, in bytes.
    pub memory_total: u64,
    /// Memory that can still be had, in bytes.
    pub memory_available: u64,
    /// Memory of this process, in bytes; `None` where the system does not tell.
    pub process_memory: Option<u64>,
}

impl Meter {
    /// A meter whose first look is now.
    pub fn new() -> Self {
        let mut system = System::new();
        system.refresh_cpu_usage();
        Self(Mutex::new(Look {
            system,
            at: Instant::now(),
        }))
    }

    /// Reads the machine, not before processor use can be told at all, which takes a moment after the
    /// start; looks closer together than the system can tell apart give the last figure.
    pub async fn read(&self) -> Reading {
        tokio::time::sleep(self.not_before()).await;
        self.read_now()
    }

    /// How long to wait until processor use can be told at all; zero from the first reading on.
    fn not_before(&self) -> Duration {
        let look = self.look();
        match look.system.global_cpu_usage() {
            0.0 => MINIMUM_CPU_UPDATE_INTERVAL.saturating_sub(look.at.elapsed()),
            _ => Duration::ZERO,
        }
    }

    fn read_now(&self) -> Reading {
        let mut look = self.look();
        if look.at.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL {
            look.system.refresh_cpu_usage();
            look.at = Instant::now();
        }
        look.system.refresh_memory();
        let own = Pid::from_u32(std::process::id());
        look.system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[own]),
            false,
            ProcessRefreshKind::nothing().with_memory(),
        );
        Reading {
            cpu_percent: look.system.global_cpu_usage(),
            memory_used: look.system.used_memory(),
            memory_total: look.system.total_memory(),
            memory_available: look.system.available_memory(),
            process_memory: look.system.process(own).map(sysinfo::Process::memory),
        }
    }

    fn look(&self) -> MutexGuard<'_, Look> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_meter_reads_this_machine() {
        let reading = Meter::new().read().await;
        assert!((0.0..=100.0).contains(&reading.cpu_percent), "{reading:?}");
        assert!(reading.memory_used > 1 << 20, "{reading:?}");
        assert!(reading.memory_available <= reading.memory_total);
        assert!(reading.process_memory.is_some_and(|bytes| bytes > 1 << 20));
    }
}
