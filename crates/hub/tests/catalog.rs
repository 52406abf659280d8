//! The catalog over real folders and the built-in models.

use std::path::Path;

use hearth_formats::gguf::{GgufWriter, Metadata, TensorSpec};
use hearth_hub::catalog::{CatalogConfig, CatalogError, Fault, NetworkFile, RemoveError};
use hearth_hub::{Catalog, Kind, Location};
use hearth_kernels::DType;

fn write_model(path: &Path, metadata: &[(&str, u32)], architecture: &str) {
    let mut m = Metadata::new("m");
    m.insert("general.architecture", architecture);
    for (key, value) in metadata {
        m.insert(*key, *value);
    }
    let spec = TensorSpec {
        name: "t".into(),
        dtype: DType::F32,
        shape: vec![1],
    };
    let mut writer = GgufWriter::new(Vec::new(), &m, vec![spec]).unwrap();
    writer.write(&[0; 4]).unwrap();
    std::fs::write(path, writer.finish().unwrap()).unwrap();
}

fn catalog(dir: &Path, named: &[(&str, &Path)]) -> Result<Catalog, CatalogError> {
    Catalog::new(CatalogConfig {
        models_dir: Some(dir.to_owned()),
        named: named
            .iter()
            .map(|(n, p)| ((*n).to_owned(), p.to_path_buf()))
            .collect(),
    })
}

#[test]
fn the_built_in_models_are_there_and_sound() {
    let catalog = Catalog::new(CatalogConfig::default()).unwrap();
    let entries = catalog.entries().unwrap();
    let names: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["ember", "ember-embed", "digits", "example"]);
    for (entry, kind) in entries.iter().zip([Kind::Text, Kind::Embedding]) {
        assert_eq!(entry.kind, kind);
        assert_eq!(entry.location, Location::BuiltIn);
        assert_eq!(entry.owned_by(), "hearth");
        let checkpoint = entry.open().unwrap();
        assert_eq!(
            Some(checkpoint.architecture()),
            entry.architecture.as_deref()
        );
        assert!(checkpoint.metadata().get("tokenizer.ggml.tokens").is_some());
        assert!(entry.bytes > checkpoint.weight_bytes());
        assert_eq!(catalog.find(&entry.name).unwrap().as_ref(), Some(entry));
    }
    for network in &entries[2..] {
        assert_eq!(network.kind, Kind::Network);
        assert!(matches!(network.open_network(), Ok(NetworkFile::Pt2(_))));
        let refused = network.open().unwrap_err().to_string();
        assert!(refused.contains("an exported network"), "{refused}");
    }
    assert!(entries[0].open_network().is_err());
    assert_eq!(catalog.find("absent").unwrap(), None);
}

