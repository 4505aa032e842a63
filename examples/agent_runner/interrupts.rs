//! Ctrl-C and its relatives.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM and SIGHUP, which mean the same here: each would otherwise
/// end the runner and leave its children behind, which have process groups of
/// their own and hear nothing of a terminal that is closed. Where there is a
/// file to be read again, SIGHUP means that instead. Heard from the moment this
/// exists, so that none is lost between two calls.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Interrupts {
    pub(crate) fn listen(to_hangup: bool) -> io::Result<Self> {
        let hangup = to_hangup.then(|| signal(SignalKind::hangup()));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
        })
    }

    pub(crate) async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}
