// SPDX-License-Identifier: Apache-2.0
//! Small real registries in memory: olareg, which has the referrers API, and crane's, which does
//! not have it. They start empty, use plain HTTP, and are killed when dropped.

use std::process::Command;

use crate::peers::peer;
use crate::servers::Process;

/// A running registry.
#[derive(Debug)]
pub struct SmallRegistry(Process);

impl SmallRegistry {
    /// olareg, with deletes.
    pub fn olareg() -> SmallRegistry {
        SmallRegistry::start(|port| {
            let mut olareg = peer("olareg");
            olareg.args(["serve", "--addr", "127.0.0.1", "--store-type", "mem", "--api-delete"]);
            olareg.args(["--port", &port.to_string()]);
            olareg
        })
    }

    /// `crane registry serve`.
    pub fn crane() -> SmallRegistry {
        SmallRegistry::start(|port| {
            let mut crane = peer("crane");
            crane.args(["registry", "serve", "--address", &format!("127.0.0.1:{port}")]);
            crane
        })
    }

    fn start(command: impl Fn(u16) -> Command) -> SmallRegistry {
        SmallRegistry(Process::start(|port, dir| {
            let mut command = command(port);
            command.current_dir(dir.path());
            command
        }))
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.0.host()
    }
}
