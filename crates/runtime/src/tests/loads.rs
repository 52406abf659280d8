//! Loads: one for all who wait, followed, failed, ended.

use std::time::Duration;

use super::fake::stage;
use crate::config::RuntimeConfig;
use crate::events::ModelState;
use crate::house::Stage;
use crate::manager::{Ask, LoadRequest};
use crate::progress::LoadState;
use crate::{Change, Error};

#[tokio::test]
async fn many_wait_for_one_load() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let open = stage.controls.gate("a");
    let asked = [(); 8].map(|()| {
        let waiter = stage.waiter("a", Ask::default());
        tokio::spawn(async move { waiter.await.expect("no panic").map(drop) })
    });
    stage.until_waiting("a", 8).await;
    drop(open);
    for served in asked {
        assert_eq!(served.await.expect("no panic"), Ok(()));
    }
    assert_eq!(stage.controls.loads_of("a"), 1);
    let metrics = stage.manager.metrics("a").expect("it was asked for");
    assert_eq!((metrics.loads, metrics.queue_time.count()), (1, 8));
}

#[tokio::test]
async fn a_failed_load_answers_all_with_its_cause_and_the_next_tries_again() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    stage.controls.failing.lock().unwrap().insert("a".into());
    let open = stage.controls.gate("a");
    let waiting: Vec<_> = (0..3).map(|_| stage.waiter("a", Ask::default())).collect();
    stage.until_waiting("a", 3).await;
    drop(open);
    let cause = Error::Internal {
        message: "a is torn".into(),
    };
    for waiter in waiting {
        assert_eq!(waiter.await.expect("no panic").err(), Some(cause.clone()));
    }
    let status = stage.manager.status("a").await.expect("a model");
    assert_eq!((status.state, status.memory_bytes), (ModelState::Failed, 0));
    assert_eq!(status.error.as_deref(), Some("a is torn"));
    assert_eq!((status.metrics.failed_loads, status.metrics.failed), (1, 3));
    assert_eq!(stage.controls.held(), 0);
    stage.controls.failing.lock().unwrap().clear();
    drop(stage.hold("a").await);
    let status = stage.manager.status("a").await.expect("a model");
    assert_eq!((status.state, status.error), (ModelState::Loaded, None));
}

#[tokio::test]
async fn progress_is_told_while_it_loads() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let mut events = stage.manager.events.listen();
    let open = stage.controls.gate("a");
    let mut loading = stage
        .manager
        .load("a", LoadRequest::default())
        .await
        .expect("it begins");
    open.send(()).expect("the load waits at the gate");
    while loading.changed().await.bytes < 20 {}
    stage.clock.advance(Duration::from_secs(3));
    let progress = stage.manager.status("a").await.expect("a model").progress;
    let progress = progress.expect("it is being loaded");
    assert_eq!(
        (progress.state, progress.progress),
        (LoadState::Reading, 0.5)
    );
    assert_eq!((progress.bytes, progress.bytes_total), (20, 40));
    assert_eq!((progress.eta, progress.elapsed), (Some(3.0), 3.0));
    open.send(()).expect("the load waits at the gate");
    loading.wait().await.expect("it is loaded");

    // Whoever listened from the beginning hears of each step, however late it comes to it.
    let mut told = Vec::new();
    while told.last() != Some(&(ModelState::Loaded, 1.0)) {
        let event = events.next().await.expect("the runtime lives");
        told.push((event.state, event.progress()));
    }
    use ModelState::{Loaded, Loading};
    let steps = [
        (Loading, 0.0), // It begins,
        (Loading, 0.0), // has memory,
        (Loading, 0.5),
        (Loading, 1.0), // has read all,
        (Loading, 1.0), // starts its engine.
        (Loaded, 1.0),
    ];
    assert_eq!(told, steps);
    let again = stage.manager.load("a", LoadRequest::default()).await;
    let mut again = again.expect("it is loaded");
    assert_eq!(again.estimate(Duration::ZERO).await, Some(Duration::ZERO));
}

#[tokio::test]
async fn who_does_not_want_to_wait_that_long_is_told_how_far_it_is() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let open = stage.controls.gate("a");
    let ask = Ask {
        load_wait: Some(Duration::from_secs(30)),
        ..Ask::default()
    };
    let impatient = stage.waiter("a", ask);
    let patient = stage.waiter("a", Ask::default());
    stage.until_waiting("a", 2).await;
    open.send(()).expect("the load waits at the gate");
    let mut loading = stage.manager.loading("a").expect("it loads");
    while loading.progress().bytes < 20 {
        loading.changed().await;
    }
    stage.clock.advance(Duration::from_secs(30));
    let told = impatient.await.expect("no panic").err();
    let Some(Error::Loading {
        model,
        progress,
        retry_after,
    }) = told
    else {
        panic!("{told:?}")
    };
    assert_eq!(
        (model.as_str(), progress.bytes, progress.bytes_total),
        ("a", 20, 40)
    );
    assert_eq!(retry_after, Duration::from_secs(30));
    drop(open);
    patient.await.expect("no panic").expect("it waits on");
}

