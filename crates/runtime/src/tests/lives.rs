//! How long models stay, and what their end does to requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hearth_llm::engine::Shutdown;

use super::fake::{Stage, stage};
use crate::config::RuntimeConfig;
use crate::manager::{Ask, LoadRequest};
use crate::{Error, KeepAlive, ModelSettings, ModelState, Quantize, Reason};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn kept(time: KeepAlive) -> ModelSettings {
    ModelSettings {
        keep_alive: time,
        ..ModelSettings::default()
    }
}

async fn until_gone(stage: &Stage) {
    stage
        .until("unloaded", |stage| stage.controls.held() == 0)
        .await;
}

#[tokio::test]
async fn an_idle_model_goes_after_its_time_and_is_back_for_the_next_request() {
    let config = RuntimeConfig {
        defaults: kept(KeepAlive::For(seconds(60))),
        ..RuntimeConfig::default()
    };
    let stage = stage(&[("a", 40)], config);
    let hold = stage.hold("a").await;
    stage.clock.advance(seconds(600));
    drop(hold);
    stage.clock.advance(seconds(59));
    let status = stage.manager.status("a").await.expect("a model");
    assert_eq!(status.expires_in, Some(seconds(1)));
    // A request begins the time anew.
    drop(stage.hold("a").await);
    stage.clock.advance(seconds(59));
    tokio::task::yield_now().await;
    assert_eq!(stage.loaded(), ["a"]);
    stage.clock.advance(seconds(1));
    until_gone(&stage).await;
    stage
        .until("told", |stage| {
            stage.manager.stats().models_scaled_to_zero == 1
        })
        .await;
    let stats = stage.manager.stats();
    assert_eq!((stats.scale_to_zero, stats.scale_to_zero_events), (true, 1));
    drop(stage.hold("a").await);
    let stats = stage.manager.stats();
    assert_eq!(
        (stats.models_scaled_to_zero, stats.scale_from_zero.count()),
        (0, 2)
    );
    assert_eq!(stage.controls.loads_of("a"), 2);
}

#[tokio::test]
async fn a_request_says_how_long_its_model_stays() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let ask = |keep_alive| Ask {
        keep_alive: Some(keep_alive),
        ..Ask::default()
    };
    // At once.
    let hold = stage.ask("a", ask(KeepAlive::For(Duration::ZERO))).await;
    let other = stage.hold("a").await;
    drop(hold.expect("loaded"));
    tokio::task::yield_now().await;
    assert_eq!(stage.loaded(), ["a"], "somebody uses it");
    drop(other);
    until_gone(&stage).await;
    // For ever.
    let hold = stage.ask("a", ask(KeepAlive::Forever)).await;
    drop(hold.expect("loaded"));
    stage.clock.advance(seconds(1_000_000));
    tokio::task::yield_now().await;
    assert_eq!(
        stage.manager.status("a").await.expect("a model").expires_in,
        None
    );
    assert_eq!(stage.loaded(), ["a"]);
    // A shorter time wakes who watches over it.
    let hold = stage.ask("a", ask(KeepAlive::For(seconds(5)))).await;
    drop(hold.expect("loaded"));
    stage.clock.advance(seconds(5));
    until_gone(&stage).await;
    // With the model goes what was said of it.
    drop(stage.hold("a").await);
    let expires = stage.manager.status("a").await.expect("a model").expires_in;
    assert_eq!(expires, Some(seconds(300)));
}

#[tokio::test]
async fn a_pinned_model_stays() {
    let config = RuntimeConfig {
        models: [("a", kept(KeepAlive::For(seconds(1))))]
            .map(|(name, settings)| {
                let pinned = true;
                (name.to_owned(), ModelSettings { pinned, ..settings })
            })
            .into(),
        ..RuntimeConfig::default()
    };
    let stage = stage(&[("a", 40)], config);
    drop(stage.hold("a").await);
    stage.clock.advance(seconds(1000));
    tokio::task::yield_now().await;
    assert_eq!(stage.loaded(), ["a"]);
    assert_eq!(stage.manager.stats().pinned, ["a"]);
    stage.manager.pin("a", false).await.expect("a model");
    until_gone(&stage).await;
}

#[tokio::test]
async fn an_unload_waits_for_those_who_use_the_model() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let hold = stage.hold("a").await;
    let unload = tokio::spawn({
        let manager = Arc::clone(&stage.manager);
        async move { manager.unload("a", false).await }
    });
    stage
        .until("unloading", |stage| {
            let history = stage.manager.events.history();
            history
                .last()
                .is_some_and(|e| e.state == ModelState::Unloading)
        })
        .await;
    // Who comes now is served by another load.
    let late = stage.waiter("a", Ask::default());
    stage.until_waiting("a", 1).await;
    assert_eq!(stage.controls.held(), 50);
    assert!(!unload.is_finished());
    drop(hold);
    assert_eq!(unload.await.expect("no panic"), Ok(true));
    drop(late.await.expect("no panic").expect("loaded again"));
    assert_eq!(stage.controls.loads_of("a"), 2);
    assert_eq!(stage.controls.aborted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_forced_unload_cuts_those_who_use_the_model() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let hold = stage.hold("a").await;
    assert_eq!(stage.manager.unload("a", true).await, Ok(true));
    assert_eq!(stage.controls.held(), 0);
    assert_eq!(stage.controls.aborted.load(Ordering::SeqCst), 1);
    // Its place is gone; giving it back harms nobody.
    let again = stage.hold("a").await;
    drop(hold);
    assert_eq!(
        stage.manager.status("a").await.expect("a model").in_flight,
        1
    );
    drop(again);
}

