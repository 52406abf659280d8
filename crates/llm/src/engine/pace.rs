//! What a step costs here, as measured, and how much work the next one may carry.
//!
//! While sequences decode, a step's slice of prompts is cut so that the step takes about a set time: that is how long
//! their next tokens have to wait. Where decoding alone takes longer than that, prompts still get as many rows as there
//! are decoding sequences, so that a busy engine goes on taking requests in. What is cut how has no influence on any
//! answer.

use std::time::Duration;

/// Rows of a slice of prompts while others decode, before anything is known.
const FIRST_SLICE: usize = 32;
/// Weight of the newest step in the means.
const NEWEST: f64 = 0.3;
/// Weight, in steps, of the assumption about a row's cost beside what was measured.
const ASSUMED: f64 = 0.1;
/// What a row more is assumed to cost where nothing tells: this share of a step.
const ROW_SHARE: f64 = 0.25;

/// Means of the steps' times.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    target: f64,
    /// Seconds a row, of steps that carried prompts.
    prompt_row: Option<f64>,
    decode: Line,
}

/// The time of steps that only decode, as a line over their rows: a regression in which older steps count less.
#[derive(Clone, Debug, Default)]
struct Line {
    weight: f64,
    rows: f64,
    time: f64,
    /// Sums of squares and products about the means.
    rows_rows: f64,
    rows_time: f64,
}

impl Pace {
    /// `target` is how long a step may take while sequences decode.
    pub fn new(target: Duration) -> Self {
        Self {
            target: target.as_secs_f64(),
            prompt_row: None,
            decode: Line::default(),
        }
    }

    /// Notes a step of `rows` rows, some of them prompts' or not.
    pub fn note(&mut self, rows: usize, with_prompts: bool, time: Duration) {
        let (rows, time) = (rows.max(1) as f64, time.as_secs_f64());
        if with_prompts {
            let row = time / rows;
            let mean = self.prompt_row.get_or_insert(row);
            *mean += NEWEST * (row - *mean);
        } else {
            self.decode.note(rows, time);
        }
    }

    /// Rows that prompts may have in a step beside `decoding` sequences: at least `least`, at most `most`.
    pub fn prompt_rows(&self, decoding: usize, least: usize, most: usize) -> usize {
        if decoding == 0 {
            return most;
        }
        let rows = match self.prompt_row {
            // Truncated, and NaN and infinity become numbers.
            Some(row) => ((self.target / row) as usize).saturating_sub(decoding),
            None => FIRST_SLICE,
        };
        rows.max(decoding).max(least).min(most)
    }

    /// Seconds of a step that decodes `rows` rows, and of each row more. `None` before the first step.
    pub fn decode_cost(&self, rows: usize) -> Option<(f64, f64)> {
        let line = &self.decode;
        if line.weight == 0.0 {
            return None;
        }
        let assumed = self.prompt_row.unwrap_or(ROW_SHARE * line.time);
        let row = (line.rows_time + ASSUMED * assumed) / (line.rows_rows + ASSUMED);
        let row = row.max(0.0);
        let step = line.time + row * (rows as f64 - line.rows);
        Some((step.max(row * rows as f64), row))
    }
}

impl Line {
    fn note(&mut self, rows: f64, time: f64) {
        // A step that was held up by something else says little about the next.
        let time = match self.weight > 0.0 {
            true => time.min(4.0 * self.time),
            false => time,
        };
        const KEPT: f64 = 0.97;
        self.weight = self.weight * KEPT + 1.0;
        self.rows_rows *= KEPT;
        self.rows_time *= KEPT;
        let before = rows - self.rows;
        self.rows += before / self.weight;
        self.time += (time - self.time) / self.weight;
        self.rows_rows += before * (rows - self.rows);
        self.rows_time += before * (time - self.time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(100);

    fn seconds(t: f64) -> Duration {
        Duration::from_secs_f64(t)
    }

    #[test]
    fn slices_settle_where_a_step_takes_its_time() {
        // A step costs 15 ms and 4 ms a row.
        let cost = |rows: usize| seconds(0.015 + 0.004 * rows as f64);
        let mut pace = Pace::new(TARGET);
        assert_eq!(pace.prompt_rows(0, 16, 512), 512);
        assert_eq!(pace.prompt_rows(1, 16, 512), FIRST_SLICE);
        pace.note(512, true, cost(512));
        let mut rows = 0;
        for _ in 0..20 {
            rows = 1 + pace.prompt_rows(1, 16, 512);
            assert!(cost(rows) < seconds(0.13), "{rows} rows");
            pace.note(rows, true, cost(rows));
        }
        assert!(cost(rows).abs_diff(TARGET) < seconds(0.01), "{rows} rows");
        // A machine that is slower only gets the least.
        let mut slow = Pace::new(TARGET);
        slow.note(100, true, seconds(10.0));
        assert_eq!(slow.prompt_rows(1, 16, 512), 16);
        // Nor do many that decode starve those that come.
        assert_eq!(slow.prompt_rows(32, 16, 512), 32);
        assert_eq!(slow.prompt_rows(500, 16, 12), 12);
        assert_eq!(slow.prompt_rows(0, 16, 512), 512);
    }

    #[test]
    fn what_a_row_costs_is_learned() {
        let mut pace = Pace::new(TARGET);
        assert_eq!(pace.decode_cost(1), None);
        pace.note(1, false, seconds(0.02));
        let (step, row) = pace.decode_cost(1).unwrap();
        assert!((step - 0.02).abs() < 1e-9 && row <= 0.02);
        let cost = |rows: usize| 0.018 + 0.002 * rows as f64;
        for i in 0..40 {
            let rows = [1, 1, 5, 9][i % 4];
            pace.note(rows, false, seconds(cost(rows)));
        }
        for rows in [1, 4, 8] {
            let (step, row) = pace.decode_cost(rows).unwrap();
            assert!((step - cost(rows)).abs() < 5e-4, "{rows}: {step}");
            assert!((row - 0.002).abs() < 2e-4, "{row}");
        }
        // One step that was held up is not the rule.
        pace.note(1, false, seconds(5.0));
        assert!(pace.decode_cost(1).unwrap().0 < 0.03);
    }

    #[test]
    fn before_it_is_learned_prompts_tell_a_rows_cost() {
        let mut pace = Pace::new(TARGET);
        pace.note(512, true, seconds(512.0 * 0.001));
        for _ in 0..10 {
            pace.note(1, false, seconds(0.02));
        }
        let (_, row) = pace.decode_cost(1).unwrap();
        assert!((row - 0.001).abs() < 1e-4, "{row}");
    }
}
