// SPDX-License-Identifier: Apache-2.0
//! Foreign servers, in the foreground on a free port of 127.0.0.1, killed by process ID when
//! dropped.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::eventually;
use crate::peers::peer;
use crate::scratch::Scratch;

/// The file that gets a server's output.
const OUTPUT: &str = "output";

/// A running server.
#[derive(Debug)]
pub struct Process {
    process: Child,
    port: u16,
    dir: Scratch,
}

impl Process {
    /// Starts a server and waits until it listens. `command` makes the server's command for a port
    /// and an empty directory.
    ///
    /// # Panics
    /// When it does not start, with its output.
    #[track_caller]
    pub fn start(command: impl Fn(u16, &Scratch) -> Command) -> Process {
        let dir = Scratch::new();
        // Another program may take the free port before it is used.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let log = File::create(dir.join(OUTPUT)).unwrap();
            let mut process = command(port, &dir)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let came_up = eventually("a server", || {
                if process.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
            });
            if came_up {
                return Process { process, port, dir };
            }
        }
        panic!(
            "the server does not start:\n{}",
            std::fs::read_to_string(dir.join(OUTPUT)).unwrap()
        );
    }

    /// openssl's server, which responds to every request with a page about the connection.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn openssl(args: &[&str]) -> Process {
        Process::start(|port, _| {
            let mut openssl = peer("openssl");
            openssl.args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}")]).args(args);
            openssl
        })
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The directory that only this server uses.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The same directory, to write files in it.
    pub fn scratch(&self) -> &Scratch {
        &self.dir
    }

    /// The output of the server so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.dir.join(OUTPUT)).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
