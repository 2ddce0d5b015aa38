// SPDX-License-Identifier: Apache-2.0
//! One HTTP exchange: a request sent, its answer's head read, failures sorted.
//!
//! What may pass and is worth another attempt is decided here. Redirects are not followed and no status is judged by the
//! library underneath. Proxies are not used.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};
use ureq::{Agent, BodyReader, SendBody};

use super::MAX_REDIRECTS;
use super::answer::Access;
use super::connection::{MAX_HEAD, Watch};
use super::credentials::Given;
use super::push::source_error;
use super::retry::{Failure, Retry};
use super::tls::{tls_error, trusted};
use super::url::Url;
use crate::error::{Error, Result, printable};
use crate::notice;

/// The most bytes of an error's body that are read.
pub const MAX_ERROR_BODY: u64 = 64 << 10;

/// What the buffers of a connection hold.
const CONNECTION_BUFFER: usize = 128 << 10;

/// How long a response's head may take; the idle time-out is for bytes that follow.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How many times the idle time-out the answer to a request that closes an upload may take: the registry puts the blob
/// together and hashes it.
const COMMIT_PATIENCE: u32 = 10;

/// How to speak to a registry.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Plain http instead of https.
    pub plain_http: bool,
    /// Do not check the certificate of the registry's own host.
    pub insecure: bool,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The credential that the command line gives for this registry.
    pub given: Option<Given>,
    /// The file with credentials that is to be read instead of those that are there by custom.
    pub authfile: Option<PathBuf>,
    /// Headers for the registry's own scheme, host and port.
    pub headers: Vec<(String, String)>,
    /// Attempts without progress before giving up, at least 1.
    pub attempts: u32,
    /// The longest wait between two attempts.
    pub max_wait: Duration,
    /// How long an answer may stand still.
    pub idle_timeout: Duration,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
}

impl Settings {
    /// Whether the headers have an Authorization of their own.
    pub(super) fn authorizes(&self) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    }
}

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }

    /// Whether it only reads, so that redirects may be followed.
    pub(super) fn only_reads(self) -> bool {
        matches!(self, Method::Get | Method::Head)
    }
}

/// A request, but for what it carries.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: &'a Url,
    /// Headers beside those that every request has.
    pub headers: &'a [(&'a str, &'a str)],
    /// How many redirects may be followed; with none a redirect is an answer like any other.
    pub redirects: usize,
    /// How long it may take in all, when that is less than usual.
    pub within: Option<Duration>,
    /// Whether the server has long work to do before it answers.
    pub commits: bool,
}

impl<'a> Request<'a> {
    /// A request that follows redirects and takes its time.
    pub fn new(method: Method, url: &'a Url, headers: &'a [(&'a str, &'a str)]) -> Request<'a> {
        Request { method, url, headers, redirects: MAX_REDIRECTS, within: None, commits: false }
    }
}

/// What a request carries.
pub enum Payload<'a> {
    /// Nothing: a GET, HEAD or DELETE.
    None,
    /// Bytes in memory, none of them too: can be sent again.
    Bytes(&'a [u8]),
    /// Exactly so many bytes of a reader, once. What fails with a [`common::error::Error`](Error) inside
    /// [`io::Error`] fails the request with that.
    Stream {
        /// Where they come from.
        reader: &'a mut dyn Read,
        /// How many.
        length: u64,
    },
}

impl Payload<'_> {
    /// How many bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Payload::None => 0,
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Stream { length, .. } => *length,
        }
    }

    /// Whether it can be sent again.
    pub(super) fn can_repeat(&self) -> bool {
        !matches!(self, Payload::Stream { .. })
    }
}

/// A reader of exactly so many bytes. One that ends early is an error: the library would wait for more for ever.
struct Exactly<'a> {
    reader: &'a mut dyn Read,
    left: u64,
    /// Why it could not be read on.
    failed: Option<Error>,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        loop {
            let error = match self.reader.read(&mut buffer[..want]) {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => Error::content(format_args!("the source ended {} bytes early", self.left)),
                Ok(n) => {
                    self.left -= n as u64;
                    return Ok(n);
                }
                Err(cause) => source_error(&cause),
            };
            self.failed = Some(error);
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// An answer: its head, and its body still to be read.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// Where it came from.
    pub url: Url,
    /// As whom it was asked for; of a refusal.
    pub(super) access: Option<Access>,
}

impl Response {
    /// A header's text; nothing when it is absent or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The same answer with the words of who was refused.
    pub(super) fn about(self, access: Access) -> Response {
        Response { access: Some(access), ..self }
    }

    /// Refuses a body that is encoded: its bytes would not be those that the digest is of.
    ///
    /// # Errors
    /// Malformed.
    pub fn refuse_encoding(&self) -> Result<()> {
        match self.header("content-encoding").map(str::trim) {
            None | Some("" | "identity") => Ok(()),
            Some(encoding) => Err(Error::malformed(format_args!(
                "it came with Content-Encoding \"{}\", which was not asked for",
                printable(encoding)
            ))),
        }
    }