#[test]
fn a_folder_is_listed_by_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let catalog = catalog(d, &[]).unwrap();
    assert_eq!(catalog.entries().unwrap().len(), 4);
    write_model(&d.join("chat.gguf"), &[], "qwen3");
    write_model(
        &d.join("vectors.gguf"),
        &[("qwen3.pooling_type", 3)],
        "qwen3",
    );
    write_model(&d.join("encoder.gguf"), &[], "bert");
    write_model(&d.join("strange.gguf"), &[], "mamba");
    std::fs::write(d.join("broken.gguf"), b"GGUF").unwrap();
    std::fs::write(d.join("notes.txt"), b"no model").unwrap();
    std::fs::write(d.join(".hidden.gguf"), b"no model").unwrap();
    std::fs::create_dir(d.join("empty")).unwrap();
    std::fs::create_dir(d.join("folder")).unwrap();
    std::fs::write(d.join("folder/config.json"), b"{}").unwrap();
    for (folder, file, config) in [
        ("net", "model.onnx", "max_batch_size = 8"),
        ("odd-net", "model.pt2", "max_batch = 8"),
    ] {
        std::fs::create_dir(d.join(folder)).unwrap();
        std::fs::write(d.join(folder).join(file), b"not looked into").unwrap();
        std::fs::write(d.join(folder).join("config.toml"), config).unwrap();
    }
    let split = [("split.count", 2), ("split.no", 0)];
    write_model(&d.join("big-00001-of-00002.gguf"), &split, "llama");
    write_model(&d.join("big-00002-of-00002.gguf"), &split, "llama");
    let entries = catalog.entries().unwrap();
    let list: Vec<(&str, &str)> = entries[4..]
        .iter()
        .map(|e| {
            let kind = match &e.kind {
                Kind::Text => "text",
                Kind::Embedding => "embedding",
                Kind::Network => "network",
                Kind::Unknown(reason) => reason.as_str(),
            };
            (e.name.as_str(), kind)
        })
        .collect();
    let kind = |name: &str| list.iter().find(|(n, _)| *n == name).map(|(_, k)| *k);
    let names: Vec<&str> = list.iter().map(|(n, _)| *n).collect();
    assert_eq!(
        names,
        [
            "big", "broken", "chat", "encoder", "folder", "net", "odd-net", "strange", "vectors"
        ]
    );
    assert_eq!(kind("chat"), Some("text"));
    assert_eq!(kind("vectors"), Some("embedding"));
    assert_eq!(kind("encoder"), Some("embedding"));
    assert_eq!(kind("net"), Some("network"));
    assert!(kind("odd-net").unwrap().contains("config.toml"));
    assert!(
        kind("strange")
            .unwrap()
            .contains("architecture mamba is not supported")
    );
    assert!(
        kind("broken")
            .unwrap()
            .contains("broken.gguf: version at byte 4")
    );
    assert!(kind("folder").unwrap().contains("config.json"));
    assert!(kind("big").unwrap().contains("split.no"));
    let chat = catalog.find("chat").unwrap().unwrap();
    assert_eq!(chat.location, Location::Path(d.join("chat.gguf")));
    assert_eq!(
        chat.bytes,
        std::fs::metadata(d.join("chat.gguf")).unwrap().len()
    );
    assert!(chat.created > 1_700_000_000);
    assert_eq!(chat.owned_by(), "local");
    assert!(catalog.find("broken").unwrap().unwrap().open().is_err());
}

#[test]
fn a_changed_file_is_described_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    write_model(&path, &[], "llama");
    let catalog = catalog(dir.path(), &[("also", &path)]).unwrap();
    let find = |name: &str| catalog.find(name).unwrap().unwrap();
    assert_eq!(find("m").kind, Kind::Text);
    assert_eq!(
        (find("also").name.as_str(), find("m").name.as_str()),
        ("also", "m")
    );
    write_model(&path, &[("llama.pooling_type", 1)], "llama");
    assert_eq!(find("m").kind, Kind::Embedding);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(catalog.find("m").unwrap(), None);
    assert!(matches!(find("also").kind, Kind::Unknown(_)));
}

#[test]
fn clashing_reserved_and_absent_models_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let path = d.join("m.gguf");
    write_model(&path, &[], "llama");
    let problem = |named: &[(&str, &Path)]| catalog(d, named).unwrap_err().to_string();
    let error = problem(&[("m", &path)]);
    assert!(
        error.contains("\"m\" is taken twice: by") && error.contains("m.gguf"),
        "{error}"
    );
    assert!(problem(&[("ember", &path)]).contains("\"ember\" is taken twice: by a built-in model"));
    assert!(problem(&[("v1", &path)]).contains("v1, v2 and api are reserved"));
    assert!(problem(&[("x", &d.join("absent"))]).contains("absent: No such file"));
    assert!(
        catalog(&d.join("absent"), &[])
            .unwrap_err()
            .to_string()
            .contains("absent")
    );
    std::fs::write(d.join("v2.gguf"), b"").unwrap();
    assert!(problem(&[]).contains("v2.gguf"));
}

#[test]
fn only_what_lies_in_the_folder_is_removed() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let d = dir.path();
    let other = elsewhere.path().join("other.gguf");
    write_model(&other, &[], "llama");
    let linked = elsewhere.path().join("linked");
    std::fs::create_dir(&linked).unwrap();
    std::fs::write(linked.join("config.json"), b"{}").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&linked, d.join("link")).unwrap();
    let split = [("split.count", 2), ("split.no", 0)];
    for name in [
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
        "bigger-00001-of-00002.gguf",
        "one.gguf",
    ] {
        write_model(&d.join(name), &split, "llama");
    }
    std::fs::write(d.join("one.gguf.sha256"), b"0").unwrap();
    std::fs::create_dir(d.join("folder")).unwrap();
    std::fs::write(d.join("folder/config.json"), b"{}").unwrap();
    let catalog = catalog(d, &[("other", &other)]).unwrap();

    let refused = |name: &str| catalog.removable(name).unwrap_err();
    assert!(matches!(refused("ember"), RemoveError::BuiltIn { .. }));
    assert!(matches!(refused("other"), RemoveError::Outside { .. }));
    for name in ["nobody", "../other", "big-00001-of-00002", ""] {
        assert!(
            matches!(refused(name), RemoveError::NotFound { .. }),
            "{name}"
        );
    }
    let names = ["big", "one", "folder"].into_iter();
    for name in names.chain(cfg!(unix).then_some("link")) {
        catalog.removable(name).unwrap().remove().unwrap();
    }
    let left = std::fs::read_dir(d).unwrap();
    let left: Vec<_> = left.map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left, ["bigger-00001-of-00002.gguf"]);
    assert!(linked.join("config.json").exists() && other.exists());
}

