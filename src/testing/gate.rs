//! What holds a thread up until a test lets it go, and how the test knows that
//! the thread has come so far.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::sync::{Arc, Mutex};

/// A thread that a test holds up, seen from outside.
#[derive(Debug, Default)]
pub(super) struct Stage(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    at_gate: bool,
    polling: bool,
    woken: bool,
    gone: bool,
}

impl Stage {
    /// Whether it is held up at its gate.
    pub(super) fn at_gate(&self) -> bool {
        self.0.lock().at_gate
    }

    /// Whether what waits at its gate was dropped, by itself or before it came
    /// there.
    pub(super) fn is_gone(&self) -> bool {
        self.0.lock().gone
    }

    /// Whether it does nothing before somebody else does something.
    pub(super) fn is_still(&self) -> bool {
        let seen = self.0.lock();
        seen.at_gate || seen.gone || (!seen.polling && !seen.woken)
    }

    /// It is in motion, though its thread is yet to begin.
    pub(super) fn begin(&self) {
        self.0.lock().polling = true;
    }
}

/// Opens a gate when it is dropped.
#[derive(Debug)]
pub(super) struct Release(
    #[expect(dead_code, reason = "dropping it is what it does")] mpsc::Sender<()>,
);

/// Where a thread waits.
#[derive(Debug)]
pub(super) struct Gate {
    opened: mpsc::Receiver<()>,
    stage: Arc<Stage>,
}

pub(super) fn gate(stage: &Arc<Stage>) -> (Release, Gate) {
    let (release, opened) = mpsc::channel();
    let stage = Arc::clone(stage);
    (Release(release), Gate { opened, stage })
}

impl Gate {
    /// Blocks the thread until the gate is open.
    pub(super) fn wait(&self) {
        self.stage.0.lock().at_gate = true;
        let _ = self.opened.recv();
        self.stage.0.lock().at_gate = false;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stage.0.lock().gone = true;
    }
}

/// Polls a future on this thread until it is ready, as a runtime of its own
/// would: the thread sleeps in between.
pub(super) fn poll_here<F: Future>(mut future: Pin<&mut F>, stage: &Arc<Stage>) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark {
        thread: thread::current(),
        stage: Arc::clone(stage),
    }));
    let mut cx = Context::from_waker(&waker);
    loop {
        {
            let mut seen = stage.0.lock();
            seen.woken = false;
            seen.polling = true;
        }
        let polled = future.as_mut().poll(&mut cx);
        stage.0.lock().polling = false;
        if let Poll::Ready(output) = polled {
            return output;
        }
        while !stage.0.lock().woken {
            thread::park();
        }
    }
}

struct Unpark {
    thread: Thread,
    stage: Arc<Stage>,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.stage.0.lock().woken = true;
        self.thread.unpark();
    }
}