#[tokio::test]
async fn a_load_goes_on_when_those_who_wait_go_away_and_is_ended_by_an_unload() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    let open = stage.controls.gate("a");
    let waiter = stage.waiter("a", Ask::default());
    stage
        .until("it reads", |stage| stage.controls.loads_of("a") == 1)
        .await;
    waiter.abort();
    stage.until_waiting("a", 0).await;
    drop(open);
    stage.until("loaded", |stage| stage.loaded() == ["a"]).await;
    assert_eq!(stage.manager.unload("a", false).await, Ok(true));
    assert_eq!(stage.manager.unload("a", false).await, Ok(false));

    let open = stage.controls.gate("a");
    let waiter = stage.waiter("a", Ask::default());
    stage
        .until("it reads", |stage| stage.controls.loads_of("a") == 2)
        .await;
    let unload = tokio::spawn({
        let manager = std::sync::Arc::clone(&stage.manager);
        async move { manager.unload("a", false).await }
    });
    stage
        .until("the load is asked to end", |stage| {
            let house = stage.manager.lock();
            match &house.slots["a"].stage {
                Stage::Loading { report, .. } => report.is_cancelled(),
                _ => false,
            }
        })
        .await;
    let unloaded = Error::Unloaded { model: "a".into() };
    let ended = waiter.await.expect("no panic").err();
    assert_eq!(ended, Some(unloaded.clone()));
    // Who comes while the load ends is served by another.
    let loading = stage.manager.loading("a").expect("it ends");
    let late = stage.waiter("a", Ask::default());
    stage.until_waiting("a", 1).await;
    drop(open);
    assert_eq!(loading.wait().await, Err(unloaded));
    assert_eq!(unload.await.expect("no panic"), Ok(true));
    drop(late.await.expect("no panic").expect("loaded again"));
    // It is neither a failure nor a success.
    let status = stage.manager.status("a").await.expect("a model");
    assert_eq!((status.state, status.error), (ModelState::Loaded, None));
    let stats = stage.manager.stats();
    assert_eq!((stats.loads, stats.successful_loads), (3, 2));
    assert_eq!((stats.failed_loads, stats.cancelled_loads), (0, 1));
    let history = stage.manager.events.history();
    let cancelled = |event: &&crate::ModelEvent| event.change == Change::LoadCancelled;
    assert_eq!(history.iter().filter(cancelled).count(), 1);
}

#[tokio::test]
async fn unknown_models_and_aliases() {
    let config = RuntimeConfig {
        aliases: [("gpt-4o", "a"), ("lost", "gone"), ("b", "a")]
            .map(|(alias, model)| (alias.to_owned(), model.to_owned()))
            .into(),
        ..RuntimeConfig::default()
    };
    let stage = stage(&[("a", 40), ("b", 40)], config);
    let hold = stage.hold("gpt-4o").await;
    assert_eq!(hold.name(), "a");
    // A model's own name wins.
    assert_eq!(stage.hold("b").await.name(), "b");
    let refused = stage.ask("lost", Ask::default()).await.err();
    let Some(Error::NotFound { model, available }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(model, "lost");
    // Models that are built in stand beside them.
    let has = |name: &str| available.iter().any(|other| other == name);
    assert!(["a", "b", "gpt-4o"].into_iter().all(has), "{available:?}");
    assert!(!has("lost") && !has("gone"), "{available:?}");
}

#[tokio::test]
async fn events_are_kept_in_their_order() {
    let stage = stage(&[("a", 40)], RuntimeConfig::default());
    drop(stage.hold("a").await);
    stage
        .manager
        .unload("a", false)
        .await
        .expect("it was loaded");
    let history = stage.manager.events.history();
    let states: Vec<ModelState> = history.iter().map(|event| event.state).collect();
    use ModelState::{Loaded, Loading, NotLoaded, Unloading};
    assert_eq!(states, [Loading, Loaded, Unloading, NotLoaded]);
    assert!(matches!(
        history[1].change,
        Change::Loaded {
            memory_bytes: 50,
            instances: 1,
            ..
        }
    ));
}