#[test]
fn a_network_goes_with_its_folder_and_nothing_else() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let d = dir.path();
    let write = |path: &Path| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"not looked into").unwrap();
    };
    for file in [
        "net/model.onnx",
        "net/model.onnx.data",
        "net/model.onnx.sha256",
        "net/weights/part",
        "beside/model.pt2",
        "loose.onnx",
    ] {
        write(&d.join(file));
    }
    std::fs::write(d.join("net/config.toml"), b"max_batch_size = 2").unwrap();
    let (other, shared) = (
        elsewhere.path().join("other/model.onnx"),
        elsewhere.path().join("shared"),
    );
    write(&other);
    write(&shared.join("data"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&shared, d.join("net/shared")).unwrap();
        std::os::unix::fs::symlink(shared.join("data"), d.join("net/data")).unwrap();
    }
    let named = other.parent().unwrap();
    let catalog = catalog(d, &[("other", named)]).unwrap();

    let refused = |name: &str| catalog.removable(name).unwrap_err();
    assert!(matches!(refused("example"), RemoveError::BuiltIn { .. }));
    assert!(matches!(refused("other"), RemoveError::Outside { .. }));
    for name in ["loose", "net/weights", "net/model.onnx", "."] {
        assert!(
            matches!(refused(name), RemoveError::NotFound { .. }),
            "{name}"
        );
    }
    catalog.removable("net").unwrap().remove().unwrap();
    let left = std::fs::read_dir(d).unwrap();
    let mut left: Vec<_> = left.map(|item| item.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["beside", "loose.onnx"]);
    assert!(d.join("beside/model.pt2").exists());
    assert!(other.exists() && shared.join("data").exists());
    assert_eq!(catalog.find("net").unwrap(), None);
}

#[test]
fn versions_of_a_network_are_entries_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let write = |path: &str, bytes: &[u8]| {
        std::fs::create_dir_all(d.join(path).parent().unwrap()).unwrap();
        std::fs::write(d.join(path), bytes).unwrap();
    };
    let catalog = catalog(d, &[]).unwrap();
    write("net/1/model.onnx", b"one");
    write("net/2/model.pt2", b"second");
    write("net/3/notes.txt", b"no network yet");
    write("net/01/model.onnx", b"no version");
    write("plain/model.onnx", b"one");
    write("odd/model.onnx", b"one");
    write("odd/1/model.onnx", b"one");
    write("net:9/model.onnx", b"a model of such a name");
    let find = |name: &str| catalog.find(name).unwrap();
    let net = find("net").unwrap();
    let versions = |entry: &hearth_hub::Entry| -> Vec<(String, u64)> {
        let versions = entry.versions.iter();
        versions.map(|v| (v.name.clone(), v.version())).collect()
    };
    assert_eq!(
        (net.kind.clone(), net.version(), net.bytes),
        (Kind::Network, 2, 9)
    );
    assert_eq!(net.network_path(), Some(d.join("net/2/model.pt2")));
    assert_eq!(
        versions(&net),
        [("net:2".to_owned(), 2), ("net:1".to_owned(), 1)]
    );
    let second = find("net:2").unwrap();
    assert_eq!(
        (second.model(), second.version(), second.bytes),
        ("net", 2, 6)
    );
    assert_eq!(second, net.versions[0]);
    assert_eq!(find("net:1").unwrap().version_of.as_deref(), Some("net"));
    assert_eq!(find("net:9").unwrap().version_of, None);
    for absent in [
        "net:3", "net:4", "net:01", "net:-1", "net:", "net:2:2", "plain:2", "ember:1",
    ] {
        assert_eq!(find(absent), None, "{absent}");
    }
    assert_eq!(find("plain:1"), find("plain"));
    assert_eq!(find("example:1"), find("example"));
    let odd = find("odd").unwrap();
    assert!(matches!(&odd.kind, Kind::Unknown(why) if why.contains("keep one")));

    // A new version is no news of the others; what is said of all is.
    write("net/3/model.onnx", b"third");
    let now = find("net").unwrap();
    assert_eq!((now.version(), now.versions.len()), (3, 3));
    assert_eq!(now.versions[1].stamp, second.stamp);
    assert_ne!(now.stamp, net.stamp);
    write("net/config.toml", b"max_batch_size = 2");
    let now = find("net:2").unwrap();
    assert_ne!(now.stamp, second.stamp);
    assert_eq!(now.network_config().unwrap().max_batch_size, 2);
    write("net/config.toml", b"max_batch_size = 0");
    assert!(matches!(find("net:2").unwrap().kind, Kind::Unknown(_)));
    write("net/9/model.onnx", b"a version of such a name");
    let clash = catalog.find("net").unwrap_err().to_string();
    assert!(
        clash.contains("\"net:9\" is taken twice: by version 9 of"),
        "{clash}"
    );
}

