//! A pool of threads that split one product or one norm between them.
//!
//! A step of a network is hundreds of short parallel sections, so workers spin for a moment after each before they
//! sleep. Sections are cut into more tasks than there are threads. Each thread has a run of neighbouring tasks, which it
//! takes in their order, so that it reads what lies in memory one after the other as one stream; whoever is done with
//! its run takes from the others': on a busy machine a thread that lost its core delays only the task that it holds.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Rounds of the processor's pause instruction before a waiting thread sleeps: some tens of microseconds.
const SPINS: usize = 1500;

/// Threads that run the tasks of one parallel section at a time.
///
/// The thread that calls [`Pool::run`] works as well, so a pool of one thread has no workers. Several threads may call
/// at once: their sections run one after the other. Dropping the pool ends its workers.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by whoever runs a section.
    section: Mutex<()>,
}

/// A section's closure, its type erased.
#[derive(Clone, Copy)]
struct Job {
    run: unsafe fn(*const (), usize),
    closure: *const (),
    tasks: usize,
}

/// What is left of a thread's run of tasks: the section's number in the upper half, the tasks that nobody took yet in the
/// lower half. One word, so that a task is only ever taken from the section that was looked at; a cache line of its own
/// (a pair of them, which some processors fetch together), as it is written for every task.
#[repr(align(128))]
struct Run(AtomicU64);

struct Shared {
    /// A run for each thread, the caller's first.
    runs: Box<[Run]>,
    /// The number of the last section, once all of its tasks can be taken.
    published: AtomicU64,
    /// The running section. Written only while no task of any section is open.
    job: UnsafeCell<Job>,
    /// Tasks of the section that have not ended.
    open: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    /// The caller sleeps until `open` is zero.
    caller_waits: AtomicBool,
    done: Condvar,
    shutdown: AtomicBool,
}

// SAFETY: `job` is the only part that is not Sync by itself. It is written by the holder of `Pool::section` while
// `open` is zero, before the stores to `runs` that publish it, and read only by threads that took a task, which keeps
// `open` above zero until they are done. The closure it points to is Sync by the bound on `Pool::run`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is used only between publication and the end of the section.
unsafe impl Send for Shared {}