    /// Retry-After in its forms; a date that has passed is no time at all.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            // What does not fit is as good as never.
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX >> 1)));
        }
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// The whole body, if it has at most `limit` bytes; nothing if it has more.
    ///
    /// # Errors
    /// A broken connection, worth another attempt.
    pub fn read(mut self, limit: u64) -> std::result::Result<Option<Vec<u8>>, Failure> {
        let mut bytes = Vec::new();
        let read = (&mut self.body).take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|cause| Failure::temporary(Error::later(body_words(&cause))))?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// What can be read of an error's body; trouble with it never hides the status.
    pub fn error_text(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = (&mut self.body).take(MAX_ERROR_BODY).read_to_end(&mut bytes);
        bytes
    }
}

/// The bytes of an answer as they come.
pub struct Body {
    reader: BodyReader<'static>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// Why reading a body failed, in words.
pub fn body_words(cause: &io::Error) -> String {
    if let Some(ureq::Error::Timeout(_)) = cause.get_ref().and_then(|e| e.downcast_ref()) {
        return "the answer stood still for too long".to_owned();
    }
    match cause.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the connection ended in the middle of the answer".to_owned()
        }
        io::ErrorKind::TimedOut => "the answer stood still for too long".to_owned(),
        _ => printable(&crate::error::os_words(cause)),
    }
}

/// Connections, kept and reused; the same to every thread.
pub struct Http {
    settings: Settings,
    /// The host and port that `insecure` is for.
    own: Url,
    plain: Agent,
    // The trust store is read when https is first spoken: it is half of a short run's time.
    checked: OnceLock<std::result::Result<Agent, Error>>,
    unchecked: OnceLock<Agent>,
    /// Whether there was an answer before, so that a connection may have been kept.
    answered: AtomicBool,
}

