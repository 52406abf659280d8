//! Versions of networks, and files that change.

use std::sync::Arc;
use std::time::Duration;

use super::fake::{INSTANCE, Stage, stage_of_folder};
use crate::config::{ModelSettings, RuntimeConfig};
use crate::events::{ModelState, Reason};
use crate::manager::{Ask, Hold, ModelStatus, Seen};
use crate::{Error, KeepAlive};

fn stage() -> Stage {
    stage_of_folder(RuntimeConfig {
        memory: Some(1000),
        ..RuntimeConfig::default()
    })
}

impl Stage {
    /// Writes a network of so many bytes.
    fn write(&self, path: &str, bytes: usize) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![b'x'; bytes]).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_dir_all(self.folder.path().join(path)).unwrap();
    }

    /// Looks as often as it takes for a change to be still.
    async fn look(&self, seen: &mut Seen) {
        self.manager.look_again(seen).await;
        self.manager.look_again(seen).await;
    }

    async fn status(&self, name: &str) -> ModelStatus {
        self.manager.status(name).await.unwrap()
    }

    fn fail(&self, name: &str, fails: bool) {
        let mut failing = self.controls.failing.lock().unwrap();
        match fails {
            true => failing.insert(name.into()),
            false => failing.remove(name),
        };
    }

    async fn until_loaded(&self, names: &[&str]) {
        self.until("loaded", |stage| stage.loaded() == names).await;
    }
}

fn same(a: &Hold, b: &Hold) -> bool {
    Arc::ptr_eq(a.engine(), b.engine())
}

#[tokio::test]
async fn a_request_gets_the_newest_version_and_each_can_be_asked_for() {
    let stage = stage();
    for path in ["net/1/model.onnx", "net/2/model.onnx", "net/03/model.onnx"] {
        stage.write(path, 100);
    }
    let newest = stage.hold("net").await;
    assert_eq!(newest.name(), "net:2");
    assert_eq!(stage.loaded(), ["net:2"]);
    let older = stage.hold("net:1").await;
    assert_eq!(older.name(), "net:1");
    assert!(same(&stage.hold("net").await, &newest));
    assert!(same(&stage.hold("net:2").await, &newest));
    for absent in ["net:3", "net:03", "net:", "net:0"] {
        let refused = stage.ask(absent, Ask::default()).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{absent}");
    }
    let status = stage.status("net").await;
    let told = (status.name.as_str(), status.version, status.in_flight);
    assert_eq!(told, ("net", 2, 2));
    assert_eq!(status.memory_bytes, 2 * (100 + INSTANCE));
    let versions = stage.manager.version_statuses("net").await.unwrap();
    let versions: Vec<(u64, u64)> = versions
        .iter()
        .map(|v| (v.version, v.memory_bytes))
        .collect();
    assert_eq!(versions, [(2, 110), (1, 110)]);
    assert_eq!(stage.manager.version_of("net:1").as_deref(), Some("net"));
    assert_eq!(stage.manager.version_of("net:3"), None);
    drop((newest, older));
    assert_eq!(stage.manager.unload("net", false).await, Ok(true));
    assert_eq!((stage.loaded().len(), stage.controls.held()), (0, 0));
    let loads = stage
        .manager
        .load_versions("net", Default::default())
        .await
        .unwrap();
    for loading in loads {
        loading.wait().await.unwrap();
    }
    assert_eq!(stage.loaded(), ["net:1", "net:2"]);
    assert_eq!(stage.manager.unload("net:1", false).await, Ok(true));
    assert_eq!(stage.loaded(), ["net:2"]);
}