#[test]
fn a_repository_of_triton_says_which_versions_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(d.join(path).parent().unwrap()).unwrap();
        std::fs::write(d.join(path), text).unwrap();
    };
    let catalog = catalog(d, &[]).unwrap();
    let net = || catalog.find("net").unwrap().unwrap();
    let served = || -> Vec<u64> { net().versions.iter().map(|v| v.version()).collect() };
    let problem = || match net().kind {
        Kind::Unknown(problem) => problem,
        other => panic!("{other:?}"),
    };
    write("net/config.pbtxt", "platform: \"onnxruntime_onnx\"");
    assert!(problem().contains("no folder of a version has a file"));
    for version in 1..=3 {
        write(&format!("net/{version}/model.onnx"), "not looked into");
    }
    assert_eq!((net().kind, served()), (Kind::Network, vec![3]));
    for (policy, versions) in [
        ("all {}", vec![3, 2, 1]),
        ("latest { num_versions: 2 }", vec![3, 2]),
        ("specific { versions: [1, 2, 9] }", vec![2, 1]),
    ] {
        write(
            "net/config.pbtxt",
            &format!("version_policy: {{ {policy} }}"),
        );
        assert_eq!(served(), versions, "{policy}");
    }
    let first = &net().versions[0];
    assert_eq!((first.version(), net().version()), (2, 2));
    assert_eq!(catalog.find("net:3").unwrap(), None);
    write(
        "net/config.pbtxt",
        "version_policy: { specific { versions: 9 } }",
    );
    assert!(problem().contains("none of the versions"));
    write("net/config.pbtxt", "instance_group { count: 3 }");
    assert_eq!(
        (net().instances, net().versions[0].instances),
        (Some(3), Some(3))
    );
    write("net/config.pbtxt", "platform: \"tensorrt_plan\"");
    assert!(problem().contains("config.pbtxt: line 1: platform: expected"));
    assert!(catalog.removable("net").is_ok());
    write("net/config.pbtxt", "");
    write("net/config.toml", "versions = \"all\"");
    assert_eq!(served(), [3, 2, 1]);
}

#[test]
fn a_value_that_is_no_number_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let catalog = catalog(dir.path(), &[]).unwrap();
    let verify = || catalog.find("m").unwrap().unwrap().verify();
    let original = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ember.gguf");
    let mut bytes = std::fs::read(original).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let sound = verify().unwrap();
    assert!(sound.tensors > 0 && sound.bytes > 0 && sound.hashed_files == 0);
    // The end of the file lies in a tensor.
    let end = bytes.len();
    bytes[end - 64..].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(verify(), Err(Fault::NotFinite { .. })));
}

