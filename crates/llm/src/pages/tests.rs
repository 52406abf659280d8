//! The store by example: restarts, damage, budget, privacy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use hearth_formats::Checkpoint;

use super::*;
use crate::load::LoadOptions;

const SIZE: usize = 4;
const DATA: usize = 1000;

fn root() -> PageHash {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/llama3/model.gguf");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let model = ModelIdentity::of(&checkpoint, &LoadOptions::default()).unwrap();
    PageHash::root(&model, "F16", SIZE, DATA)
}

/// The contents of the block that ends with these tokens.
fn data(tokens: &[u32]) -> Vec<u8> {
    let sum: u32 = tokens.iter().sum();
    (0..DATA as u32).map(|i| (i * 7 + sum) as u8).collect()
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
}

/// The pages of a text, from its beginning.
fn pages(tokens: &[u32]) -> Vec<Wanted> {
    let mut before = root();
    let blocks = tokens.chunks_exact(SIZE).enumerate();
    blocks
        .map(|(depth, tokens)| {
            let hash = before.then(tokens);
            let wanted = Wanted {
                hash,
                before,
                tokens: tokens.into(),
                data_len: DATA,
                depth,
            };
            before = hash;
            wanted
        })
        .collect()
}

fn write(store: &PageStore, tokens: &[u32], now: SystemTime) -> usize {
    let written = pages(tokens).into_iter().take_while(|page| {
        let data = || data(&page.tokens);
        store
            .write(&page.before, &page.tokens, page.depth, now, data)
            .unwrap()
    });
    written.count()
}

/// How many of a text's pages are there, and come back as they were.
fn read(store: &PageStore, tokens: &[u32]) -> usize {
    let wanted = pages(tokens);
    let listed = store.run_of(wanted.iter().map(|page| &page.hash));
    let (sender, receiver) = channel();
    store.read(wanted.clone(), move |pages| sender.send(pages).unwrap());
    let found = receiver.recv().unwrap();
    for (page, wanted) in found.iter().zip(&wanted) {
        assert_eq!(page.data(), data(&wanted.tokens));
    }
    assert!(found.len() <= listed);
    found.len()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            let inside = fs::read_dir(entry.path()).unwrap();
            files.extend(inside.map(|file| file.unwrap().path()));
        }
    }
    files.sort();
    files
}

fn text(seed: u32, blocks: u32) -> Vec<u32> {
    (0..blocks * SIZE as u32).map(|i| i + 1000 * seed).collect()
}

#[test]
fn pages_outlive_their_store() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache/kv");
    let store = PageStore::open(&folder, 1 << 20).unwrap();
    assert_eq!(write(&store, &text(1, 5), time(0)), 5);
    assert_eq!(read(&store, &text(1, 7)), 5);
    assert!(matches!(
        PageStore::open(&folder, 1 << 20),
        Err(PageStoreError::InUse { .. })
    ));
    drop(store);
    let store = PageStore::open(&folder, 1 << 20).unwrap();
    assert_eq!(read(&store, &text(1, 5)), 5);
    assert_eq!(read(&store, &text(2, 5)), 0);
    let stats = store.stats();
    assert_eq!((stats.pages, stats.read, stats.written), (5, 5, 0));
    let bytes: u64 = files(&folder)
        .iter()
        .map(|f| f.metadata().unwrap().len())
        .sum();
    assert_eq!(stats.bytes, bytes);
    // What is there is not written again.
    assert_eq!(write(&store, &text(1, 6), time(1)), 6);
    assert_eq!(store.stats().written, 1);
}

#[test]
fn a_damaged_page_is_removed_and_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let store = PageStore::open(dir.path(), 1 << 20).unwrap();
    write(&store, &text(1, 5), time(0));
    let damaged = pages(&text(1, 5))[2].hash;
    let path = files(dir.path())
        .into_iter()
        .find(|f| f.to_string_lossy().contains(&damaged.to_string()))
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[500] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(read(&store, &text(1, 5)), 2);
    assert!(!path.exists());
    let stats = store.stats();
    assert_eq!((stats.pages, stats.damaged), (4, 1));
    // It may be written again.
    assert_eq!(write(&store, &text(1, 5), time(1)), 5);
    assert_eq!(read(&store, &text(1, 5)), 5);
}

