//! A session: what was said in it.

use serde::{Deserialize, Serialize};

use crate::sync::{Mutex, lock};

/// Only the turn that holds the session's slot writes to it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) name: String,
    said: Mutex<Vec<Said>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) by: By,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    User,
    Model,
    Tool,
}

impl Session {
    pub(crate) const fn new(name: String, said: Vec<Said>) -> Self {
        let said = Mutex::new(said);
        Self { name, said }
    }

    /// The name of its lane, and the key of its turns.
    pub(crate) fn lane(&self) -> String {
        format!("session:{}", self.name)
    }

    pub(crate) fn add(&self, by: By, text: impl Into<String>) {
        let text = text.into();
        lock(&self.said).push(Said { by, text });
    }

    pub(crate) fn said(&self) -> Vec<Said> {
        lock(&self.said).clone()
    }
}