/// Puts a checkpoint of the tests of `hearth-graph` into a folder.
fn put_checkpoint(folder: &Path, name: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/checkpoints");
    std::fs::create_dir(folder).unwrap();
    for item in std::fs::read_dir(from.join(name)).unwrap() {
        let path = item.unwrap().path();
        std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
}

/// Checkpoints whose class is built as a network are networks; encoders stay models for embeddings unless they are asked for.
#[test]
fn checkpoints_are_networks_where_their_class_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    put_checkpoint(&d.join("classifier"), "bert-classifier");
    put_checkpoint(&d.join("gaps"), "bert-masked");
    put_checkpoint(&d.join("sentences"), "bert-masked");
    std::fs::write(d.join("sentences/modules.json"), "[]").unwrap();
    put_checkpoint(&d.join("encoder"), "bert-model");
    put_checkpoint(&d.join("asked"), "bert-model");
    std::fs::write(d.join("asked/config.toml"), "architecture = \"BertModel\"").unwrap();
    put_checkpoint(&d.join("odd"), "bert-model");
    std::fs::write(d.join("odd/config.toml"), "architecture = \"Bert\"").unwrap();
    put_checkpoint(&d.join("images"), "timm-resnet18");
    std::fs::create_dir(d.join("torchvision")).unwrap();
    let weights = d.join("images/pytorch_model.bin");
    std::fs::copy(weights, d.join("torchvision/model.pth")).unwrap();
    std::fs::create_dir(d.join("other")).unwrap();
    std::fs::copy(d.join("gaps/pytorch_model.bin"), d.join("other/model.pth")).unwrap();
    let catalog = catalog(d, &[]).unwrap();
    let entry = |name: &str| catalog.find(name).unwrap().unwrap();
    for (name, architecture) in [
        ("classifier", "BertForSequenceClassification"),
        ("gaps", "BertForMaskedLM"),
        ("asked", "BertModel"),
        ("images", "ResNet"),
        ("torchvision", "ResNet"),
    ] {
        let entry = entry(name);
        assert_eq!(entry.kind, Kind::Network, "{name}");
        assert_eq!(entry.architecture.as_deref(), Some(architecture), "{name}");
        assert!(entry.bytes > 10_000, "{name}: {}", entry.bytes);
        let file = entry.open_network().unwrap();
        assert!(matches!(file, NetworkFile::Checkpoint(_)), "{name}");
        assert_eq!(entry.verify_hashes().unwrap(), 0, "{name}");
    }
    for name in ["sentences", "encoder"] {
        assert_eq!(entry(name).kind, Kind::Embedding, "{name}");
        assert!(!entry(name).is_network(), "{name}");
    }
    for (name, problem) in [
        ("odd", "the architecture Bert as a network; supported:"),
        ("other", "none of a ResNet of torchvision"),
    ] {
        let Kind::Unknown(reason) = entry(name).kind else {
            panic!("{name} is known");
        };
        assert!(reason.contains(problem), "{reason}");
    }
    // Each file of weights may have its hash beside it.
    std::fs::write(d.join("classifier/model.safetensors.sha256"), "no hash").unwrap();
    let fault = entry("classifier").verify_hashes();
    assert!(matches!(fault, Err(Fault::NoHash { .. })), "{fault:?}");
}

#[test]
fn a_stamp_is_of_what_a_model_is_made_of() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("models");
    let net = dir.join("net");
    std::fs::create_dir_all(&net).unwrap();
    std::fs::write(net.join("model.onnx"), "x").unwrap();
    let split = home.path().join("t-00001-of-00002.gguf");
    std::fs::write(&split, "x").unwrap();
    let file = net.join("model.onnx");
    let catalog = catalog(&dir, &[("named", &file), ("split", &split)]).unwrap();
    let stamp = |name: &str| catalog.find(name).unwrap().unwrap().stamp;
    let before = ["net", "named", "split"].map(stamp);
    for other in [
        "README.md",
        "LICENSE",
        "notes.md",
        ".gitattributes",
        ".config.toml.swp",
        "config.toml~",
        "model.onnx.part",
        "model.onnx.sha256",
    ] {
        std::fs::write(net.join(other), "x").unwrap();
        assert_eq!(before, ["net", "named", "split"].map(stamp), "{other}");
    }
    for part in ["config.toml", "labels.txt", "weights.bin", "vocab"] {
        let [folder, file] = ["net", "named"].map(stamp);
        std::fs::write(net.join(part), "").unwrap();
        assert_ne!(stamp("net"), folder, "{part}");
        // Its name says that the folder is its own.
        assert_ne!(stamp("named"), file, "{part}");
    }
    std::fs::write(home.path().join("t-00002-of-00002.gguf"), "x").unwrap();
    assert_ne!(stamp("split"), before[2]);
}
