//! One budget over all models.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fake::{INSTANCE, Stage, stage};
use crate::config::RuntimeConfig;
use crate::manager::{Ask, LoadRequest};
use crate::progress::LoadState;
use crate::{Change, Error, KeepAlive, ModelSettings, Reason};

fn budget(memory: u64) -> RuntimeConfig {
    RuntimeConfig {
        memory: Some(memory),
        defaults: ModelSettings {
            keep_alive: KeepAlive::Forever,
            ..ModelSettings::default()
        },
        ..RuntimeConfig::default()
    }
}

fn second() -> Duration {
    Duration::from_secs(1)
}

#[tokio::test]
async fn the_least_recently_used_model_makes_room() {
    let stage = stage(&[("a", 30), ("b", 30), ("c", 30)], budget(100));
    for name in ["a", "b", "a"] {
        drop(stage.hold(name).await);
        stage.clock.advance(second());
    }
    drop(stage.hold("c").await);
    assert_eq!(stage.loaded(), ["a", "c"]);
    assert_eq!(stage.controls.held(), 80);
    assert!(stage.controls.most.load(Ordering::SeqCst) <= 100);
    let stats = stage.manager.stats();
    assert_eq!(
        (stats.evictions, stats.memory_used, stats.memory_budget),
        (1, 80, 100)
    );
    let evicted = Reason::Evicted {
        for_model: "c".into(),
    };
    let history = stage.manager.events.history();
    let gone = history.iter().find_map(|event| match &event.change {
        Change::Unloaded {
            reason,
            freed_bytes,
        } => Some((event.model.clone(), reason.clone(), *freed_bytes)),
        _ => None,
    });
    assert_eq!(gone, Some(("b".into(), evicted, 30 + INSTANCE)));
}

#[tokio::test]
async fn a_busy_model_is_never_evicted_and_its_end_makes_room() {
    let stage = stage(&[("a", 40), ("b", 40), ("c", 40)], budget(100));
    let a = stage.hold("a").await;
    let b = stage.hold("b").await;
    let c = stage.waiter("c", Ask::default());
    stage.until_waiting("c", 1).await;
    let loading = stage.manager.loading("c").expect("it waits for memory");
    tokio::task::yield_now().await;
    assert_eq!(loading.progress().state, LoadState::Queued);
    assert_eq!((stage.loaded().len(), stage.controls.loads_of("c")), (2, 0));
    drop(b);
    let c = c.await.expect("no panic").expect("there is room");
    assert_eq!(stage.loaded(), ["a", "c"]);
    drop((a, c));
    assert!(stage.controls.most.load(Ordering::SeqCst) <= 100);
}

