//! What outlives the process: conversations, messages that nobody has begun with,
//! and turns that were cut short.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::approvals::Approval;
use crate::session::Said;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) sessions: BTreeMap<String, Vec<Said>>,
    pub(crate) messages: Vec<Waiting>,
    pub(crate) turns: Vec<Unfinished>,
    /// How many approvals have been asked for.
    pub(crate) approvals: u32,
}

/// A message that has not begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) session: String,
    pub(crate) text: String,
    /// For how long it has waited, in milliseconds.
    pub(crate) waited: u64,
}

/// A turn that has begun, and what it waited for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    pub(crate) session: String,
    pub(crate) approval: Option<Approval>,
}

impl Waiting {
    pub(crate) fn new(session: &str, text: &str) -> Self {
        Self {
            session: session.to_owned(),
            text: text.to_owned(),
            waited: 0,
        }
    }
}

impl Journal {
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    pub(crate) fn of_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The one at that path; an empty one if there is none.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::of_json(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.to_json()?)
    }
}
