//! A tokio runtime that may be shut down under its tasks.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::dice::Dice;
use crate::sync::{Flag, Mutex, SeqCst, lock};

#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) handle: Handle,
    /// Set before it is shut down.
    pub(crate) killed: Flag,
    runtime: Mutex<Option<Runtime>>,
}

impl Workshop {
    pub(crate) fn open() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("the system has threads to give");
        Self {
            handle: runtime.handle().clone(),
            killed: Flag::default(),
            runtime: Mutex::new(Some(runtime)),
        }
    }

    /// Shuts it down, in one of the ways that there are, on a thread where that
    /// may block.
    pub(crate) fn kill(&self, dice: &mut Dice) -> Option<JoinHandle<()>> {
        self.killed.store(true, SeqCst);
        let runtime = lock(&self.runtime).take()?;
        let way = dice.below(3);
        Some(std::thread::spawn(move || match way {
            0 => runtime.shutdown_background(),
            1 => runtime.shutdown_timeout(Duration::from_millis(100)),
            _ => drop(runtime),
        }))
    }
}