#[tokio::test]
async fn a_newer_version_is_loaded_before_requests_go_to_it() {
    let stage = stage();
    let mut seen = Seen::default();
    stage.write("net/1/model.onnx", 100);
    let old = stage.hold("net").await;
    stage.look(&mut seen).await;
    let gate = stage.controls.gate("net:2");
    stage.write("net/2/model.onnx", 50);
    // It might not be written to its end yet.
    stage.manager.look_again(&mut seen).await;
    assert_eq!(stage.controls.loads_of("net:2"), 0);
    stage.write("net/2/model.onnx", 100);
    stage.manager.look_again(&mut seen).await;
    assert_eq!(stage.controls.loads_of("net:2"), 0);
    stage.manager.look_again(&mut seen).await;
    stage
        .until("the new one is read", |s| s.controls.waits_at("net:2"))
        .await;
    assert!(same(&stage.hold("net").await, &old));
    drop(gate);
    stage.until_loaded(&["net:1", "net:2"]).await;
    let new = stage.hold("net").await;
    assert_eq!(new.name(), "net:2");
    // All versions are served: the old one stays for as long as somebody uses it.
    stage.look(&mut seen).await;
    assert_eq!(stage.loaded(), ["net:1", "net:2"]);
    // One that is to be served no longer goes when its requests have ended.
    stage.remove("net/1");
    stage.look(&mut seen).await;
    assert_eq!(stage.status("net").await.in_flight, 2);
    drop(old);
    stage.until_loaded(&["net:2"]).await;
    assert!(same(&stage.hold("net").await, &new));
}

#[tokio::test]
async fn a_version_that_cannot_be_loaded_leaves_requests_to_the_one_before() {
    let stage = stage();
    let mut seen = Seen::default();
    stage.write("net/1/model.onnx", 100);
    stage.write("net/2/model.onnx", 100);
    stage.fail("net:2", true);
    assert_eq!(stage.hold("net").await.name(), "net:1");
    assert_eq!(stage.hold("net").await.name(), "net:1");
    assert_eq!(stage.controls.loads_of("net:2"), 1);
    let versions = stage.manager.version_statuses("net").await.unwrap();
    assert_eq!(versions[0].state, ModelState::Failed);
    assert!(versions[0].error.as_ref().unwrap().contains("torn"));
    stage.look(&mut seen).await;
    assert_eq!(stage.controls.loads_of("net:2"), 1);
    // Asked for by name, it is tried again.
    assert!(stage.ask("net:2", Ask::default()).await.is_err());
    assert_eq!(stage.controls.loads_of("net:2"), 2);

    stage.fail("net:2", false);
    stage.write("net/2/model.onnx", 120);
    stage.look(&mut seen).await;
    stage.until_loaded(&["net:1", "net:2"]).await;
    assert_eq!(stage.hold("net").await.name(), "net:2");

    // Where none can be loaded, that is told.
    stage.manager.unload("net", false).await.unwrap();
    stage.fail("net:1", true);
    stage.fail("net:2", true);
    let failed = stage.ask("net", Ask::default()).await.err().unwrap();
    assert!(failed.to_string().contains("torn"), "{failed}");
}

#[tokio::test]
async fn a_changed_file_takes_the_place_of_what_was_loaded() {
    let stage = stage();
    let mut seen = Seen::default();
    stage.write("net/model.onnx", 100);
    let old = stage.hold("net").await;
    stage.look(&mut seen).await;
    stage.write("net/model.onnx", 200);
    let gate = stage.controls.gate("net");
    stage.look(&mut seen).await;
    stage
        .until("the new one is read", |s| s.controls.waits_at("net"))
        .await;
    // Meanwhile requests get the old one, and more of them than one of the two could have.
    let others = [stage.hold("net").await];
    assert!(same(&others[0], &old));
    assert_eq!(stage.status("net").await.state, ModelState::Loaded);
    drop(gate);
    stage
        .until("exchanged", |s| s.controls.held() == 300 + 2 * INSTANCE)
        .await;
    stage
        .until("seats", |s| {
            s.manager.lock().slots["net"].entry.bytes == 200
        })
        .await;
    let new = stage.hold("net").await;
    assert!(!same(&new, &old));
    drop((old, others));
    stage
        .until("freed", |s| s.controls.held() == 200 + INSTANCE)
        .await;
    stage
        .until("told", |s| {
            s.manager.lock().slots["net"].held == 200 + INSTANCE
        })
        .await;
    let status = stage.status("net").await;
    assert_eq!((status.instances.len(), status.in_flight), (1, 1));
    assert_eq!(
        (
            status.error,
            stage
                .controls
                .aborted
                .load(std::sync::atomic::Ordering::SeqCst)
        ),
        (None, 0)
    );
    // It can go as any other.
    drop(new);
    stage.look(&mut seen).await;
    assert_eq!(stage.controls.loads_of("net"), 2);
    assert_eq!(stage.manager.unload("net", false).await, Ok(true));
    assert_eq!(stage.controls.held(), 0);
}

