//! Leave that a turn asks for, and somebody gives: now, or tomorrow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::sync::{Mutex, lock};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Approval {
    pub(crate) number: u32,
    pub(crate) request: String,
}

#[derive(Debug)]
pub(crate) struct Approvals {
    asked: Mutex<u32>,
    open: Mutex<BTreeMap<u32, oneshot::Sender<bool>>>,
}

impl Approvals {
    /// So many have been asked for before.
    pub(crate) const fn after(asked: u32) -> Self {
        Self {
            asked: Mutex::new(asked),
            open: Mutex::new(BTreeMap::new()),
        }
    }

    pub(crate) fn asked(&self) -> u32 {
        *lock(&self.asked)
    }

    pub(crate) fn ask(&self, request: String) -> Approval {
        let mut asked = lock(&self.asked);
        *asked += 1;
        let number = *asked;
        Approval { number, request }
    }

    pub(crate) fn open(&self, approval: &Approval) -> oneshot::Receiver<bool> {
        let (tell, told) = oneshot::channel();
        lock(&self.open).insert(approval.number, tell);
        told
    }

    pub(crate) fn decide(&self, number: u32, granted: bool) -> bool {
        let waiting = lock(&self.open).remove(&number);
        waiting.is_some_and(|tell| tell.send(granted).is_ok())
    }
}
