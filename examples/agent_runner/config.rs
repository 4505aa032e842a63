//! How the lanes are set: by a file, which may be read again while they run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use laneway::{Lanes, LanesConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::runner::MAIN;
use crate::ui::Ui;

/// Sets the lanes as the file says, all of them or, where anything in it is
/// wrong, none.
pub(crate) fn load(lanes: &Lanes, path: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(path)?;
    let config: LanesConfig = toml::from_str(&text)?;
    lanes.reconfigure(|change| {
        change.replace(config);
        // Without it, no job could run.
        change.lane(MAIN);
    })?;
    Ok(())
}

/// SIGHUP, and the file to read when it comes. Heard from the moment this
/// exists.
#[derive(Debug)]
pub(crate) struct Reloads {
    path: PathBuf,
    hangup: Signal,
}

impl Reloads {
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// A file that cannot be used costs nothing but a word.
    pub(crate) async fn follow(mut self, lanes: Lanes, ui: Ui) {
        while self.hangup.recv().await.is_some() {
            let path = self.path.display();
            let loaded = load(&lanes, &self.path).with_context(|| path.to_string());
            match loaded {
                Ok(()) => ui.say(format_args!("{path}: read again")),
                Err(error) => ui.complain(format_args!(
                    "{error:#}\n{path}: not used, and the lanes stay as they are"
                )),
            }
        }
    }
}
