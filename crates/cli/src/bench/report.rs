//! The figures, as a table or as JSON.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use crate::units;

/// All that one call measured.
#[derive(Serialize)]
pub struct Report {
    pub model: String,
    pub architecture: String,
    pub quantization: String,
    pub parameters: u64,
    pub weight_bytes: u64,
    pub load_seconds: f64,
    /// Memory of the process after loading; absent where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    pub cache_bytes: u64,
    pub runs: usize,
    pub machine: Machine,
    pub prefill: Prefill,
    pub decode: Vec<Decode>,
}

/// What the machine was measured to reach with the same threads.
#[derive(Serialize)]
pub struct Machine {
    pub threads: usize,
    pub cpu: &'static str,
    pub read_bandwidth_bytes_per_second: f64,
    pub int8_ops_per_second: f64,
    pub f32_flops_per_second: f64,
}

/// Reading a prompt.
#[derive(Serialize)]
pub struct Prefill {
    pub tokens: usize,
    pub tokens_per_second: f64,
    /// Of the peak of integer products where most weights are quantized, else of the f32 peak.
    pub share_of_peak: f64,
}

/// Writing `batch` answers at once.
#[derive(Serialize)]
pub struct Decode {
    pub batch: usize,
    /// Tokens that each sequence wrote.
    pub tokens: usize,
    /// Of all sequences together.
    pub tokens_per_second: f64,
    /// Bytes of weights streamed, of the read bandwidth.
    pub share_of_bandwidth: f64,
    /// Products, of the same peak as for a prompt.
    pub share_of_peak: f64,
}

impl Report {
    pub fn print(&self, json: bool) -> Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, self).map_err(std::io::Error::from)?;
            writeln!(out)?;
            return Ok(());
        }
        let machine = &self.machine;
        writeln!(
            out,
            "{}: {}, {} parameters, {}, {}",
            self.model,
            self.architecture,
            units::count(self.parameters),
            self.quantization,
            units::bytes(self.weight_bytes),
        )?;
        let resident = self.resident_bytes.map_or(String::new(), |n| {
            format!(", {} of memory in use after loading", units::bytes(n))
        });
        writeln!(
            out,
            "loaded in {} s{resident}",
            units::digits(self.load_seconds)
        )?;
        writeln!(
            out,
            "machine: {} threads, {}, reads {}, {} with integers, {} with f32\n",
            machine.threads,
            machine.cpu,
            units::rate(machine.read_bandwidth_bytes_per_second, "B/s"),
            units::rate(machine.int8_ops_per_second, "op/s"),
            units::rate(machine.f32_flops_per_second, "op/s"),
        )?;
        writeln!(out, "{:<24} {:>10}   of the machine", "", "tokens/s")?;
        writeln!(
            out,
            "{:<24} {:>10}   {:.0} % of its peak",
            format!("prefill {}", self.prefill.tokens),
            units::digits(self.prefill.tokens_per_second),
            100.0 * self.prefill.share_of_peak,
        )?;
        for decode in &self.decode {
            writeln!(
                out,
                "{:<24} {:>10}   {:.0} % of its bandwidth, {:.0} % of its peak",
                format!("decode {}, batch {}", decode.tokens, decode.batch),
                units::digits(decode.tokens_per_second),
                100.0 * decode.share_of_bandwidth,
                100.0 * decode.share_of_peak,
            )?;
        }
        writeln!(out, "\nmedian of {} runs", self.runs)?;
        Ok(())
    }
}
