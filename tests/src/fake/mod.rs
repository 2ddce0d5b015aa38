// SPDX-License-Identifier: Apache-2.0
//! A scriptable HTTP/1.1 server: a closure sees each request and returns the response. The response
//! may be wrong in many ways: cut, stalled, endless, with a wrong length, or not HTTP at all. The
//! request's body may also be read only in part, or be discarded. The server keeps every request
//! with all its headers, so that a test can check which requests were sent, and which were not.
//!
//! One thread per connection. Not here: any code of the tools, HTTP/2, and any correction of a
//! reply.

mod framing;
mod intake;
mod reply;
mod request;
mod send;
mod wire;

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;

pub use intake::Intake;
pub use reply::{End, Reply};
pub use request::Request;
pub(crate) use request::unescaped;

use crate::PATIENCE;

/// The behaviour of a server. A closure from a request to its reply is the simplest form.
pub trait Serve: Send + Sync {
    /// Called when a request's head has arrived: decides what to do with its body.
    fn arriving(&self, _request: &Request) -> Intake {
        Intake::whole()
    }

    /// Called for each part of the body that arrives. If it returns true, these bytes are not kept
    /// with the request.
    fn take(&self, _request: &Request, _bytes: &[u8]) -> bool {
        false
    }

    /// Called when the rest of the body will not arrive.
    fn broken(&self, _request: &Request) {}

    /// Called when the complete body has arrived: returns the response.
    fn answer(&self, request: &Request) -> Reply;
}

impl<F: Fn(&Request) -> Reply + Send + Sync> Serve for F {
    fn answer(&self, request: &Request) -> Reply {
        self(request)
    }
}

/// A predicate that holds for the first `count` requests that `which` selects, without regard to
/// their paths.
pub fn first(
    count: usize,
    which: impl Fn(&Request) -> bool + Send + Sync + 'static,
) -> impl Fn(&Request) -> bool + Send + Sync + 'static {
    let matched = AtomicUsize::new(0);
    move |request| which(request) && matched.fetch_add(1, Ordering::SeqCst) < count
}

struct Shared {
    serve: Box<dyn Serve>,
    serial: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    arrived: Condvar,
    sockets: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    stalled: AtomicUsize,
    released: Mutex<bool>,
    release: Condvar,
    stopping: AtomicBool,
}

/// Ignores poisoning, so that the first panic of a script is reported, not a later one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running server on a free port of 127.0.0.1; it ends when dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    secure: bool,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.url())
    }
}

impl Server {
    /// Starts a server that uses plain HTTP.
    pub fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::listen(None, Box::new(script))
    }

    /// Starts a server that uses TLS or plain HTTP, with more behaviour than a closure.
    pub fn serve(tls: Option<Arc<ServerConfig>>, serve: impl Serve + 'static) -> Server {
        Server::listen(tls, Box::new(serve))
    }

    /// Starts a server that uses TLS.
    pub fn start_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Server {
        Server::listen(Some(config), Box::new(script))
    }

    fn listen(tls: Option<Arc<ServerConfig>>, serve: Box<dyn Serve>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on the loopback");
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            serve,
            serial: AtomicUsize::new(0),
            requests: Mutex::new(Vec::new()),
            arrived: Condvar::new(),
            sockets: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
            stalled: AtomicUsize::new(0),
            released: Mutex::new(false),
            release: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let secure = tls.is_some();
        let server = Server { address, shared: Arc::clone(&shared), secure };
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if shared.stopping.load(Ordering::SeqCst) {
                    break;
                }
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                lock(&shared.sockets).extend(socket.try_clone());
                std::thread::spawn(move || {
                    // An error here means that the client closed the connection.
                    let _ = wire::converse(&shared, socket, tls);
                });
            }
        });
        server
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT` or `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http{}://{}", if self.secure { "s" } else { "" }, self.address)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// The requests so far in a short form: `GET /v2/`.
    pub fn asked(&self) -> Vec<String> {
        self.requests().iter().map(|r| format!("{} {}", r.method, r.target)).collect()
    }

    /// Forgets the requests so far; their numbers start again at 0.
    pub fn forget(&self) {
        lock(&self.shared.requests).clear();
    }

    /// The number of connections so far that carried a request.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until `count` requests have arrived. The body of the last request may still be
    /// arriving.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        let requests = lock(&self.shared.requests);
        let (requests, _) = self
            .shared
            .arrived
            .wait_timeout_while(requests, PATIENCE, |requests| requests.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(requests.len() >= count, "{} requests of {count} arrived", requests.len());
    }

    /// The number of stalls so far, in responses ([`Reply`]) and in request bodies ([`Intake`]).
    pub fn stalls(&self) -> usize {
        self.shared.stalled.load(Ordering::SeqCst)
    }

    /// Waits until there have been `count` stalls.
    #[track_caller]
    pub fn wait_for_stalls(&self, count: usize) {
        let start = Instant::now();
        while self.stalls() < count {
            let (stalls, asked) = (self.stalls(), self.asked());
            assert!(start.elapsed() < PATIENCE, "{stalls} of {count} stalled: {asked:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Lets stalled requests and responses continue, and makes all later stalls end at once.
    pub fn release(&self) {
        *lock(&self.shared.released) = true;
        self.shared.release.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.release();
        for socket in lock(&self.shared.sockets).iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then closes the port.
        let _ = TcpStream::connect(self.address);
    }
}
