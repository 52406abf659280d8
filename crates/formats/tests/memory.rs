//! Pickles that name the same things again and again: memory is in proportion to the file, however often they do. One test,
//! since it counts the memory of the whole process.

mod zip;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use hearth_formats::torch::TorchFile;
use hearth_formats::torchscript::ScriptArchive;
use hearth_kernels::Bytes;

/// Counts what is allocated, and the most that was.
struct Counted {
    now: AtomicUsize,
    most: AtomicUsize,
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = self.now.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        self.most.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        self.now.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTED: Counted = Counted {
    now: AtomicUsize::new(0),
    most: AtomicUsize::new(0),
};

/// Most bytes of memory for a byte of the file: an instruction of one byte makes an object, a place on the stack and one in a
/// list that has grown to twice its size.
const MOST_TIMES: usize = 200;
/// What is needed for nothing.
const SPARE: usize = 1 << 20;

fn string(text: &[u8]) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text].concat()
}

/// Something remembered as `key`, and taken from the stack.
fn remember(key: u8, what: &[u8]) -> Vec<u8> {
    [what, &[b'q', key, b'0']].concat()
}

/// The pickles, by what they do.
fn bombs() -> Vec<(&'static str, bool, Vec<u8>)> {
    let many = 20_000;
    let ones = "K\x01".repeat(many).into_bytes();
    let tuple = [b"(", &ones[..], b"t"].concat();
    let names: Vec<u8> = (0..many as u32)
        .flat_map(|i| {
            [
                string(&i.to_le_bytes().map(|b| b'a' + b % 16)),
                b"K\x01".to_vec(),
            ]
            .concat()
        })
        .collect();
    let function = remember(0, b"ctorch._utils\n_rebuild_tensor_v2\n");
    let class = remember(0, b"c__torch__\nNet\n");
    let long = string(&[b'a'; 65536]);
    let pickle = |parts: &[&[u8]], again: &[u8]| {
        let again = again.repeat(many);
        [b"\x80\x02", &parts.concat()[..], &again, b"}."].concat()
    };
    let tensor = [
        &function[..],
        &remember(
            1,
            &[&b"(X\x07\0\0\0storagectorch\nByteStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQ"[..]]
                .concat(),
        ),
        &remember(2, &[b"(", &b"K\x01".repeat(64)[..], b"t"].concat()),
        &remember(3, b"(h\x01K\0h\x02h\x02\x89Nt"),
    ]
    .concat();
    vec![
        (
            "calls with one tuple",
            false,
            pickle(&[&function, &remember(1, &tuple)], b"h\0h\x01R0"),
        ),
        (
            "functions of one long name",
            false,
            pickle(&[&remember(0, &long)], b"h\0h\0\x930"),
        ),
        (
            "objects of one class and state",
            true,
            pickle(
                &[
                    &class,
                    &remember(1, &[b"}(", &names[..], b"u"].concat()),
                    &remember(2, b")"),
                ],
                b"h\0h\x02\x81h\x01b0",
            ),
        ),
        (
            "tuples of the one before, twice",
            true,
            pickle(&[b"Nq\0"], b"0h\0h\0\x86q\0"),
        ),
        (
            "lists of one list",
            true,
            pickle(
                &[&remember(0, &[b"](", &ones[..], b"e"].concat())],
                b"](h\0h\0e0",
            ),
        ),
        (
            "tensors of one shape",
            true,
            pickle(&[&tensor], b"h\0h\x03R0"),
        ),
        (
            "parameters of one tuple",
            true,
            pickle(
                &[
                    &remember(0, b"ctorch._utils\n_rebuild_parameter\n"),
                    &remember(1, &tuple),
                ],
                b"h\0h\x01R0",
            ),
        ),
    ]
}

#[test]
fn what_is_shared_is_not_copied() {
    for (what, is_script, pickle) in bombs() {
        let mut entries: Vec<(&str, &[u8])> = vec![("m/data.pkl", &pickle), ("m/data/0", &[0; 8])];
        if is_script {
            entries.push(("m/constants.pkl", b"\x80\x02)."));
        }
        let bytes = zip::archive(&entries);
        let len = bytes.len();
        let before = COUNTED.now.load(Ordering::Relaxed);
        COUNTED.most.store(before, Ordering::Relaxed);
        // Whether it is sound is not the question: some are, some are refused for what they lack.
        if is_script {
            let _ = ScriptArchive::from_bytes(Bytes::from(bytes), what.into());
        } else {
            let _ = TorchFile::from_bytes(Bytes::from(bytes), what.into());
        }
        let used = COUNTED.most.load(Ordering::Relaxed) - before;
        assert!(
            used <= len * MOST_TIMES + SPARE,
            "{what}: {used} bytes for a file of {len}"
        );
    }
}