impl Http {
    /// A client for the registry at `own`.
    pub fn new(settings: Settings, own: Url) -> Http {
        let plain = agent(&settings, None);
        let (checked, unchecked) = (OnceLock::new(), OnceLock::new());
        Http { settings, own, plain, checked, unchecked, answered: AtomicBool::new(false) }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn agent(&self, url: &Url) -> Result<&Agent> {
        if !url.is_https() {
            return Ok(&self.plain);
        }
        if self.settings.insecure && url.same_origin(&self.own) {
            let tls = || TlsConfig::builder().disable_verification(true).build();
            return Ok(self.unchecked.get_or_init(|| agent(&self.settings, Some(tls()))));
        }
        let checked = self.checked.get_or_init(|| {
            let roots = trusted(self.settings.ca_file.as_deref())?;
            let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build();
            Ok(agent(&self.settings, Some(tls)))
        });
        checked.as_ref().map_err(Clone::clone)
    }

    /// Sends a request and reads the head of its answer, whatever its status. Redirects are not followed here.
    ///
    /// # Errors
    /// Sorted: what may pass, and what will not. A payload's own failure will not.
    pub fn send(
        &self,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> std::result::Result<Response, Failure> {
        let agent = self.agent(request.url)?;
        let may_repeat = payload.can_repeat() && request.method != Method::Patch;
        let outcome = match self.exchange(agent, request, payload) {
            // Perhaps the server closed a kept connection meanwhile: nobody's fault, once.
            Err(Broken::Connection(error))
                if may_repeat && self.answered.load(Ordering::Relaxed) && is_broken(&error) =>
            {
                self.exchange(agent, request, payload)
            }
            outcome => outcome,
        };
        self.answered.fetch_or(outcome.is_ok(), Ordering::Relaxed);
        if let Ok(response) = &outcome {
            pass_on_warnings(response);
        }
        outcome.map_err(|broken| match broken {
            Broken::Connection(error) => sort(request.url, error),
            Broken::Payload(error) => error.into(),
        })
    }

    fn exchange(
        &self,
        agent: &Agent,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> std::result::Result<Response, Broken> {
        let Request { method, url, headers, within, commits, .. } = request;
        let mut request =
            ureq::http::Request::builder().method(method.name()).uri(url.uri().clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let connection = |e: ureq::http::Error| Broken::Connection(e.into());
        let outcome = match payload {
            Payload::None => {
                let request = request.body(()).map_err(connection)?;
                match within {
                    Some(limit) => {
                        let config = agent.configure_request(request);
                        agent.run(config.timeout_global(Some(limit)).build())
                    }
                    None => agent.run(request),
                }
            }
            Payload::Bytes(bytes) => {
                let request = request.header("Content-Length", bytes.len());
                let request = request.body(*bytes).map_err(connection)?;
                match commits {
                    true => agent.run(self.patiently(agent, request)),
                    false => agent.run(request),
                }
            }
            Payload::Stream { reader, length } => {
                let mut exactly = Exactly { reader: *reader, left: *length, failed: None };
                let request = request.header("Content-Length", *length);
                let request = request.body(SendBody::from_reader(&mut exactly));
                let request = request.map_err(connection)?;
                let outcome = match commits {
                    true => agent.run(self.patiently(agent, request)),
                    false => agent.run(request),
                };
                if let Some(error) = exactly.failed {
                    return Err(Broken::Payload(error));
                }
                outcome
            }
        };
        let (head, body) = outcome.map_err(Broken::Connection)?.into_parts();
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body: Body { reader: body.into_with_config().limit(u64::MAX).reader() },
            url: url.clone(),
            access: None,
        })
    }

    /// The same request with the time that long work may take.
    fn patiently<S: ureq::AsSendBody>(
        &self,
        agent: &Agent,
        request: ureq::http::Request<S>,
    ) -> ureq::http::Request<S> {
        let patience = self.settings.idle_timeout.saturating_mul(COMMIT_PATIENCE);
        let config = agent.configure_request(request);
        config.timeout_recv_response(Some(patience)).timeout_per_read(Some(patience)).build()
    }
}

/// Why there is no answer.
enum Broken {
    /// The connection, or making it.
    Connection(ureq::Error),
    /// What was to be sent.
    Payload(Error),
}

/// Sorts a failure before an answer.
fn sort(url: &Url, error: ureq::Error) -> Failure {
    let place = url.authority();
    let later = |what: String| Failure::temporary(Error::later(format_args!("{place}: {what}")));
    let never = |error: Error| Failure { error: error.context(place), retry: Retry::Never };
    match error {
        ureq::Error::HostNotFound => never(Error::later("cannot resolve the host's name")),
        ureq::Error::ConnectionFailed => later("cannot connect".to_owned()),
        ureq::Error::Timeout(which) => later(match which {
            ureq::Timeout::Resolve => "resolving its name took too long".to_owned(),
            ureq::Timeout::Connect => "timed out connecting".to_owned(),
            _ => "no answer in time".to_owned(),
        }),
        ureq::Error::Rustls(error) => never(tls_error(&error)),
        ureq::Error::Io(cause) => {
            let tls = cause.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
            match tls {
                Some(error) => never(tls_error(error)),
                None if lookup_failure(&cause).is_some() => Failure {
                    error: Error::later(format_args!("{place}: cannot resolve the host's name")),
                    retry: lookup_failure(&cause).unwrap_or(Retry::Never),
                },
                None if cause.kind() == io::ErrorKind::UnexpectedEof => {
                    later("the connection ended before the answer".to_owned())
                }
                None => later(printable(&crate::error::os_words(&cause))),
            }
        }
        ureq::Error::LargeResponseHeader(..) => never(Error::malformed(format_args!(
            "an answer's header of more than {MAX_HEAD} bytes"
        ))),
        ureq::Error::Protocol(error) => {
            let why = printable(&error.to_string());
            never(Error::malformed(format_args!("it does not speak HTTP as it should: {why}")))
        }
        other => never(Error::malformed(printable(&other.to_string()))),
    }
}

/// Shows what a registry wants people to know: `Warning: 299 - "text"` (RFC 7234, section 5.5).
fn pass_on_warnings(response: &Response) {
    for value in response.headers.get_all("warning") {
        let text = value.to_str().unwrap_or_default();
        if let Some((_, quoted)) = text.strip_prefix("299 ").and_then(|rest| rest.split_once('"')) {
            let text = quoted.rsplit_once('"').map_or(quoted, |(text, _)| text);
            notice::say("registry", &format!("{} says: {text}", response.url.authority()));
        }
    }
}

/// Whether resolving a host's name failed, and whether that may pass. std has only words for it, the
/// resolver's own, which are the same in every language setting.
fn lookup_failure(cause: &io::Error) -> Option<Retry> {
    let words = cause.to_string();
    let why = words.strip_prefix("failed to lookup address information: ")?;
    Some(if why.starts_with("Temporary") { Retry::Backoff } else { Retry::Never })
}

/// A kept connection that turned out to be closed.
fn is_broken(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(cause) => {
            matches!(cause.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        }
        _ => false,
    }
}

fn agent(settings: &Settings, tls: Option<TlsConfig>) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("regutils/", env!("CARGO_PKG_VERSION")))
        .accept("")
        .accept_encoding("identity")
        // The limit is the connection's own: this one measures what is buffered behind an interim answer too.
        .max_response_header_size(CONNECTION_BUFFER)
        .input_buffer_size(CONNECTION_BUFFER)
        .max_idle_connections(64)
        .max_idle_connections_per_host(64)
        .timeout_connect(Some(settings.connect_timeout))
        .timeout_recv_response(Some(HEAD_TIMEOUT.max(settings.idle_timeout)))
        .timeout_per_read(Some(settings.idle_timeout))
        .timeout_per_write(Some(settings.idle_timeout));
    let config = match tls {
        Some(tls) => config.tls_config(tls),
        None => config,
    };
    let connector = DefaultConnector::default().chain(Watch);
    Agent::with_parts(config.build(), connector, DefaultResolver::default())
}
