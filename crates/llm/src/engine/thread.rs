//! A thread that computes for many callers: its start, its work, its end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{EngineError, Gate, Shutdown, Status};

/// What a compute thread does with the requests that are sent to it.
///
/// A request belongs to the work from [`take_in`](Self::take_in) until it is answered, also while
/// something is called that may panic: one that a panic drops on its way can not be told of it by
/// [`end`](Self::end), and its caller is left to guess.
pub(crate) trait Work: Send + 'static {
    /// An admitted request, with the means to answer it.
    type Request: Send + 'static;

    /// Takes a request in.
    fn take_in(&mut self, request: Self::Request);

    /// Whether there is nothing to do until a request comes.
    fn is_idle(&self) -> bool;

    /// Gets on with what was taken in. Called again and again while there is something to do;
    /// between two calls, requests are taken in and the thread may end.
    fn step(&mut self);

    /// Answers all that was taken in with `error`: nothing is computed any more. Also called after
    /// a panic of the other methods.
    fn end(&mut self, error: &EngineError);
}

/// What the handle asks of the thread.
enum Command<R> {
    Submit(R),
    Shutdown(Shutdown),
}

/// The handle of a thread at work on requests `R`. Dropping it aborts what is under way.
pub(crate) struct ComputeThread<R> {
    commands: Sender<Command<R>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    gate: Arc<Gate>,
}

impl<R: Send + 'static> ComputeThread<R> {
    /// Starts the thread. `gate` tells of its end.
    ///
    /// # Errors
    /// [`EngineError::Start`] where the system refuses a thread.
    pub fn start<W: Work<Request = R>>(
        name: &'static str,
        gate: Arc<Gate>,
        work: W,
    ) -> Result<Self, EngineError> {
        let (commands, receiver) = channel();
        let of_thread = Arc::clone(&gate);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || run(name, work, &receiver, &of_thread))
            .map_err(|error| EngineError::Start {
                message: format!("the {name}'s thread: {error}"),
            })?;
        Ok(Self {
            commands,
            thread: Mutex::new(Some(thread)),
            gate,
        })
    }
}

impl<R> ComputeThread<R> {
    /// Sends an admitted request.
    ///
    /// # Errors
    /// Why the thread takes none any more.
    pub fn submit(&self, request: R) -> Result<(), EngineError> {
        self.send(Command::Submit(request))
    }

    /// Admits no more requests and ends the thread as told; blocks until it has ended. A later
    /// call may turn [`Shutdown::Drain`] into [`Shutdown::Abort`].
    pub fn shutdown(&self, how: Shutdown) {
        // Where the thread has ended there is nothing to tell it.
        let _ = self.send(Command::Shutdown(how));
        // Second, so that a closed gate means a thread that knows.
        self.gate.close();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // The thread catches panics and tells of them by the gate.
            let _ = thread.join();
        }
    }

    fn send(&self, command: Command<R>) -> Result<(), EngineError> {
        let sent = self.commands.send(command);
        sent.map_err(|_| self.gate.stopped())
    }
}

impl<R> Drop for ComputeThread<R> {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Abort);
    }
}

/// The thread: works until it is told to end, or its handle is gone, or something panics.
fn run<W: Work>(name: &str, mut work: W, commands: &Receiver<Command<W::Request>>, gate: &Gate) {
    let result = catch_unwind(AssertUnwindSafe(|| serve(&mut work, commands)));
    let (status, error) = match result {
        Ok(()) => (Status::ShutDown, EngineError::ShuttingDown),
        Err(panic) => {
            let message = panic_message(&*panic);
            tracing::error!(thread = name, panic = message, "a thread panicked");
            (
                Status::Failed(message.clone()),
                EngineError::Unhealthy { message },
            )
        }
    };
    // First the status, so that nobody submits to a thread that is about to be gone; then those
    // who did before.
    gate.set_status(status);
    while let Ok(command) = commands.try_recv() {
        if let Command::Submit(request) = command {
            work.take_in(request);
        }
    }
    work.end(&error);
}