#[tokio::test]
async fn a_model_that_is_wanted_otherwise_is_loaded_anew() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let hold = stage.hold("a").await;
    let request = LoadRequest {
        quantize: Some(Quantize::Bits(8)),
        ..LoadRequest::default()
    };
    let loading = stage.manager.load("a", request).await.expect("it begins");
    assert_eq!(
        stage.manager.status("a").await.expect("a model").state,
        ModelState::Unloading
    );
    drop(hold);
    loading.wait().await.expect("loaded");
    assert_eq!(stage.controls.loads_of("a"), 2);
    assert_eq!(
        stage.manager.status("a").await.expect("a model").quantized,
        Some(true)
    );
    stage.manager.load("a", request).await.expect("as it is");
    assert_eq!(stage.controls.loads_of("a"), 2);
    let history = stage.manager.events.history();
    let reloaded = history.iter().any(|event| {
        matches!(
            &event.change,
            crate::Change::Unloaded {
                reason: Reason::Reloaded,
                ..
            }
        )
    });
    assert!(reloaded);
    let bits = LoadRequest {
        quantize: Some(Quantize::Bits(7)),
        ..LoadRequest::default()
    };
    let refused = stage.manager.load("a", bits).await.err();
    assert!(
        matches!(refused, Some(Error::InvalidInput { param: Some(param), .. }) if param == "bits")
    );
}

#[tokio::test]
async fn a_failed_engine_is_replaced() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let hold = stage.hold("a").await;
    stage.controls.broken.store(true, Ordering::SeqCst);
    drop(hold);
    until_gone(&stage).await;
    drop(stage.hold("a").await);
    assert_eq!(stage.controls.loads_of("a"), 2);
    let history = stage.manager.events.history();
    let broken = history.iter().any(|event| {
        matches!(
            &event.change,
            crate::Change::Unloaded {
                reason: Reason::Broken,
                ..
            }
        )
    });
    assert!(broken);
}

#[tokio::test]
async fn what_a_cut_request_is_told_is_said_of_its_model() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let hold = stage.hold("a").await;
    assert_eq!(stage.manager.unload("a", true).await, Ok(true));
    // The engine knows no more than that it ends.
    let told = hold.failed(Error::ShuttingDown);
    assert_eq!(told, Error::Unloaded { model: "a".into() });
    drop(hold);
    let hold = stage.hold("a").await;
    stage.manager.shutdown(Shutdown::Abort).await;
    assert_eq!(hold.failed(Error::ShuttingDown), Error::ShuttingDown);
    drop(hold);
    let metrics = stage.manager.metrics("a").expect("it was asked for");
    assert_eq!((metrics.requests, metrics.failed), (2, 2));
}

#[tokio::test]
async fn an_instance_that_starts_during_the_end_of_all_ends_too() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    drop(stage.hold("a").await);
    let open = stage.controls.gate("start of a");
    let scale = tokio::spawn({
        let manager = Arc::clone(&stage.manager);
        async move { manager.scale("a", 2).await }
    });
    stage
        .until("it starts", |stage| stage.controls.waits_at("start of a"))
        .await;
    stage.manager.shutdown(Shutdown::Drain).await;
    assert_eq!(stage.controls.held(), 40);
    drop(open);
    let scaled = scale.await.expect("no panic");
    assert_eq!(scaled, Err(Error::ShuttingDown));
    assert_eq!(stage.controls.held(), 40, "no engine is left");
    assert_eq!(
        stage.manager.scale("a", 2).await,
        Err(Error::ShuttingDown),
        "none is started any more"
    );
}

#[tokio::test]
async fn the_end_of_all() {
    let stage = stage(&[("a", 40), ("b", 40)], RuntimeConfig::default());
    let hold = stage.hold("a").await;
    let open = stage.controls.gate("b");
    let waiter = stage.waiter("b", Ask::default());
    stage.until_waiting("b", 1).await;
    stage.manager.shutdown(Shutdown::Drain).await;
    assert_eq!(
        waiter.await.expect("no panic").err(),
        Some(Error::ShuttingDown)
    );
    let late = stage.ask("a", Ask::default()).await;
    assert_eq!(late.err(), Some(Error::ShuttingDown));
    drop((hold, open));
    stage
        .until("b is given up", |stage| {
            stage.manager.loading("b").is_none()
        })
        .await;
    assert!(!stage.manager.stats().healthy);
}
