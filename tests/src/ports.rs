// SPDX-License-Identifier: Apache-2.0
//! Ports that refuse connections, and that no other process can take.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType};

/// A port of 127.0.0.1 that refuses connections: its socket is bound but does not listen.
#[derive(Debug)]
pub struct Closed {
    socket: OwnedFd,
    /// The port.
    pub port: u16,
}

impl Closed {
    /// Takes a free port.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn new() -> Closed {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listener = TcpListener::from(socket);
        let port = listener.local_addr().unwrap().port();
        Closed { socket: listener.into(), port }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Lets the port listen from now on.
    ///
    /// # Panics
    /// When it cannot.
    pub fn listen(self) -> TcpListener {
        rustix::net::listen(&self.socket, 64).unwrap();
        TcpListener::from(self.socket)
    }
}

impl Default for Closed {
    fn default() -> Closed {
        Closed::new()
    }
}