#[tokio::test]
async fn a_broken_file_leaves_what_is_loaded_and_is_tried_again_when_it_changes() {
    let stage = stage();
    let mut seen = Seen::default();
    stage.write("net/model.onnx", 100);
    let old = stage.hold("net").await;
    stage.look(&mut seen).await;
    stage.fail("net", true);
    stage.write("net/model.onnx", 200);
    stage.look(&mut seen).await;
    let told = |s: &Stage| s.manager.lock().slots["net"].error.is_some();
    stage.until("told", told).await;
    let status = stage.status("net").await;
    assert_eq!(
        (status.state, status.memory_bytes),
        (ModelState::Loaded, 100 + INSTANCE)
    );
    assert!(status.error.unwrap().contains("torn"));
    assert!(same(&stage.hold("net").await, &old));
    stage.look(&mut seen).await;
    assert_eq!(stage.controls.loads_of("net"), 2);
    stage.fail("net", false);
    stage.write("net/model.onnx", 300);
    stage.look(&mut seen).await;
    stage.until("taken", |s| !told(s)).await;
    assert!(!same(&stage.hold("net").await, &old));
    // Where its file goes, it goes.
    drop(old);
    stage.remove("net");
    stage.manager.look_again(&mut seen).await;
    assert_eq!(stage.loaded(), ["net"]);
    stage.manager.look_again(&mut seen).await;
    let left = |s: &Stage| s.manager.lock().slots["net"].left == Some(Reason::Removed);
    stage.until("removed", left).await;
}

#[tokio::test]
async fn without_memory_for_both_the_old_one_stays() {
    let stage = stage();
    let mut seen = Seen::default();
    stage.write("net/model.onnx", 600);
    let old = stage.hold("net").await;
    stage.look(&mut seen).await;
    stage.write("net/model.onnx", 500);
    stage.look(&mut seen).await;
    let told = |s: &Stage| s.manager.lock().slots["net"].error.is_some();
    stage.until("told", told).await;
    let status = stage.status("net").await;
    assert!(status.error.unwrap().contains("needs"));
    assert!(same(&stage.hold("net").await, &old));
    assert_eq!(stage.controls.loads_of("net"), 1);
    // It is taken with the next load.
    drop(old);
    stage.manager.unload("net", false).await.unwrap();
    drop(stage.hold("net").await);
    let status = stage.status("net").await;
    assert_eq!((status.error, status.memory_bytes), (None, 500 + INSTANCE));
}

#[tokio::test]
async fn what_is_pinned_is_what_requests_get() {
    let settings = ModelSettings {
        pinned: true,
        keep_alive: KeepAlive::For(Duration::from_secs(60)),
        ..ModelSettings::default()
    };
    let stage = stage_of_folder(RuntimeConfig {
        memory: Some(1000),
        models: [("net".to_owned(), settings)].into(),
        ..RuntimeConfig::default()
    });
    let mut seen = Seen::default();
    stage.write("net/1/model.onnx", 100);
    stage.look(&mut seen).await;
    drop(stage.hold("net").await);
    let pinned = |name: &str| stage.manager.lock().slots[name].pinned;
    assert!(pinned("net:1"));
    stage.write("net/2/model.onnx", 100);
    stage.look(&mut seen).await;
    stage.until_loaded(&["net:1", "net:2"]).await;
    stage.look(&mut seen).await;
    assert_eq!((pinned("net:1"), pinned("net:2")), (false, true));
    let refused = stage.manager.unload("net", false).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })));
    stage.clock.advance(Duration::from_secs(61));
    stage.until_loaded(&["net:2"]).await;
}