#[test]
fn files_that_went_missing_or_were_cut_are_no_pages() {
    let dir = tempfile::tempdir().unwrap();
    let store = PageStore::open(dir.path(), 1 << 20).unwrap();
    write(&store, &text(1, 2), time(0));
    write(&store, &text(2, 1), time(0));
    drop(store);
    let path = |tokens: &[u32], i: usize| {
        let name = format!("{}.kv", pages(tokens)[i].hash);
        dir.path().join(&name[..2]).join(name)
    };
    fs::write(path(&text(1, 2), 0), b"hearthk1").unwrap();
    // What a process that was killed leaves, and what is not ours.
    let temporary = path(&text(1, 2), 1).with_extension("tmp");
    fs::write(&temporary, b"half").unwrap();
    let foreign = temporary.with_file_name("notes.txt");
    fs::write(&foreign, b"mine").unwrap();
    let store = PageStore::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(read(&store, &text(1, 2)), 0);
    fs::remove_file(path(&text(2, 1), 0)).unwrap();
    assert_eq!(read(&store, &text(2, 1)), 0);
    assert_eq!(store.stats().pages, 1);
    assert!(!temporary.exists() && foreign.exists());
}

#[test]
fn the_budget_holds_and_the_least_recently_used_go_from_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let page = (file::overhead(SIZE) + DATA) as u64;
    let store = PageStore::open(dir.path(), 6 * page).unwrap();
    assert_eq!(write(&store, &text(1, 3), time(0)), 3);
    assert_eq!(write(&store, &text(2, 3), time(10)), 3);
    assert_eq!(write(&store, &text(3, 2), time(20)), 2);
    assert_eq!(read(&store, &text(1, 3)), 1);
    assert_eq!(read(&store, &text(2, 3)), 3);
    let stats = store.stats();
    assert_eq!((stats.pages, stats.evicted), (6, 2));
    assert!(stats.bytes <= stats.budget_bytes);
    // Of one writing nothing goes for the rest of it: the beginning stays.
    assert_eq!(write(&store, &text(4, 9), time(2_000_000_000)), 6);
    drop(store);
    // The order survives, and a smaller budget is kept from the start.
    let store = PageStore::open(dir.path(), 2 * page).unwrap();
    assert_eq!(read(&store, &text(4, 9)), 2);
    assert_eq!(files(dir.path()).len(), 2);
    drop(store);
    let store = PageStore::open(dir.path(), page - 1).unwrap();
    assert_eq!(write(&store, &text(5, 1), time(3_000_000_000)), 0);
    assert_eq!(store.stats().pages, 0);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_look() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("kv");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let store = PageStore::open(&folder, 1 << 20).unwrap();
    write(&store, &text(1, 3), time(0));
    assert_eq!(mode(&folder), 0o700);
    for file in files(&folder) {
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
    }
}

#[test]
fn hashes_tell_models_types_sizes_and_positions_apart() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/qwen3/model.gguf");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let other = ModelIdentity::of(&checkpoint, &LoadOptions::default()).unwrap();
    let chains = [
        root(),
        PageHash::root(&other, "F16", SIZE, DATA),
        PageHash::root(&other, "F32", SIZE, DATA),
        PageHash::root(&other, "F32", SIZE + 1, DATA),
        PageHash::root(&other, "F32", SIZE, DATA + 1),
        root().then(&[1, 2, 3, 4]),
        root().then(&[1, 2, 3, 4]).then(&[1, 2, 3, 4]),
        root().then(&[1, 2, 3, 5]),
    ];
    for (i, a) in chains.iter().enumerate() {
        assert!(chains[..i].iter().all(|b| a != b), "chain {i}");
        assert_eq!(a.to_string().parse(), Ok(*a));
    }
    for bad in ["", "0", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32)] {
        assert!(bad.parse::<PageHash>().is_err(), "{bad:?}");
    }
}
