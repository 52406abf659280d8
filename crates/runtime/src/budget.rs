//! Who has to go so that a model fits in memory.

use std::time::Instant;

/// What may be done about a model that holds memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody uses it since then: it may be unloaded.
    Idle(Instant),
    /// It is in use, last asked for or answered with then: its memory may become free, and does once it takes no more
    /// requests.
    InUse(Instant),
    /// It is being loaded: its memory may become free.
    Loading,
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

/// What is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Bytes of the budget, without those that the model holds already.
    pub budget: u64,
    /// Bytes that it needs.
    pub need: u64,
    /// Bytes that have to be left for another, whose turn it is.
    pub claimed: u64,
    /// Models in use may have to go too, once those that use them have ended.
    pub drain: bool,
}

/// How to make room for what is wanted: idle models go before those in use, least recently used ones first, and none in
/// vain.
pub(crate) fn plan(wanted: Wanted, holders: &[Holder]) -> Plan {
    let held = |which: fn(&Standing) -> bool| -> u64 {
        let matching = holders.iter().filter(|holder| which(&holder.standing));
        matching.fold(0, |sum, holder| sum.saturating_add(holder.bytes))
    };
    let fits_besides = |held: u64| wanted.budget.saturating_sub(held) >= wanted.need;
    // Who has a claim gets what is leaving, too.
    let room = |staying: u64| fits_besides(staying.saturating_add(wanted.claimed));
    let staying = held(|standing| !matches!(standing, Standing::Leaving));
    if room(staying) {
        let all = staying.saturating_add(held(|standing| *standing == Standing::Leaving));
        return match fits_besides(all) {
            true => Plan::Fits,
            false => Plan::Soon,
        };
    }
    if !fits_besides(held(|standing| *standing == Standing::Pinned)) {
        return Plan::Never;
    }
    let mut may_go: Vec<((bool, Instant), &Holder)> = holders
        .iter()
        .filter_map(|holder| match holder.standing {
            Standing::Idle(since) => Some(((false, since), holder)),
            Standing::InUse(last) if wanted.drain => Some(((true, last), holder)),
            _ => None,
        })
        .collect();
    may_go.sort_by_key(|(turn, _)| *turn);
    let mut left = staying;
    let mut victims = Vec::new();
    for (_, holder) in may_go {
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

    /// In a budget of 100 bytes.
    fn wanted(need: u64) -> Wanted {
        Wanted {
            budget: 100,
            need,
            claimed: 0,
            drain: false,
        }
    }

    fn evict(names: &[&str]) -> Plan {
        Plan::Evict(names.iter().map(|name| name.to_string()).collect())
    }

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
        let plan = |need| plan(wanted(need), &holders);
        assert_eq!(plan(10), Plan::Fits);
        assert_eq!(plan(30), evict(&["old"]));
        // The old one alone is too small, the middle one alone is enough.
        assert_eq!(plan(50), evict(&["middle"]));
        assert_eq!(plan(70), evict(&["old", "middle"]));
        assert_eq!(plan(100), evict(&["old", "middle", "new"]));
        assert_eq!(plan(101), Plan::Never);
    }

    #[test]
    fn busy_and_pinned_models_stay() {
        let idle = Standing::Idle(Instant::now());
        let holders = [
            holder("busy", 50, Standing::InUse(Instant::now())),
            holder("pinned", 30, Standing::Pinned),
            holder("idle", 10, idle),
        ];
        let plan = |need| plan(wanted(need), &holders);
        assert_eq!(plan(20), evict(&["idle"]));
        // Nothing is evicted while that alone would not help.
        assert_eq!(plan(21), Plan::Busy);
        assert_eq!(plan(70), Plan::Busy);
        assert_eq!(plan(71), Plan::Never);
    }

    #[test]
    fn models_in_use_are_drained_after_idle_ones_and_loads_are_waited_for() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let holders = [
            holder("recent", 20, Standing::InUse(at(2))),
            holder("rare", 20, Standing::InUse(at(1))),
            holder("idle", 20, Standing::Idle(at(3))),
            holder("loading", 20, Standing::Loading),
            holder("pinned", 20, Standing::Pinned),
        ];
        let drain = |need| Wanted {
            drain: true,
            ..wanted(need)
        };
        let plan = |need| plan(drain(need), &holders);
        assert_eq!(plan(20), evict(&["idle"]));
        assert_eq!(plan(40), evict(&["idle", "rare"]));
        assert_eq!(plan(60), evict(&["idle", "rare", "recent"]));
        assert_eq!(plan(80), Plan::Busy);
        assert_eq!(plan(81), Plan::Never);
    }

    #[test]
    fn memory_that_is_being_freed_is_waited_for() {
        let idle = Standing::Idle(Instant::now());
        let holders = [
            holder("leaving", 60, Standing::Leaving),
            holder("idle", 40, idle),
        ];
        assert_eq!(plan(wanted(60), &holders), Plan::Soon);
        assert_eq!(plan(wanted(61), &holders), evict(&["idle"]));
    }

    #[test]
    fn what_is_claimed_is_left() {
        let idle = Standing::Idle(Instant::now());
        let holders = [
            holder("leaving", 40, Standing::Leaving),
            holder("idle", 20, idle),
        ];
        let beside = |claimed, need| {
            let wanted = Wanted {
                claimed,
                ..wanted(need)
            };
            plan(wanted, &holders)
        };
        // The claim is met by what is leaving: nobody is held up.
        assert_eq!(beside(40, 40), Plan::Fits);
        assert_eq!(beside(70, 10), Plan::Fits);
        assert_eq!(beside(30, 50), Plan::Soon);
        assert_eq!(beside(70, 30), evict(&["idle"]));
        assert_eq!(beside(70, 31), Plan::Busy);
        assert_eq!(beside(70, 101), Plan::Never);
    }
}
