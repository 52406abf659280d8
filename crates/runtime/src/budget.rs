//! Who has to go so that a model fits in memory.

use std::time::Instant;

/// What may be done about a model that holds memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody uses it since then: it may be unloaded.
    Idle(Instant),
    /// It is in use, or being loaded: its memory may become free.
    Busy,
    /// It is being unloaded: its memory will be free.
    Leaving,
    /// It must stay.
    Pinned,
}

/// A model that holds memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub name: String,
    pub bytes: u64,
    pub standing: Standing,
}

/// What to do so that something fits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: it fits.
    Fits,
    /// Unload these, then wait for their memory.
    Evict(Vec<String>),
    /// Wait for memory that is being freed already.
    Soon,
    /// Wait until somebody is idle.
    Busy,
    /// It will not fit as long as what is pinned stays.
    Never,
}

/// How to make room for `need` bytes within `budget`, least recently used models going first, and none in vain.
pub(crate) fn plan(budget: u64, need: u64, holders: &[Holder]) -> Plan {
    let held = |wanted: fn(&Standing) -> bool| -> u64 {
        let matching = holders.iter().filter(|holder| wanted(&holder.standing));
        matching.fold(0, |sum, holder| sum.saturating_add(holder.bytes))
    };
    let room = |held: u64| budget.saturating_sub(held) >= need;
    let staying = held(|standing| !matches!(standing, Standing::Leaving));
    if room(staying.saturating_add(held(|standing| *standing == Standing::Leaving))) {
        return Plan::Fits;
    }
    if !room(held(|standing| *standing == Standing::Pinned)) {
        return Plan::Never;
    }
    if room(staying) {
        return Plan::Soon;
    }
    let mut idle: Vec<(Instant, &Holder)> = holders
        .iter()
        .filter_map(|holder| match holder.standing {
            Standing::Idle(since) => Some((since, holder)),
            _ => None,
        })
        .collect();
    idle.sort_by_key(|(since, _)| *since);
    let mut left = staying;
    let mut victims = Vec::new();
    for (_, holder) in idle {
        if room(left) {
            break;
        }
        left -= holder.bytes.min(left);
        victims.push(holder);
    }
    if !room(left) {
        return Plan::Busy;
    }
    // A large one may have made the small ones before it needless.
    victims.retain(|victim| {
        let with = left.saturating_add(victim.bytes);
        let needless = room(with);
        if needless {
            left = with;
        }
        !needless
    });
    Plan::Evict(victims.iter().map(|victim| victim.name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn holder(name: &str, bytes: u64, standing: Standing) -> Holder {
        Holder {
            name: name.into(),
            bytes,
            standing,
        }
    }

    #[test]
    fn least_recently_used_models_go_first_and_none_in_vain() {
        let start = Instant::now();
        let idle = |s| Standing::Idle(start + Duration::from_secs(s));
        let holders = [
            holder("new", 30, idle(3)),
            holder("old", 20, idle(1)),
            holder("middle", 40, idle(2)),
        ];
        let evict = |names: &[&str]| Plan::Evict(names.iter().map(|n| n.to_string()).collect());
        assert_eq!(plan(100, 10, &holders), Plan::Fits);
        assert_eq!(plan(100, 30, &holders), evict(&["old"]));
        // The old one alone is too small, the middle one alone is enough.
        assert_eq!(plan(100, 50, &holders), evict(&["middle"]));
        assert_eq!(plan(100, 70, &holders), evict(&["old", "middle"]));
        assert_eq!(plan(100, 100, &holders), evict(&["old", "middle", "new"]));
        assert_eq!(plan(100, 101, &holders), Plan::Never);
    }

    #[test]
    fn busy_and_pinned_models_stay() {
        let idle = Standing::Idle(Instant::now());
        let holders = [
            holder("busy", 50, Standing::Busy),
            holder("pinned", 30, Standing::Pinned),
            holder("idle", 10, idle),
        ];
        assert_eq!(plan(100, 20, &holders), Plan::Evict(vec!["idle".into()]));
        // Nothing is evicted while that alone would not help.
        assert_eq!(plan(100, 21, &holders), Plan::Busy);
        assert_eq!(plan(100, 70, &holders), Plan::Busy);
        assert_eq!(plan(100, 71, &holders), Plan::Never);
    }

    #[test]
    fn memory_that_is_being_freed_is_waited_for() {
        let idle = Standing::Idle(Instant::now());
        let holders = [
            holder("leaving", 60, Standing::Leaving),
            holder("idle", 40, idle),
        ];
        assert_eq!(plan(100, 60, &holders), Plan::Soon);
        assert_eq!(plan(100, 61, &holders), Plan::Evict(vec!["idle".into()]));
    }
}