#[tokio::test]
async fn a_model_of_text_is_loaded_anew_when_its_file_changes() {
    let stage = stage();
    let mut seen = Seen::default();
    stage.write("chat.gguf", 100);
    let path = stage.folder.path().join("chat.gguf");
    let first = std::fs::metadata(&path).unwrap().modified().unwrap();
    let old = stage.hold("chat").await;
    stage.look(&mut seen).await;
    // What cannot be loaded leaves what is.
    stage.fail("chat", true);
    stage.write("chat.gguf", 150);
    stage.look(&mut seen).await;
    stage
        .until("it has failed", |stage| {
            let house = stage.manager.lock();
            house.slots["chat"].error.is_some()
        })
        .await;
    let status = stage.status("chat").await;
    assert_eq!(status.state, ModelState::Loaded);
    assert!(status.error.unwrap().contains("torn"));
    assert!(same(&stage.hold("chat").await, &old));
    // Nothing is wrong any more once the file is again what is loaded.
    stage.write("chat.gguf", 100);
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(first).unwrap();
    stage.look(&mut seen).await;
    assert_eq!(stage.status("chat").await.error, None);
    assert_eq!(stage.controls.loads_of("chat"), 2);
    stage.fail("chat", false);
    stage.write("chat.gguf", 200);
    stage.look(&mut seen).await;
    stage
        .until("it is another", |stage| {
            let house = stage.manager.lock();
            stage.controls.loads_of("chat") == 3 && !house.slots["chat"].replacing
        })
        .await;
    assert_eq!(
        stage.status("chat").await.memory_bytes,
        200 + 100 + 2 * INSTANCE
    );
    let new = stage.hold("chat").await;
    assert!(!same(&new, &old));
    drop(old);
    stage
        .until("the old one is gone", |s| {
            s.controls.held() == 200 + INSTANCE
        })
        .await;
}

#[tokio::test]
async fn a_version_is_tried_again_once_there_is_memory_for_it() {
    let stage = stage();
    let mut seen = Seen::default();
    stage.write("big/model.onnx", 700);
    stage.write("net/1/model.onnx", 100);
    drop(stage.hold("big").await);
    stage.manager.pin("big", true).await.unwrap();
    let old = stage.hold("net").await;
    stage.look(&mut seen).await;
    stage.write("net/2/model.onnx", 400);
    stage.look(&mut seen).await;
    let failed = |stage: &Stage| {
        let house = stage.manager.lock();
        let slot = house.slots.get("net:2");
        slot.is_some_and(|slot| slot.state() == ModelState::Failed)
    };
    stage.until("there is no memory", failed).await;
    assert!(same(&stage.hold("net").await, &old));
    stage.look(&mut seen).await;
    assert!(failed(&stage));
    stage.manager.pin("big", false).await.unwrap();
    assert_eq!(stage.manager.unload("big", false).await, Ok(true));
    stage.look(&mut seen).await;
    stage.until_loaded(&["net:1", "net:2"]).await;
    assert_eq!(stage.hold("net").await.name(), "net:2");
}

#[tokio::test]
async fn what_the_system_refuses_is_not_waited_for() {
    let stage = stage();
    stage.write("net/model.onnx", 100);
    drop(stage.hold("net").await);
    let lacks = |holders: &[&str]| {
        let mut house = stage.manager.lock();
        let slot = house.slots.get_mut("net").unwrap();
        slot.error = Some(Error::InsufficientMemory {
            message: "none".into(),
            needed: 1,
            budget: 1000,
            holders: holders.iter().map(|name| (*name).to_owned()).collect(),
        });
        house.has_room_by_now("net")
    };
    assert!(lacks(&["big"]));
    assert!(!lacks(&[]));
}

#[tokio::test]
async fn versions_are_known_as_of_the_last_look() {
    let stage = stage();
    stage.write("net/1/model.onnx", 100);
    stage.write("one/model.onnx", 100);
    assert_eq!(stage.manager.known_versions("net"), None);
    drop((stage.hold("net").await, stage.hold("one").await));
    assert_eq!(stage.manager.known_versions("net"), Some(vec![1]));
    assert_eq!(stage.manager.known_versions("one"), Some(vec![1]));
    stage.write("net/2/model.onnx", 100);
    assert_eq!(stage.manager.version_of("net:2"), None);
    stage.manager.note_versions("net").await;
    assert_eq!(stage.manager.version_of("net:2").as_deref(), Some("net"));
    assert_eq!(stage.manager.known_versions("net"), Some(vec![2, 1]));
}
