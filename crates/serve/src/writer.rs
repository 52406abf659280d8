//! A thread that writes what others hand it, so that nobody who answers a request waits for a disk or a
//! terminal. What was handed over within a moment is written in one piece.

use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// How long what was handed over waits for more to be written with it.
const GATHERS: Duration = Duration::from_millis(5);

/// Hands items to a thread of its own, in order. Dropped, it waits until all is written.
#[derive(Debug)]
pub struct Writer<T> {
    shared: Arc<Shared<T>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What is written at a time.
#[derive(Debug)]
pub struct Batch<T> {
    /// The items, in their order.
    pub items: Vec<T>,
    /// How many were passed over before them, because more waited than there is room for.
    pub lost: u64,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    most: usize,
    /// Told when there is something to do for the thread.
    work: Condvar,
    /// Told when it has done something.
    done: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    lost: u64,
    /// How many have been handed over, and how many of them are written.
    handed: u64,
    written: u64,
    /// Whether somebody waits for what has been handed over.
    is_urgent: bool,
    is_closed: bool,
    /// Whether the thread has ended.
    is_over: bool,
}

impl<T: Send + 'static> Writer<T> {
    /// Starts a thread called `name` that writes with `write`; `most` items wait at a time.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        name: &str,
        most: usize,
        write: impl FnMut(&mut Batch<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                items: Vec::new(),
                lost: 0,
                handed: 0,
                written: 0,
                is_urgent: false,
                is_closed: false,
                is_over: false,
            }),
            most,
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || own.run(write))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Hands an item over, and waits where there is no room for it. Answers whether there is still a thread
    /// that will write it.
    pub fn put(&self, item: T) -> bool {
        let mut state = self.shared.state();
        while state.items.len() >= self.shared.most && !state.is_over {
            state.is_urgent = true;
            self.shared.work.notify_one();
            state = wait(&self.shared.done, state);
        }
        let is_taken = !state.is_over;
        if is_taken {
            self.shared.push(state, item);
        }
        is_taken
    }

    /// Hands an item over where there is room for it; where there is none it is lost, and counted.
    pub fn offer(&self, item: T) {
        let mut state = self.shared.state();
        match state.items.len() >= self.shared.most || state.is_over {
            true => state.lost += 1,
            false => self.shared.push(state, item),
        }
    }

    /// Waits until all that has been handed over is written.
    pub fn flush(&self) {
        let mut state = self.shared.state();
        let all = state.handed;
        while state.written < all && !state.is_over {
            state.is_urgent = true;
            self.shared.work.notify_one();
            state = wait(&self.shared.done, state);
        }
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn push(&self, mut state: MutexGuard<'_, State<T>>, item: T) {
        state.items.push(item);
        state.handed += 1;
        // The thread sleeps for a moment after the first, and takes all that came meanwhile.
        if state.items.len() == 1 {
            self.work.notify_one();
        }
    }

    fn run(&self, mut write: impl FnMut(&mut Batch<T>)) {
        /// Whoever waits for the thread learns of its end, whatever ended it.
        struct Over<'s, T>(&'s Shared<T>);
        impl<T> Drop for Over<'_, T> {
            fn drop(&mut self) {
                self.0.state().is_over = true;
                self.0.done.notify_all();
            }
        }
        let _over = Over(self);
        let mut batch = Batch {
            items: Vec::new(),
            lost: 0,
        };
        while self.fill(&mut batch) {
            let count = batch.items.len() as u64;
            write(&mut batch);
            batch.items.clear();
            self.state().written += count;
            self.done.notify_all();
        }
    }

    /// Waits for items and takes them; false when there will be none any more.
    fn fill(&self, batch: &mut Batch<T>) -> bool {
        let mut state = self.state();
        while state.items.is_empty() {
            if state.is_closed {
                return false;
            }
            state = wait(&self.work, state);
        }
        if !state.is_urgent && !state.is_closed {
            let more = |state: &mut State<T>| !state.is_urgent && !state.is_closed;
            let waited = self.work.wait_timeout_while(state, GATHERS, more);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        state.is_urgent = false;
        mem::swap(&mut state.items, &mut batch.items);
        batch.lost = mem::take(&mut state.lost);
        true
    }
}

fn wait<'g, T>(condition: &Condvar, state: MutexGuard<'g, State<T>>) -> MutexGuard<'g, State<T>> {
    condition
        .wait(state)
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn all_is_written_in_order() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&written);
        let writer = Writer::start("test", 4, move |batch: &mut Batch<u32>| {
            assert!(batch.items.len() <= 4 && batch.lost == 0);
            into.lock().expect("no panic").append(&mut batch.items);
        });
        let writer = writer.expect("a thread");
        for number in 0..50 {
            writer.put(number);
        }
        writer.flush();
        assert_eq!(written.lock().expect("no panic").len(), 50);
        writer.put(50);
        drop(writer);
        let written = written.lock().expect("no panic").clone();
        assert_eq!(written, (0..=50).collect::<Vec<u32>>());
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (began, begins) = mpsc::channel::<()>();
        let (go, goes) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let writer = Writer::start("test", 2, move |batch: &mut Batch<u32>| {
            began.send(()).expect("the test listens");
            goes.recv().expect("the test goes on");
            let told = (mem::take(&mut batch.items), batch.lost);
            tell.send(told).expect("the test listens");
        });
        let writer = writer.expect("a thread");
        writer.offer(1);
        begins.recv().expect("it writes");
        for number in 2..7 {
            writer.offer(number);
        }
        go.send(()).expect("it waits");
        go.send(()).expect("it will");
        assert_eq!(told.recv().expect("it told"), (vec![1], 0));
        assert_eq!(told.recv().expect("it told"), (vec![2, 3], 3));
    }

    #[test]
    fn nobody_waits_for_a_thread_that_is_gone() {
        let writer = Writer::start("test", 1, |_: &mut Batch<u32>| panic!("as the test wants"));
        let writer = writer.expect("a thread");
        while writer.put(1) {}
        writer.flush();
    }
}
