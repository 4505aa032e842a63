//! Leave that a turn asks for, and somebody gives: now, or tomorrow.

use serde::{Deserialize, Serialize};

use crate::sync::{Mutex, lock};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Approval {
    pub(crate) number: u32,
    pub(crate) request: String,
}

/// The key of the waitpoint at which the turn waits.
pub(crate) fn key(number: u32) -> String {
    format!("approval #{number}")
}

/// Numbers them, and goes on counting after a restart.
#[derive(Debug)]
pub(crate) struct Approvals(Mutex<u32>);

impl Approvals {
    pub(crate) const fn after(asked: u32) -> Self {
        Self(Mutex::new(asked))
    }

    pub(crate) fn asked(&self) -> u32 {
        *lock(&self.0)
    }

    pub(crate) fn ask(&self, request: String) -> Approval {
        let mut asked = lock(&self.0);
        *asked += 1;
        let number = *asked;
        Approval { number, request }
    }
}
