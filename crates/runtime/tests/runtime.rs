//! The runtime with the built-in models.

use std::path::Path;
use std::sync::Arc;

use hearth_hub::catalog::{Catalog, CatalogConfig};
use hearth_runtime::{
    Error, Event, FinishReason, GenerateRequest, ModelKind, Runtime, RuntimeConfig, SamplingParams,
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
        tokio::spawn(async move { runtime.text("ember").await.expect("built in") })
    });
    let (one, other) = (one.await.expect("no panic"), other.await.expect("no panic"));
    assert!(Arc::ptr_eq(&one, &other));
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
    let service = runtime.text("ember").await.expect("built in");
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
    let service = runtime.text("ember").await.expect("built in");
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
        .text("ember-embed")
        .await
        .err()
        .expect("it makes embeddings");
    assert!(matches!(refused, Error::InvalidInput { param: Some(param), .. } if param == "model"));
    let refused = runtime
        .embedding("ember")
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
        available: vec!["ember".into(), "ember-embed".into()],
    };
    assert_eq!(runtime.text("gpt-5").await.err(), Some(expected.clone()));
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
        .text("mine")
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
        .text("mine")
        .await
        .expect("a later request tries again");
}

#[tokio::test]
async fn texts_become_vectors() {
    let runtime = runtime(CatalogConfig::default());
    let service = runtime.embedding("ember-embed").await.expect("built in");
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
    let service = runtime.text("ember").await.expect("built in");
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
    assert_eq!(runtime.text("ember").await.err(), Some(Error::ShuttingDown));
    assert!(!runtime.loaded()[0].running);
}