#[tokio::test]
async fn a_pinned_model_is_never_evicted() {
    let stage = stage(&[("a", 40), ("b", 40), ("c", 40), ("d", 60)], budget(100));
    stage.manager.pin("a", true).await.expect("a model");
    for name in ["a", "b", "c"] {
        drop(stage.hold(name).await);
        stage.clock.advance(second());
    }
    assert_eq!(stage.loaded(), ["a", "c"]);
    let refused = stage.ask("d", Ask::default()).await.err();
    let Some(Error::InsufficientMemory {
        message,
        needed,
        budget,
        holders,
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!((needed, budget), (60 + INSTANCE, 100));
    assert!(holders.contains(&"a".to_owned()), "{holders:?}");
    for part in ["'d' needs 70 bytes", "100 bytes", "'a' 50 bytes"] {
        assert!(message.contains(part), "{message}");
    }
    // Nothing was unloaded in vain.
    assert_eq!(stage.loaded(), ["a", "c"]);
    let conflict = stage.manager.unload("a", false).await;
    assert!(matches!(conflict, Err(Error::Conflict { .. })));
    stage.manager.pin("a", false).await.expect("a model");
    drop(stage.hold("d").await);
    assert_eq!(stage.loaded(), ["d"]);
}

#[tokio::test]
async fn what_is_larger_than_the_budget_is_refused_at_once() {
    let stage = stage(&[("a", 95)], budget(100));
    let refused = stage.ask("a", Ask::default()).await.err();
    assert!(matches!(
        refused,
        Some(Error::InsufficientMemory { needed: 105, budget: 100, holders, .. }) if holders.is_empty()
    ));
    assert_eq!(stage.controls.held(), 0);
}

#[tokio::test]
async fn a_small_load_is_not_held_up_by_a_large_one_that_waits() {
    let sizes = [("busy", 40), ("large", 70), ("small", 20)];
    let stage = stage(&sizes, budget(100));
    let busy = stage.hold("busy").await;
    let large = stage.waiter("large", Ask::default());
    stage.until_waiting("large", 1).await;
    drop(stage.hold("small").await);
    assert_eq!(stage.loaded(), ["busy", "small"]);
    drop(busy);
    drop(large.await.expect("no panic").expect("there is room"));
    assert_eq!(stage.loaded(), ["large"]);
    assert!(stage.controls.most.load(Ordering::SeqCst) <= 100);
}

async fn until_waiting_for_memory(stage: &Stage) {
    stage
        .until("waiting for memory", |stage| {
            !stage.manager.lock().claims.is_empty()
        })
        .await;
}

#[tokio::test]
async fn a_large_load_comes_to_pass_in_the_end_however_many_small_ones_come() {
    let sizes = [("one", 30), ("other", 30), ("small", 20), ("large", 70)];
    let stage = stage(&[&sizes[..], &[("tiny", 5)]].concat(), budget(100));
    let mut busy = stage.hold("one").await;
    let large = stage.waiter("large", Ask::default());
    stage.until_waiting("large", 1).await;
    until_waiting_for_memory(&stage).await;
    // There is always somebody at one of the two, and at first small loads go first.
    for name in ["other", "one", "other"] {
        busy = stage.hold(name).await;
        stage.clock.advance(9 * second());
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.controls.loads_of("large"), 0);
    // Now it is its turn: the idle model goes, and the busy one takes no more requests.
    stage.clock.advance(3 * second());
    stage
        .until("one has gone", |stage| stage.controls.held() == 40)
        .await;
    let late = stage.waiter("other", Ask::default());
    stage.until_waiting("other", 1).await;
    assert_eq!(busy.name(), "other");
    // What leaves room for it is loaded meanwhile; what does not has to wait.
    drop(stage.hold("tiny").await);
    let small = stage.waiter("small", Ask::default());
    stage.until_waiting("small", 1).await;
    tokio::task::yield_now().await;
    assert_eq!(stage.controls.loads_of("small"), 0);
    drop(busy);
    drop(large.await.expect("no panic").expect("its turn has come"));
    // And then the others are served.
    for waiter in [late, small] {
        drop(waiter.await.expect("no panic").expect("there is room"));
    }
    assert!(stage.controls.most.load(Ordering::SeqCst) <= 100);
}

#[tokio::test]
async fn a_claim_goes_with_the_load() {
    let sizes = [("busy", 40), ("large", 70), ("small", 20)];
    let stage = stage(&sizes, budget(100));
    let busy = stage.hold("busy").await;
    let large = stage.waiter("large", Ask::default());
    stage.until_waiting("large", 1).await;
    until_waiting_for_memory(&stage).await;
    stage.clock.advance(30 * second());
    let small = stage.waiter("small", Ask::default());
    stage.until_waiting("small", 1).await;
    large.abort();
    drop(small.await.expect("no panic").expect("nobody else waits"));
    assert!(stage.manager.lock().claims.is_empty());
    drop(busy);
}

#[tokio::test]
async fn memory_is_free_before_the_next_load_begins() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let stage = stage(&names.map(|name| (name, 60)), budget(100));
    // All at once: they take turns.
    let asked = names.map(|name| {
        let waiter = stage.waiter(name, Ask::default());
        // Each goes as soon as it has been served.
        tokio::spawn(async move { waiter.await.expect("no panic").map(drop) })
    });
    for served in asked {
        assert_eq!(served.await.expect("no panic"), Ok(()));
    }
    assert!(stage.controls.most.load(Ordering::SeqCst) <= 100);
    assert_eq!(stage.manager.stats().evictions, 5);
}

#[tokio::test]
async fn instances_count_too() {
    let stage = stage(&[("a", 60), ("b", 60)], budget(100));
    assert_eq!(stage.manager.scale("a", 4).await, Ok(4));
    assert_eq!(stage.manager.stats().memory_used, 100);
    let refused = stage.manager.scale("a", 5).await.err();
    assert!(matches!(
        refused,
        Some(Error::InsufficientMemory {
            needed: INSTANCE,
            budget: 100,
            ..
        })
    ));
    assert_eq!(stage.manager.scale("a", 2).await, Ok(2));
    stage
        .until("the others have ended", |stage| stage.controls.held() == 80)
        .await;
    assert_eq!(stage.manager.stats().memory_used, 80);
    assert_eq!(stage.manager.scale("a", 0).await, Ok(0));
    assert_eq!(
        (stage.controls.held(), stage.manager.stats().memory_used),
        (0, 0)
    );
    let too_many = stage.manager.scale("a", 17).await.err();
    assert!(
        matches!(too_many, Some(Error::InvalidInput { param: Some(param), .. }) if param == "target_instances")
    );
}

#[tokio::test]
async fn a_load_that_nobody_wants_any_more_stops_waiting_for_memory() {
    let stage = stage(&[("a", 60), ("b", 60)], budget(100));
    let busy = stage.hold("a").await;
    let waiter = stage.waiter("b", Ask::default());
    stage.until_waiting("b", 1).await;
    waiter.abort();
    stage
        .until("given up", |stage| stage.manager.loading("b").is_none())
        .await;
    assert_eq!(stage.controls.loads_of("b"), 0);
    // One that was asked for by hand waits on.
    let loading = stage.manager.load("b", LoadRequest::default()).await;
    let loading = loading.expect("it begins");
    drop(busy);
    loading.wait().await.expect("there is room");
    assert_eq!(stage.loaded(), ["b"]);
}
