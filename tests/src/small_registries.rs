// SPDX-License-Identifier: Apache-2.0
//! Small real registries in memory: olareg, which has the referrers API, and crane's, which does
//! not have it. They start empty, use plain HTTP, and are killed when dropped.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use crate::eventually;
use crate::peers::peer;
use crate::scratch::Scratch;

/// A running registry.
#[derive(Debug)]
pub struct SmallRegistry {
    process: Child,
    port: u16,
    /// Its current directory.
    _dir: Scratch,
}

impl SmallRegistry {
    /// olareg, with deletes.
    pub fn olareg() -> SmallRegistry {
        SmallRegistry::start("olareg", |port| {
            let args = ["serve", "--addr", "127.0.0.1", "--store-type", "mem", "--api-delete"];
            let mut args = args.map(str::to_owned).to_vec();
            args.extend(["--port".to_owned(), port.to_string()]);
            args
        })
    }

    /// `crane registry serve`.
    pub fn crane() -> SmallRegistry {
        SmallRegistry::start("crane", |port| {
            let address = format!("127.0.0.1:{port}");
            ["registry", "serve", "--address", &address].map(str::to_owned).to_vec()
        })
    }

    fn start(program: &str, args: impl Fn(u16) -> Vec<String>) -> SmallRegistry {
        // Another program may take the free port before it is used.
        for _ in 0..10 {
            let dir = Scratch::new();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let log = std::fs::File::create(dir.join("log")).unwrap();
            let mut process = peer(program)
                .args(args(port))
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let came_up = eventually("a registry", || {
                if process.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
            });
            if came_up {
                return SmallRegistry { process, port, _dir: dir };
            }
        }
        panic!("{program} does not start");
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for SmallRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
