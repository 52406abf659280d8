//! The runtime with the built-in models.

use std::path::Path;
use std::sync::Arc;

use hearth_hub::catalog::{Catalog, CatalogConfig};
use hearth_runtime::{
    Ask, Error, Event, Figures, FinishReason, GenerateRequest, KeepAlive, LoadRequest, LoadState,
    ModelKind, ModelSettings, ModelState, Quantize, Runtime, RuntimeConfig, SamplingParams,
    Shutdown,
};
use serde_json::{Map, json};

fn runtime(config: CatalogConfig) -> Arc<Runtime> {
    let catalog = Catalog::new(config).expect("the models can be listed");
    Runtime::new(catalog, RuntimeConfig::default())
}

fn built_in_file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ember.gguf")
}

#[tokio::test]
async fn a_model_is_loaded_once_and_stays() {
    let runtime = runtime(CatalogConfig::default());
    assert_eq!(runtime.loaded(), []);
    let [one, other] = [(); 2].map(|()| {
        let runtime = Arc::clone(&runtime);
        tokio::spawn(async move {
            let ask = Ask::default();
            runtime.text("ember", ask).await.expect("built in")
        })
    });
    let (one, other) = (one.await.expect("no panic"), other.await.expect("no panic"));
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(one.model(), "ember");
    let loaded = runtime.loaded();
    assert_eq!(loaded.len(), 1);
    assert_eq!(
        (loaded[0].name.as_str(), loaded[0].kind, loaded[0].running),
        ("ember", ModelKind::Text, true)
    );
}

