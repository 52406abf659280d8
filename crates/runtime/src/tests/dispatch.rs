//! Requests over instances, and those who wait for one.

use std::sync::Arc;
use std::time::Duration;

use super::fake::{Stage, stage};
use crate::config::RuntimeConfig;
use crate::manager::{Ask, Mark};
use crate::{Error, ModelSettings, Strategy};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn with(settings: ModelSettings) -> RuntimeConfig {
    RuntimeConfig {
        defaults: settings,
        ..RuntimeConfig::default()
    }
}

async fn in_flight(stage: &Stage) -> Vec<usize> {
    let status = stage.manager.status("a").await.expect("a model");
    status.instances.iter().map(|i| i.in_flight).collect()
}

#[tokio::test]
async fn three_instances_share_the_requests() {
    for strategy in [Strategy::LeastConnections, Strategy::RoundRobin] {
        let settings = ModelSettings {
            strategy,
            ..ModelSettings::default()
        };
        let stage = stage(&[("a", 40)], with(settings));
        assert_eq!(stage.manager.scale("a", 3).await, Ok(3));
        let mut holds = Vec::new();
        for _ in 0..5 {
            holds.push(stage.hold("a").await);
        }
        assert_eq!(in_flight(&stage).await, [2, 2, 1], "{strategy}");
        // The first instance becomes free; the third is next in turn.
        holds.remove(0);
        holds.remove(2);
        assert_eq!(in_flight(&stage).await, [0, 2, 1], "{strategy}");
        holds.push(stage.hold("a").await);
        let expected = match strategy {
            Strategy::LeastConnections => [1, 2, 1],
            Strategy::RoundRobin => [0, 2, 2],
        };
        assert_eq!(in_flight(&stage).await, expected, "{strategy}");
        assert_eq!(stage.controls.loads_of("a"), 1, "they share the weights");
        let status = stage.manager.status("a").await.expect("a model");
        assert_eq!((status.in_flight, status.memory_bytes), (4, 70));
        assert_eq!(stage.manager.stats().instances["a"], 3);
    }
}

#[tokio::test]
async fn who_comes_when_all_is_full_waits_and_is_served_by_priority() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let holds = [stage.hold("a").await, stage.hold("a").await];
    let served = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for (count, priority) in [0, 10, 5, 5].into_iter().enumerate() {
        let ask = Ask {
            priority: Some(priority),
            ..Ask::default()
        };
        let (waiter, served) = (stage.waiter("a", ask), Arc::clone(&served));
        waiting.push(tokio::spawn(async move {
            let hold = waiter.await.expect("no panic").expect("a place");
            served.lock().unwrap().push((priority, count));
            drop(hold);
        }));
        stage.until_waiting("a", count + 1).await;
    }
    let stats = stage.manager.stats();
    assert_eq!((stats.queue_depth, stats.active_requests), (4, 2));
    let [one, other] = holds;
    drop(one);
    for waiter in waiting {
        waiter.await.expect("no panic");
    }
    drop(other);
    assert_eq!(*served.lock().unwrap(), [(10, 1), (5, 2), (5, 3), (0, 0)]);
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let settings = ModelSettings {
        concurrency: Some(1),
        queue_limit: 1,
        ..ModelSettings::default()
    };
    let stage = stage(&[("a", 40)], with(settings));
    let hold = stage.hold("a").await;
    let waiter = stage.waiter("a", Ask::default());
    stage.until_waiting("a", 1).await;
    let refused = stage.ask("a", Ask::default()).await.err();
    assert!(matches!(
        refused,
        Some(Error::Overloaded { retry_after, .. }) if retry_after >= seconds(1)
    ));
    hold.mark(Mark::Answered);
    drop(hold);
    drop(waiter.await.expect("no panic").expect("a place"));
    let metrics = stage.manager.metrics("a").expect("it was asked for");
    // The second never asked its model for anything.
    assert_eq!(
        (metrics.requests, metrics.succeeded, metrics.refused),
        (3, 1, 2)
    );
    assert_eq!(stage.manager.series(seconds(60)).total().requests, 3);
}

#[tokio::test]
async fn a_deadline_ends_the_wait() {
    let settings = ModelSettings {
        concurrency: Some(1),
        ..ModelSettings::default()
    };
    let stage = stage(&[("a", 40)], with(settings));
    let hold = stage.hold("a").await;
    let ask = Ask {
        deadline: Some(stage.clock.now() + seconds(5)),
        ..Ask::default()
    };
    let waiter = stage.waiter("a", ask);
    stage.until_waiting("a", 1).await;
    stage.clock.advance(seconds(4));
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    stage.clock.advance(seconds(1));
    assert_eq!(waiter.await.expect("no panic").err(), Some(Error::Deadline));
    stage.until_waiting("a", 0).await;
    drop(hold);
    // Its place in the queue went with it.
    drop(stage.hold("a").await);
    assert_eq!(stage.manager.metrics("a").expect("asked for").failed, 1);
}

#[tokio::test]
async fn who_goes_away_leaves_the_queue_and_gives_its_place_back() {
    let settings = ModelSettings {
        concurrency: Some(1),
        ..ModelSettings::default()
    };
    let stage = stage(&[("a", 40)], with(settings));
    for _ in 0..50 {
        let hold = stage.hold("a").await;
        let gone = stage.waiter("a", Ask::default());
        let stays = stage.waiter("a", Ask::default());
        stage.until_waiting("a", 2).await;
        // In the same moment: the place may have been given already.
        drop(hold);
        gone.abort();
        drop(stays.await.expect("no panic").expect("a place"));
        let _ = gone.await;
    }
    let status = stage.manager.status("a").await.expect("a model");
    assert_eq!((status.in_flight, status.waiting), (0, 0));
}

#[tokio::test]
async fn long_waits_start_another_instance_and_idle_ones_end() {
    let settings = ModelSettings {
        concurrency: Some(1),
        max_instances: 2,
        scale_up_after: Some(seconds(10)),
        ..ModelSettings::default()
    };
    let stage = stage(&[("a", 40)], with(settings));
    let hold = stage.hold("a").await;
    let waiter = stage.waiter("a", Ask::default());
    stage.until_waiting("a", 1).await;
    stage.clock.advance(seconds(9));
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    stage.clock.advance(seconds(1));
    let second = waiter.await.expect("no panic").expect("an instance more");
    // No more than may be.
    let third = stage.waiter("a", Ask::default());
    stage.until_waiting("a", 1).await;
    stage.clock.advance(seconds(20));
    tokio::task::yield_now().await;
    assert_eq!(in_flight(&stage).await, [1, 1]);
    drop((hold, second));
    drop(third.await.expect("no panic").expect("a place"));
    stage.clock.advance(seconds(60));
    stage
        .until("one has ended", |stage| stage.controls.held() == 50)
        .await;
    drop(stage.hold("a").await);
    assert_eq!(stage.controls.loads_of("a"), 1);
}