fn serve<W: Work>(work: &mut W, commands: &Receiver<Command<W::Request>>) {
    let mut draining = false;
    loop {
        let command = match work.is_idle() && !draining {
            true => commands
                .recv()
                .map_err(|RecvError| TryRecvError::Disconnected),
            false => commands.try_recv(),
        };
        match command {
            Ok(Command::Submit(request)) => work.take_in(request),
            Ok(Command::Shutdown(Shutdown::Drain)) => draining = true,
            Ok(Command::Shutdown(Shutdown::Abort)) | Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) if work.is_idle() => return,
            Err(TryRecvError::Empty) => work.step(),
        }
    }
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    type Answer = Result<u32, EngineError>;

    enum Order {
        /// Answers with the number of steps so far.
        Count,
        /// Reports for work and goes on when told to.
        Wait(Sender<()>, Receiver<()>),
        Panic,
    }

    struct Request {
        order: Order,
        answer: Sender<Answer>,
    }

    #[derive(Default)]
    struct Counter {
        waiting: VecDeque<Request>,
        steps: u32,
    }

    impl Work for Counter {
        type Request = Request;

        fn take_in(&mut self, request: Request) {
            self.waiting.push_back(request);
        }

        fn is_idle(&self) -> bool {
            self.waiting.is_empty()
        }

        fn step(&mut self) {
            match &self.waiting[0].order {
                Order::Count => {}
                Order::Wait(ready, go_on) => {
                    ready.send(()).unwrap();
                    go_on.recv().unwrap();
                }
                Order::Panic => panic!("step {} is too much", self.steps),
            }
            self.steps += 1;
            let request = self.waiting.pop_front().unwrap();
            request.answer.send(Ok(self.steps)).unwrap();
        }

        fn end(&mut self, error: &EngineError) {
            for request in self.waiting.drain(..) {
                request.answer.send(Err(error.clone())).unwrap();
            }
        }
    }

    fn start() -> ComputeThread<Request> {
        ComputeThread::start("counter", Arc::new(Gate::new(8)), Counter::default()).unwrap()
    }

    fn submit(thread: &ComputeThread<Request>, order: Order) -> Receiver<Answer> {
        let (answer, answers) = channel();
        thread.submit(Request { order, answer }).unwrap();
        answers
    }

    /// Keeps the thread busy, until the answer is used.
    fn occupy(thread: &ComputeThread<Request>) -> (Sender<()>, Receiver<Answer>) {
        let (ready, wait) = channel();
        let (go_on, told) = channel();
        let answer = submit(thread, Order::Wait(ready, told));
        wait.recv().unwrap();
        (go_on, answer)
    }

    #[test]
    fn requests_are_worked_on() {
        let thread = start();
        for step in 1..10 {
            assert_eq!(submit(&thread, Order::Count).recv(), Ok(Ok(step)));
        }
    }

    #[test]
    fn a_drain_answers_all_that_was_taken() {
        let thread = start();
        let (go_on, first) = occupy(&thread);
        let rest: Vec<_> = (0..5).map(|_| submit(&thread, Order::Count)).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| thread.shutdown(Shutdown::Drain));
            go_on.send(()).unwrap();
        });
        assert_eq!(first.recv(), Ok(Ok(1)));
        for (step, answer) in (2..).zip(rest) {
            assert_eq!(answer.recv(), Ok(Ok(step)));
        }
        assert_eq!(thread.gate.health(), Err(EngineError::ShuttingDown));
    }

    #[test]
    fn an_abort_fails_all_that_waits_even_after_a_drain() {
        let thread = start();
        let (go_on, first) = occupy(&thread);
        let rest: Vec<_> = (0..5).map(|_| submit(&thread, Order::Count)).collect();
        thread.send(Command::Shutdown(Shutdown::Drain)).unwrap();
        thread.send(Command::Shutdown(Shutdown::Abort)).unwrap();
        go_on.send(()).unwrap();
        assert_eq!(first.recv(), Ok(Ok(1)), "a step is never cut");
        for answer in rest {
            assert_eq!(answer.recv(), Ok(Err(EngineError::ShuttingDown)));
        }
    }

    #[test]
    fn a_panic_is_told_to_all_who_wait_and_all_who_come() {
        let unhealthy = || EngineError::Unhealthy {
            message: "step 1 is too much".into(),
        };
        let thread = start();
        let (go_on, first) = occupy(&thread);
        let mut rest = vec![submit(&thread, Order::Panic)];
        rest.extend((0..3).map(|_| submit(&thread, Order::Count)));
        go_on.send(()).unwrap();
        assert_eq!(first.recv(), Ok(Ok(1)));
        for answer in rest {
            assert_eq!(answer.recv(), Ok(Err(unhealthy())));
        }
        assert_eq!(thread.gate.health(), Err(unhealthy()));
        thread.shutdown(Shutdown::Drain);
        let (answer, _) = channel();
        let order = Order::Count;
        assert_eq!(thread.submit(Request { order, answer }), Err(unhealthy()));
    }
}