#[tokio::test]
async fn a_chat_becomes_tokens_and_tokens_become_text() {
    let runtime = runtime(CatalogConfig::default());
    let service = runtime
        .text("ember", Ask::default())
        .await
        .expect("built in");
    let messages = vec![json!({"role": "user", "content": "Hello!"})];
    let prompt = service
        .chat_prompt(messages, Map::new())
        .await
        .expect("a plain chat");
    assert_eq!(
        prompt.stop,
        Vec::<String>::new(),
        "the model has a template of its own"
    );
    assert!(service.decode(&prompt.tokens).contains("Hello!"));

    let mut request = GenerateRequest::new(prompt.tokens);
    request.sampling = SamplingParams::greedy();
    request.max_tokens = 4;
    let mut generation = service.generate(request).expect("admitted");
    let mut tokens = 0;
    loop {
        match generation.next().await.expect("an end comes first") {
            Event::Token { tokens: new, .. } => tokens += new.len(),
            Event::Finished { reason, usage, .. } => {
                assert!([FinishReason::Stop, FinishReason::Length].contains(&reason));
                assert!(tokens <= usage.completion_tokens && usage.completion_tokens <= 4);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_very_long_text_is_refused_before_it_is_tokenized() {
    let runtime = runtime(CatalogConfig::default());
    let service = runtime
        .text("ember", Ask::default())
        .await
        .expect("built in");
    let text = "rain ".repeat(4 << 20);
    let refused = service
        .tokenize(text.clone())
        .await
        .expect_err("twenty megabytes");
    let Error::ContextLength {
        prompt_tokens,
        exact,
        context_length,
    } = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(context_length, service.context_length());
    assert!(prompt_tokens > context_length && !exact);
    let messages = vec![json!({"role": "user", "content": text})];
    let refused = service.chat_prompt(messages, Map::new()).await;
    assert!(matches!(
        refused,
        Err(Error::ContextLength { exact: false, .. })
    ));
}

#[tokio::test]
async fn models_of_the_other_kind_are_refused_unloaded() {
    let runtime = runtime(CatalogConfig::default());
    let refused = runtime
        .text("ember-embed", Ask::default())
        .await
        .err()
        .expect("it makes embeddings");
    assert!(matches!(refused, Error::InvalidInput { param: Some(param), .. } if param == "model"));
    let refused = runtime
        .embedding("ember", Ask::default())
        .await
        .err()
        .expect("it generates text");
    assert!(matches!(refused, Error::InvalidInput { param: Some(param), .. } if param == "model"));
    assert_eq!(runtime.loaded(), []);
}

#[tokio::test]
async fn an_unknown_name_is_answered_with_the_known_ones() {
    let runtime = runtime(CatalogConfig::default());
    let expected = Error::NotFound {
        model: "gpt-5".into(),
        available: ["ember", "ember-embed", "digits", "example"]
            .map(String::from)
            .to_vec(),
    };
    assert_eq!(
        runtime.text("gpt-5", Ask::default()).await.err(),
        Some(expected.clone())
    );
    assert_eq!(runtime.model("gpt-5").await.err(), Some(expected));
}

#[tokio::test]
async fn a_broken_file_is_told_and_a_repaired_one_is_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.gguf");
    let whole = std::fs::read(built_in_file()).expect("the built-in model's file");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let runtime = runtime(CatalogConfig {
        models_dir: Some(folder.path().to_owned()),
        ..CatalogConfig::default()
    });
    let error = runtime
        .text("mine", Ask::default())
        .await
        .err()
        .expect("half a file is no model");
    let Error::Internal { message } = &error else {
        panic!("{error:?}")
    };
    assert!(
        message.contains("mine.gguf"),
        "the file is named: {message}"
    );
    std::fs::write(&path, &whole).expect("written");
    runtime
        .text("mine", Ask::default())
        .await
        .expect("a later request tries again");
}

#[tokio::test]
async fn texts_become_vectors() {
    let runtime = runtime(CatalogConfig::default());
    let service = runtime
        .embedding("ember-embed", Ask::default())
        .await
        .expect("built in");
    let tokens = service
        .tokenize("Hello world".into())
        .await
        .expect("a text");
    let vectors = service
        .embed(vec![tokens.clone(), tokens], None)
        .await
        .expect("two inputs");
    assert_eq!(vectors[0], vectors[1]);
    assert_eq!(vectors[0].len(), service.dimensions());
    let empty = service
        .embed(vec![vec![]], None)
        .await
        .expect_err("no tokens");
    assert!(matches!(empty, Error::InvalidInput { param: Some(param), .. } if param == "input"));
}

#[tokio::test]
async fn a_drained_runtime_finishes_what_runs_and_takes_nothing_more() {
    let runtime = runtime(CatalogConfig::default());
    let service = runtime
        .text("ember", Ask::default())
        .await
        .expect("built in");
    let mut request = GenerateRequest::new(service.tokenize("Hello".into()).await.expect("a text"));
    request.max_tokens = 20;
    request.ignore_eos = true;
    let mut generation = service.generate(request.clone()).expect("admitted");
    runtime.shutdown(Shutdown::Drain).await;
    let mut last = None;
    while let Some(event) = generation.next().await {
        last = Some(event);
    }
    assert!(
        matches!(
            last,
            Some(Event::Finished {
                reason: FinishReason::Length,
                ..
            })
        ),
        "{last:?}"
    );
    assert_eq!(service.generate(request).err(), Some(Error::ShuttingDown));
    assert_eq!(
        runtime.text("ember", Ask::default()).await.err(),
        Some(Error::ShuttingDown)
    );
    assert!(!runtime.loaded()[0].running);
}

/// Generates a few tokens to the end.
async fn generate(runtime: &Runtime, ask: Ask) -> usize {
    let service = runtime.text("ember", ask).await.expect("built in");
    let tokens = service.tokenize("Hello".into()).await.expect("a text");
    let mut request = GenerateRequest::new(tokens);
    request.max_tokens = 8;
    request.ignore_eos = true;
    let mut generation = service.generate(request).expect("admitted");
    loop {
        match generation.next().await.expect("an end comes first") {
            Event::Finished { usage, .. } => return usage.completion_tokens,
            Event::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_a_model_takes_is_predicted_from_its_headers() {
    let runtime = runtime(CatalogConfig::default());
    for name in ["ember", "ember-embed"] {
        let loading = runtime.load(name, LoadRequest::default()).await;
        loading.expect("built in").wait().await.expect("it fits");
        let status = runtime.status(name).await.expect("built in");
        let (info, taken) = (status.info.expect("loaded"), status.memory_bytes);
        assert!(taken > info.weight_bytes && info.memory_bytes > info.weight_bytes / 2);
        assert_eq!(runtime.stats().memory_used, taken);
        runtime.unload(name, false).await.expect("it was loaded");
        // As much memory as it was measured to take is enough; less than the weights is not.
        let too_little = info.memory_bytes / 2;
        for (memory, fits) in [(taken + taken / 20, true), (too_little, false)] {
            let catalog = Catalog::new(CatalogConfig::default()).expect("built in");
            let config = RuntimeConfig {
                memory: Some(memory),
                ..RuntimeConfig::default()
            };
            let small = Runtime::new(catalog, config);
            let loading = small.load(name, LoadRequest::default()).await;
            let loaded = loading.expect("it begins").wait().await;
            assert_eq!(
                loaded.is_ok(),
                fits,
                "{name} in {memory} of {taken}: {loaded:?}"
            );
            if let Err(error) = loaded {
                assert!(
                    matches!(error, Error::InsufficientMemory { .. }),
                    "{error:?}"
                );
            }
            assert!(small.stats().memory_used <= memory);
        }
    }
}

#[tokio::test]
async fn a_cache_is_made_smaller_where_only_that_fits() {
    let whole = runtime(CatalogConfig::default());
    let loading = whole.load("ember", LoadRequest::default()).await;
    loading.expect("built in").wait().await.expect("it fits");
    let taken = whole.stats().memory_used;
    let catalog = Catalog::new(CatalogConfig::default()).expect("built in");
    let config = RuntimeConfig {
        memory: Some(taken / 2),
        ..RuntimeConfig::default()
    };
    let small = Runtime::new(catalog, config);
    assert_eq!(generate(&small, Ask::default()).await, 8);
    assert!(small.stats().memory_used <= taken / 2);
    let blocks = |runtime: &Runtime| match &runtime.loaded()[0].figures {
        Some(Figures::Text(figures)) => figures.cache_blocks_total,
        other => panic!("{other:?}"),
    };
    assert!(blocks(&small) < blocks(&whole));
}

#[tokio::test]
async fn a_lease_and_what_was_made_from_it_hold_the_model() {
    let runtime = runtime(CatalogConfig::default());
    let service = runtime
        .text("ember", Ask::default())
        .await
        .expect("built in");
    let mut request = GenerateRequest::new(service.tokenize("Hello".into()).await.expect("a text"));
    request.max_tokens = 200;
    request.ignore_eos = true;
    let mut generation = service.generate(request).expect("admitted");
    drop(service);
    let unload = tokio::spawn({
        let runtime = Arc::clone(&runtime);
        async move { runtime.unload("ember", false).await }
    });
    let mut tokens = 0;
    let mut events = runtime.events();
    while let Some(event) = generation.next().await {
        match event {
            Event::Token { tokens: new, .. } => tokens += new.len(),
            Event::Finished { reason, .. } => assert_eq!(reason, FinishReason::Length),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tokens, 200);
    assert!(!unload.is_finished());
    drop(generation);
    assert_eq!(unload.await.expect("no panic"), Ok(true));
    while events.next().await.expect("it goes").state != ModelState::NotLoaded {}
    assert_eq!(runtime.stats().memory_used, 0);
}

#[tokio::test]
async fn requests_are_counted_with_their_tokens() {
    let runtime = runtime(CatalogConfig::default());
    assert_eq!(runtime.metrics("ember"), None);
    for _ in 0..3 {
        generate(&runtime, Ask::default()).await;
    }
    // One that is dropped in the middle, and one that is refused.
    let service = runtime
        .text("ember", Ask::default())
        .await
        .expect("built in");
    let tokens = service.tokenize("Hello".into()).await.expect("a text");
    drop(service.generate(GenerateRequest::new(tokens)));
    drop(service);
    let service = runtime
        .text("ember", Ask::default())
        .await
        .expect("built in");
    assert!(service.generate(GenerateRequest::new(vec![])).is_err());
    drop(service);
    let status = runtime.status("ember").await.expect("built in");
    let metrics = status.metrics;
    assert_eq!((metrics.requests, metrics.succeeded), (5, 3));
    assert_eq!(
        (metrics.cancelled, metrics.refused, metrics.failed),
        (1, 1, 0)
    );
    assert_eq!((metrics.tokens_out, metrics.latency.count()), (24, 3));
    assert_eq!(metrics.time_to_first_token.count(), 3);
    assert_eq!(metrics.time_per_token.count(), 3);
    assert!(metrics.tokens_per_second.is_some_and(|rate| rate > 0.0));
    assert!(status.last_used >= status.loaded_at && status.load_time.is_some());
    let total = runtime.series(std::time::Duration::from_secs(300)).total();
    assert_eq!(
        (total.requests, total.tokens_out, total.tokens_in),
        (5, 24, metrics.tokens_in)
    );
    assert_eq!(total.memory_bytes, status.memory_bytes);
}

#[tokio::test]
async fn three_instances_of_a_model_answer_alike() {
    let runtime = runtime(CatalogConfig::default());
    assert_eq!(runtime.scale("ember", 3).await, Ok(3));
    let before = runtime.stats().memory_used;
    let asked = (0..6).map(|_| {
        let runtime = Arc::clone(&runtime);
        tokio::spawn(async move { generate(&runtime, Ask::default()).await })
    });
    for answer in asked.collect::<Vec<_>>() {
        assert_eq!(answer.await.expect("no panic"), 8);
    }
    let status = runtime.status("ember").await.expect("built in");
    let served: Vec<u64> = status.instances.iter().map(|i| i.requests).collect();
    assert_eq!((served.iter().sum::<u64>(), served.len()), (6, 3));
    assert!(served.iter().all(|&requests| requests > 0), "{served:?}");
    assert_eq!(runtime.scale("ember", 1).await, Ok(1));
    assert!(runtime.stats().memory_used < before);
}

#[tokio::test]
async fn weights_are_made_smaller_when_asked_for() {
    let runtime = runtime(CatalogConfig::default());
    let load = async |quantize| {
        let request = LoadRequest {
            quantize: Some(quantize),
            ..LoadRequest::default()
        };
        let loading = runtime.load("ember", request).await.expect("built in");
        loading.wait().await.expect("it fits");
        let status = runtime.status("ember").await.expect("built in");
        (
            status.metrics.loads,
            status.info.expect("loaded").memory_bytes,
        )
    };
    let (loads, eight) = load(Quantize::Bits(8)).await;
    assert_eq!(loads, 1);
    // It is stored in 8 bits.
    assert_eq!(load(Quantize::No).await, (1, eight));
    let (loads, four) = load(Quantize::Bits(4)).await;
    assert!(loads == 2 && four < eight);
    assert_eq!(generate(&runtime, Ask::default()).await, 8);
}

#[tokio::test]
async fn aliases_are_listed_and_resolved() {
    let catalog = Catalog::new(CatalogConfig::default()).expect("built in");
    let aliases = [
        ("gpt-4o", "ember"),
        ("text-embedding-3-small", "ember-embed"),
        ("x", "y"),
    ];
    let config = RuntimeConfig {
        aliases: aliases.map(|(a, m)| (a.to_owned(), m.to_owned())).into(),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(catalog, config);
    let models = runtime.models().await.expect("built in");
    let names: Vec<(&str, Option<&str>)> = models
        .iter()
        .map(|model| (model.name.as_str(), model.alias_of.as_deref()))
        .collect();
    let expected = [
        ("ember", None),
        ("ember-embed", None),
        ("digits", None),
        ("example", None),
        ("gpt-4o", Some("ember")),
        ("text-embedding-3-small", Some("ember-embed")),
    ];
    assert_eq!(names, expected);
    let lease = runtime.text("gpt-4o", Ask::default()).await.expect("ember");
    assert_eq!(lease.model(), "ember");
    assert_eq!(runtime.resolve("gpt-4o"), "ember");
    assert_eq!(runtime.statuses().await.expect("built in").len(), 4);
    assert!(matches!(
        runtime.text("x", Ask::default()).await.err(),
        Some(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn pinned_models_are_there_from_the_start() {
    let catalog = Catalog::new(CatalogConfig::default()).expect("built in");
    let pinned = ModelSettings {
        pinned: true,
        keep_alive: KeepAlive::Forever,
        ..ModelSettings::default()
    };
    let config = RuntimeConfig {
        models: [
            ("ember-embed".to_owned(), pinned.clone()),
            ("gone".to_owned(), pinned),
        ]
        .into(),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(catalog, config);
    runtime.preload().await;
    let status = runtime.status("ember-embed").await.expect("built in");
    assert_eq!(
        (status.state, status.kind),
        (ModelState::Loaded, Some(ModelKind::Embedding))
    );
    assert_eq!(runtime.loaded().len(), 1);
    let done = runtime.load("ember-embed", LoadRequest::default()).await;
    assert_eq!(done.expect("loaded").progress().state, LoadState::Loaded);
}
