//! Which of a model's instances takes a request.

use std::str::FromStr;

use serde::Serialize;

/// How requests are spread over a model's instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The one with the fewest requests.
    #[default]
    LeastConnections,
    /// Each in turn.
    RoundRobin,
}

impl Strategy {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastConnections => "least_connections",
            Self::RoundRobin => "round_robin",
        }
    }

    /// The index of the instance that takes the next request, of those with fewer than `limit` requests; `None` where
    /// all are full. `turn` counts the requests that were given out.
    pub(crate) fn pick(self, in_flight: &[usize], limit: usize, turn: &mut usize) -> Option<usize> {
        let has_room = |index: &usize| in_flight[*index] < limit;
        let count = in_flight.len();
        let first = turn.checked_rem(count)?;
        // From the next in turn on, so that equals take turns too.
        let mut in_turn = (first..count).chain(0..first).filter(has_room);
        let picked = match self {
            Self::RoundRobin => in_turn.next(),
            Self::LeastConnections => in_turn.min_by_key(|index| in_flight[*index]),
        }?;
        *turn = picked + 1;
        Some(picked)
    }
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A strategy that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected least_connections or round_robin")]
pub struct StrategyError;

impl FromStr for Strategy {
    type Err = StrategyError;

    fn from_str(text: &str) -> Result<Self, StrategyError> {
        let all = [Self::LeastConnections, Self::RoundRobin];
        all.into_iter()
            .find(|strategy| strategy.name() == text)
            .ok_or(StrategyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(strategy: Strategy, mut in_flight: Vec<usize>, limit: usize) -> Vec<usize> {
        let mut turn = 0;
        std::iter::from_fn(|| {
            let index = strategy.pick(&in_flight, limit, &mut turn)?;
            in_flight[index] += 1;
            Some(index)
        })
        .collect()
    }

    #[test]
    fn requests_are_spread_until_all_instances_are_full() {
        use Strategy::{LeastConnections, RoundRobin};
        assert_eq!(
            picks(LeastConnections, vec![2, 0, 1], 3),
            [1, 2, 1, 2, 0, 1]
        );
        assert_eq!(picks(RoundRobin, vec![2, 0, 1], 3), [0, 1, 2, 1, 2, 1]);
        assert_eq!(
            picks(LeastConnections, vec![0, 0, 0], 2),
            [0, 1, 2, 0, 1, 2]
        );
        assert!(picks(RoundRobin, vec![], 2).is_empty());
    }

    #[test]
    fn names_are_read_back() {
        for strategy in [Strategy::LeastConnections, Strategy::RoundRobin] {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
            assert_eq!(serde_json::json!(strategy), strategy.name());
        }
        assert_eq!("random".parse::<Strategy>(), Err(StrategyError));
    }
}