thread_local! {
    /// True while this thread runs a task: a section within a task runs on this thread alone.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool of `threads` threads, the caller's included; 0 means [`Pool::default_threads`].
    ///
    /// Where the system refuses a thread, the pool does with those that it got.
    pub fn new(threads: usize) -> Pool {
        let threads = match threads {
            0 => Pool::default_threads(),
            n => n,
        };
        let shared = Arc::new(Shared {
            runs: (0..threads).map(|_| Run(AtomicU64::new(0))).collect(),
            published: AtomicU64::new(0),
            job: UnsafeCell::new(Job {
                run: |_, _| {},
                closure: std::ptr::null(),
                tasks: 0,
            }),
            open: AtomicUsize::new(0),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            caller_waits: AtomicBool::new(false),
            done: Condvar::new(),
            shutdown: AtomicBool::new(false),
        });
        let workers = (1..threads)
            .map_while(|i| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("kernel-{i}"))
                    .spawn(move || shared.work(i))
                    .ok()
            })
            .collect();
        Pool {
            shared,
            workers,
            section: Mutex::new(()),
        }
    }

    /// One thread a physical core that this process may run on.
    pub fn default_threads() -> usize {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        physical_cores().map_or(available, |cores| cores.clamp(1, available))
    }

    /// How many threads run tasks, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f(0)`, …, `f(tasks - 1)`, each once, on all threads, and returns when all have returned.
    ///
    /// Called from within a task, it runs all on the calling thread.
    ///
    /// # Panics
    /// With the payload of the first task that panicked, after all tasks have ended; the pool stays usable.
    pub fn run<F: Fn(usize) + Sync>(&self, tasks: usize, f: F) {
        if tasks <= 1 || self.workers.is_empty() || IN_TASK.get() {
            (0..tasks).for_each(f);
            return;
        }
        // The word of a run counts its tasks in 32 bits.
        const MOST: usize = u32::MAX as usize;
        let mut first = 0;
        while first < tasks {
            let n = (tasks - first).min(MOST);
            self.section(n, &|i| f(first + i));
            first += n;
        }
    }

    /// Cuts `data` into pieces of `chunk` elements (the last may be shorter) and calls `f(index, piece)` for each.
    ///
    /// # Panics
    /// If `chunk` is 0; else as [`Pool::run`].
    pub fn for_each_chunk<T: Send, F: Fn(usize, &mut [T]) + Sync>(
        &self,
        data: &mut [T],
        chunk: usize,
        f: F,
    ) {
        assert!(chunk > 0, "pieces of 0 elements");
        let len = data.len();
        let shared = SharedMut::new(data);
        self.run(len.div_ceil(chunk), |i| {
            let start = i * chunk;
            // SAFETY: pieces of different tasks do not overlap, each task runs once, and `run` returns only after all
            // tasks have ended, while `data` is borrowed.
            let piece = unsafe { shared.range(start, chunk.min(len - start)) };
            f(i, piece);
        });
    }

    fn section<F: Fn(usize) + Sync>(&self, tasks: usize, f: &F) {
        /// # Safety
        /// `closure` points to a live `F`.
        unsafe fn call<F: Fn(usize)>(closure: *const (), task: usize) {
            // SAFETY: by this function's contract.
            unsafe { (*closure.cast::<F>())(task) }
        }
        let guard = lock(&self.section);
        let shared = &*self.shared;
        // SAFETY: this thread holds `section` and the last section's tasks have all ended, so nobody reads `job`.
        unsafe {
            *shared.job.get() = Job {
                run: call::<F>,
                closure: std::ptr::from_ref(f).cast(),
                tasks,
            };
        }
        shared.open.store(tasks, Ordering::Relaxed);
        let number = shared.published.load(Ordering::Relaxed).wrapping_add(1);
        for (i, run) in shared.runs.iter().enumerate() {
            let tasks = run_of(i, shared.runs.len(), tasks).len() as u64;
            run.0.store(number << 32 | tasks, Ordering::Release);
        }
        shared.published.store(number, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&shared.sleep));
            shared.wake.notify_all();
        }
        while shared.take_and_run(0) {}
        shared.wait_until_done();
        let panic = lock(&shared.panic).take();
        drop(guard);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.sleep));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches its tasks' panics, so it ends well.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Takes a task if there is one, from the thread's own run or else from another's, runs it, and says whether there was
    /// one.
    fn take_and_run(&self, thread: usize) -> bool {
        let runs = self.runs.len();
        (thread..thread + runs).any(|run| self.take_from(run % runs))
    }

    fn take_from(&self, run: usize) -> bool {
        let state = &self.runs[run].0;
        let mut seen = state.load(Ordering::Acquire);
        loop {
            let left = seen & u64::from(u32::MAX);
            if left == 0 {
                return false;
            }
            match state.compare_exchange_weak(seen, seen - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // SAFETY: this thread took a task of the published section, so `job` is not written until it
                    // reports the task's end below.
                    let job = unsafe { *self.job.get() };
                    let task = run_of(run, self.runs.len(), job.tasks).end - left as usize;
                    IN_TASK.set(true);
                    // SAFETY: the caller's closure lives until all tasks have ended.
                    let run = || unsafe { (job.run)(job.closure, task) };
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
                        lock(&self.panic).get_or_insert(payload);
                    }
                    IN_TASK.set(false);
                    if self.open.fetch_sub(1, Ordering::SeqCst) == 1
                        && self.caller_waits.load(Ordering::SeqCst)
                    {
                        drop(lock(&self.sleep));
                        self.done.notify_all();
                    }
                    return true;
                }
                Err(now) => seen = now,
            }
        }
    }

    fn wait_until_done(&self) {
        for _ in 0..SPINS {
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            std::hint::spin_loop();
        }
        self.caller_waits.store(true, Ordering::SeqCst);
        let mut guard = lock(&self.sleep);
        while self.open.load(Ordering::SeqCst) != 0 {
            guard = self
                .done
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.caller_waits.store(false, Ordering::SeqCst);
    }

    /// What thread `thread`, which is not the caller's, does.
    fn work(&self, thread: usize) {
        loop {
            // Read before the runs are: of this section nothing is left when they were all found empty.
            let number = self.published.load(Ordering::Acquire);
            while self.take_and_run(thread) {}
            let news = || self.published.load(Ordering::SeqCst) != number;
            let mut spins = 0;
            while !news() && spins < SPINS {
                std::hint::spin_loop();
                spins += 1;
            }
            if spins < SPINS {
                continue;
            }
            let mut guard = lock(&self.sleep);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            while !news() && !self.shutdown.load(Ordering::SeqCst) {
                guard = self
                    .wake
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
            drop(guard);
            if self.shutdown.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

/// The tasks that are thread `thread`'s before others'.
fn run_of(thread: usize, threads: usize, tasks: usize) -> Range<usize> {
    let (each, longer) = (tasks / threads, tasks % threads);
    let start = thread * each + thread.min(longer);
    start..start + each + usize::from(thread < longer)
}

/// A slice whose disjoint parts are written by different tasks.
pub(crate) struct SharedMut<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: handing out parts is unsafe and bound to disjointness, so this is as sending the parts themselves.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T> SharedMut<T> {
    pub(crate) fn new(slice: &mut [T]) -> SharedMut<T> {
        SharedMut {
            start: slice.as_mut_ptr(),
            len: slice.len(),
        }
    }

    /// The `len` elements from `start`.
    ///
    /// # Safety
    /// The slice this was made from is still borrowed, and no two ranges that are alive at once overlap.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: within the slice by the check above, unaliased by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// Calls `f(index, row)` for every row of `cols` elements of `data`; the last may be shorter.
///
/// Short work stays on the calling thread: waking others would take longer.
pub(crate) fn for_each_row<F: Fn(usize, &mut [f32]) + Sync>(
    pool: &Pool,
    data: &mut [f32],
    cols: usize,
    f: F,
) {
    /// Elements worth a task.
    const TASK: usize = 16 * 1024;
    if data.is_empty() {
        return;
    }
    let rows_per_task = TASK.div_ceil(cols);
    pool.for_each_chunk(data, rows_per_task * cols, |task, rows| {
        for (i, row) in rows.chunks_mut(cols).enumerate() {
            f(task * rows_per_task + i, row);
        }
    });
}

/// The number of distinct physical cores, where the system tells.
fn physical_cores() -> Option<usize> {
    let mut cores = std::collections::HashSet::new();
    for entry in std::fs::read_dir("/sys/devices/system/cpu").ok()? {
        let path = entry.ok()?.path();
        if let Ok(siblings) = std::fs::read_to_string(path.join("topology/thread_siblings_list")) {
            cores.insert(siblings);
        }
    }
    (!cores.is_empty()).then_some(cores.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_whatever_the_numbers() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 3, 100, 1001] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, |i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn runs_are_neighbours_and_cover_all_tasks() {
        for threads in 1..6 {
            for tasks in 0..20 {
                let runs = (0..threads).map(|thread| run_of(thread, threads, tasks));
                assert!(
                    runs.clone()
                        .all(|run| run.len().abs_diff(tasks / threads) <= 1)
                );
                assert!(runs.flatten().eq(0..tasks));
            }
        }
    }

    #[test]
    fn whoever_is_done_takes_from_the_others() {
        let pool = Pool::new(2);
        let others = AtomicUsize::new(0);
        // The first task waits for all others, those of its own run included.
        pool.run(10, |i| {
            if i == 0 {
                while others.load(Ordering::Acquire) < 9 {
                    std::thread::yield_now();
                }
            } else {
                others.fetch_add(1, Ordering::Release);
            }
        });
    }

    #[test]
    fn callers_on_several_threads_share_a_pool() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        pool.run(7, |i| {
                            total.fetch_add(i, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 500 * 21);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(4);
        for _ in 0..20 {
            let ran = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(50, |i| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    assert!(i % 10 != 3, "task {i}");
                });
            }));
            assert!(result.is_err());
            assert_eq!(ran.into_inner(), 50);
            pool.run(8, |_| {});
        }
    }

    #[test]
    fn a_section_within_a_task_runs_in_place() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        pool.run(4, |_| {
            pool.run(5, |_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner(), 20);
    }

    #[test]
    fn sleeping_workers_wake_up() {
        let pool = Pool::new(2);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let barrier = std::sync::Barrier::new(2);
            // Both tasks must be open at once, so the worker has to come.
            pool.run(2, |_| {
                barrier.wait();
            });
        }
    }

    #[test]
    fn chunks_cover_the_slice() {
        let pool = Pool::new(2);
        let mut data = vec![0usize; 103];
        pool.for_each_chunk(&mut data, 10, |i, piece| piece.fill(i + 1));
        for (at, value) in data.iter().enumerate() {
            assert_eq!(*value, at / 10 + 1);
        }
        pool.for_each_chunk(&mut Vec::<u8>::new(), 3, |_, _| unreachable!());
    }
}
