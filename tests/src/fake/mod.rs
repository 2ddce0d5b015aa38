// SPDX-License-Identifier: Apache-2.0
//! A scriptable HTTP/1.1 server: a closure looks at each request and says what to answer, and
//! the answer may be as wrong as it likes: cut, stalled, endless, lying about its length, no HTTP
//! at all. The same holds for the body of a request, which may be read only so far, or not taken.
//! Every request is kept with all its headers, so that a test can also judge what was asked, and
//! what was not.
//!
//! One thread a connection. Deliberately absent: any code of the tools, HTTP/2, and correction of
//! what a reply is told to send.

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

/// What a server does. A closure from a request to its reply is one that does no more than that.
pub trait Serve: Send + Sync {
    /// A request's head has come: what is to be done with its body.
    fn arriving(&self, _request: &Request) -> Intake {
        Intake::whole()
    }

    /// Some of its body has come. What is taken (true) is not kept with the request as well.
    fn take(&self, _request: &Request, _bytes: &[u8]) -> bool {
        false
    }

    /// The rest of its body will not come.
    fn broken(&self, _request: &Request) {}

    /// All of it is there: what is answered.
    fn answer(&self, request: &Request) -> Reply;
}

impl<F: Fn(&Request) -> Reply + Send + Sync> Serve for F {
    fn answer(&self, request: &Request) -> Reply {
        self(request)
    }
}

/// True as long as `which` has held for fewer than `count` requests before: the first so many of
/// their kind, whatever their paths.
pub fn first(
    count: usize,
    which: impl Fn(&Request) -> bool + Send + Sync + 'static,
) -> impl Fn(&Request) -> bool + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move |request| which(request) && seen.fetch_add(1, Ordering::SeqCst) < count
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

/// A panic of a script must not hide behind a poisoned lock.
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
    /// Serves plain http.
    pub fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::listen(None, Box::new(script))
    }

    /// Serves plain http, or https, with more than a script.
    pub fn serve(tls: Option<Arc<ServerConfig>>, serve: impl Serve + 'static) -> Server {
        Server::listen(tls, Box::new(serve))
    }

    /// Serves https.
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
                    // The client going away is the client's business.
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

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT`, or https.
    pub fn url(&self) -> String {
        format!("http{}://{}", if self.secure { "s" } else { "" }, self.address)
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// What was asked so far, in short: `GET /v2/`, a line each.
    pub fn asked(&self) -> Vec<String> {
        self.requests().iter().map(|r| format!("{} {}", r.method, r.target)).collect()
    }

    /// Forgets what was asked; numbers start again.
    pub fn forget(&self) {
        lock(&self.shared.requests).clear();
    }

    /// How many connections asked something so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have come, of which the last may still be sending its body.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        let requests = lock(&self.shared.requests);
        let (requests, _) = self
            .shared
            .arrived
            .wait_timeout_while(requests, PATIENCE, |requests| requests.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(requests.len() >= count, "{} requests of {count} came", requests.len());
    }

    /// How many stalls there have been so far, of [`Reply`]s and of [`Intake`]s.
    pub fn stalls(&self) -> usize {
        self.shared.stalled.load(Ordering::SeqCst)
    }

    /// Waits until there have been so many stalls.
    #[track_caller]
    pub fn wait_for_stalls(&self, count: usize) {
        let start = Instant::now();
        while self.stalls() < count {
            let (stalls, asked) = (self.stalls(), self.asked());
            assert!(start.elapsed() < PATIENCE, "{stalls} of {count} stalled: {asked:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Lets what is stalled go on, and what is to come.
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
        // Wakes the thread that accepts, which then closes the port.
        let _ = TcpStream::connect(self.address);
    }
}
