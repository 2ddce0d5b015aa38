// SPDX-License-Identifier: Apache-2.0
//! One exchange as a curl command, and its response as comments.
//!
//! The command sends the same request, except for headers such as User-Agent that curl sets itself.
//! A blob that curl receives goes into a file, because its bytes could harm a terminal.

use common::digest::Algorithm;
use common::secret::may_be_secret;

use super::names::{BLOB, Found, HEADER, LOCATION, Names, PASSWORD, TOKEN};
use super::text::{comment, document, expanded, fields, shown_headers, word};
use crate::basic::name_and_password;
use crate::failure::Failure;
use crate::peer::{ClientCertificate, Peer};
use crate::pool::Agents;
use crate::proxy;
use crate::proxy::Proxy;
use crate::request::{Method, Request, Role};
use crate::response::Response;
use crate::timing::Timing;
use crate::url::{Purpose, Url};

/// The number of digits of the digest in the name of a blob's file.
const DIGITS: usize = 12;

/// A request to trace, and the settings that it is sent with.
#[derive(Clone, Copy)]
pub(crate) struct Traced<'a> {
    /// The connections, with the settings of the run and of the peer.
    pub(crate) agents: &'a Agents,
    /// The request.
    pub(crate) request: Request<'a>,
    /// The proxy that the request uses, if any.
    pub(crate) proxy: Option<&'a Proxy>,
}

/// The body of a request, as far as it is known after sending.
pub(super) enum Body<'a> {
    /// No body.
    None,
    /// These bytes, possibly none.
    Bytes(&'a [u8]),
    /// A body of this many bytes, which are no longer in memory.
    File(u64),
}

/// One exchange.
pub(super) struct Exchange<'a> {
    pub(super) traced: Traced<'a>,
    pub(super) body: Body<'a>,
    pub(super) outcome: &'a Result<Response, Failure>,
    pub(super) timing: Option<Timing>,
}

/// The next hop, if the client follows it.
enum Next {
    /// A redirect that curl follows by itself.
    Followed,
    /// A redirect that needs a separate command: curl would send secrets of one origin to the
    /// target, or would use the wrong proxy for it.
    Redirect(Url),
    /// The URL where an upload continues, and the text of its Location.
    Upload(Url, String),
}

/// A command that is being built.
#[derive(Default)]
struct Command {
    /// Comments that explain the variables in the command.
    comments: String,
    words: Vec<String>,
}

impl Command {
    fn add(&mut self, option: &str, word: impl AsRef<str>) {
        self.words.push(format!("{option} {}", word.as_ref()));
    }

    fn explain(&mut self, variable: &(String, bool), what: &str) {
        if variable.1 {
            self.comments.push_str(&comment(&format!("{}: {what}", variable.0)));
        }
    }
}

impl Exchange<'_> {
    /// The complete block of the exchange.
    pub(super) fn render(&self, names: &mut Names) -> String {
        let Request { method, url, hop, .. } = self.traced.request;
        let mut command = Command::default();
        let mut known = names.place(url);
        if known.is_none() && self.traced.request.role == Role::Session {
            let variable = names.reserve(LOCATION);
            names.keep_place(url, &variable, &url.uri().to_string(), None);
            let what = "the address of an upload that an earlier run began";
            command.explain(&(variable, true), what);
            known = names.place(url);
        }
        if hop && known.is_none() {
            return self.hop();
        }
        let next = self.next();
        self.options(&next, &mut command);
        match method {
            Method::Get => {}
            Method::Head => command.words.push("-I".to_owned()),
            _ if matches!(self.traced.request.role, Role::Token(_)) => {}
            method => command.add("-X", method.name()),
        }
        self.headers(names, &mut command);
        self.body(names, &mut command);
        let target = match &known {
            Some(known) => known.word.clone(),
            None => word(&url.uri().to_string()),
        };
        let brings_token = self.status() / 100 == 2
            || (method == Method::Get && matches!(next, Some(Next::Followed)));
        let assigned = self.output(next, known, names, &mut command);
        command.words.push(target);
        let curl = format!("curl -sS {}", command.words.join(" "));
        let line = match (assigned, self.traced.request.role) {
            (Some(variable), _) => format!("{variable}=$({curl})\n"),
            (None, Role::Token(variable)) if brings_token => {
                format!("{variable}=$({curl} | jq -r '.token // .access_token')\n")
            }
            (None, _) => format!("{curl}\n"),
        };
        format!("{}{line}{}", command.comments, self.response(""))
    }

    /// The block of a redirect that curl follows by itself: only comments.
    fn hop(&self) -> String {
        let Request { method, url, .. } = self.traced.request;
        self.response(&format!("{} {url}: ", method.name()))
    }

    /// The response, or the failure, as comments.
    fn response(&self, what: &str) -> String {
        let timing = self.timing.and_then(|timing| timing.words());
        let timing = timing.map(|words| comment(&words)).unwrap_or_default();
        let head = match self.outcome {
            Err(failure) => comment(&format!("{what}failed: {}", failure.error)),
            Ok(Response { status, headers, url, .. }) => {
                let reason = status.canonical_reason().unwrap_or_default();
                let line = format!("{what}{} {reason}", status.as_u16());
                format!("{}{}", comment(line.trim_end()), shown_headers(headers, url))
            }
        };
        head + &timing
    }

    fn status(&self) -> u16 {
        self.outcome.as_ref().map_or(0, |response| response.status.as_u16())
    }

    /// The settings for the request's origin.
    fn peer(&self) -> &Peer {
        self.traced.agents.peer_at(self.traced.request.url)
    }

    /// Whether the server's certificate is not checked.
    fn is_unchecked(&self) -> bool {
        self.traced.request.url.is_https() && self.peer().skips_checks()
    }

    /// The next hop. The rules are those of the code that follows redirects and uploads.
    fn next(&self) -> Option<Next> {
        let Request { method, url, role, redirects, .. } = self.traced.request;
        let response = self.outcome.as_ref().ok()?;
        let location = response.header("location")?;
        let decide = |purpose| self.traced.agents.decide(purpose, url, location).ok();
        match (self.status(), method, role) {
            (301 | 302 | 303 | 307 | 308, ..) if redirects > 0 => {
                let target = decide(Purpose::Redirect)?;
                // curl does not follow a redirect from https to http.
                let takes_along = url.is_https() && !target.url.is_https()
                    || self.has_own_headers()
                    || self.is_unchecked()
                    || self.presented_certificate().is_some();
                match role {
                    // The target may need another proxy, or none.
                    _ if method.only_reads() && proxy::is_any_named() => {
                        Some(Next::Redirect(target.url))
                    }
                    // A body with a secret is not sent to the target of a redirect.
                    Role::Token(_) => (method == Method::Get).then_some(Next::Followed),
                    _ if method.only_reads() && !takes_along => Some(Next::Followed),
                    _ => Some(Next::Redirect(target.url)),
                }
            }
            (202, Method::Post, Role::Api)
            | (200..=299, Method::Patch | Method::Get, Role::Session) => {
                Some(Next::Upload(decide(Purpose::Upload)?.url, location.to_owned()))
            }
            _ => None,
        }
    }

    /// Adds curl's options for redirects, the proxy, the URL and TLS.
    fn options(&self, next: &Option<Next>, command: &mut Command) {
        let url = self.traced.request.url;
        if let Some(Next::Followed) = next {
            command.words.push("-L".to_owned());
            // curl decides about further redirects: it must not follow one to http.
            if url.is_https() {
                command.add("--proto-redir", word("=https"));
            }
        }
        self.proxy_options(command);
        let text = url.uri().to_string();
        if text.contains(['[', ']', '{', '}']) {
            command.words.push("-g".to_owned());
        }
        if url.uri().path().contains("/.") {
            command.words.push("--path-as-is".to_owned());
        }
        if url.is_https() {
            command.words.push("--http1.1".to_owned());
            self.certificates(command);
        }
    }

    /// Adds curl's options for the proxy. They are needed even though curl reads the same
    /// variables, because curl treats some of them differently.
    fn proxy_options(&self, command: &mut Command) {
        match self.traced.proxy {
            // The command has the variable's name instead of its value, which may contain a
            // password.
            Some(proxy) => {
                let (before, expansion) = proxy.of_variable();
                command.add("--noproxy", word(""));
                command.add("-x", expanded(before, &expansion, ""));
            }
            None if proxy::is_any_named() => command.add("--noproxy", word("*")),
            None => {}
        }
    }

    /// Adds curl's options for trusted authorities and the client certificate.
    fn certificates(&self, command: &mut Command) {
        let ca_file = self.traced.agents.client().ca_file.iter();
        let authorities = ca_file.chain(&self.peer().authorities);
        let mut authorities = authorities.map(|file| file.to_string_lossy());
        match authorities.next() {
            _ if self.is_unchecked() => command.words.push("-k".to_owned()),
            Some(file) => command.add("--cacert", word(&file)),
            None => {}
        }
        for file in authorities.filter(|_| !self.is_unchecked()) {
            command
                .comments
                .push_str(&comment(&format!("also trusted, but not in this command: {file}")));
        }
        if let Some(ClientCertificate { file, key }) = self.presented_certificate() {
            // curl would use the text after a colon as a password.
            let name = file.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
            command.add("--cert", word(&name));
            if let Some(key) = key {
                command.add("--key", word(&key.to_string_lossy()));
            }
        }
    }

    /// The client certificate to present for this request.
    fn presented_certificate(&self) -> Option<&ClientCertificate> {
        let is_https = self.traced.request.url.is_https();
        self.peer().presented_certificate().filter(|_| is_https)
    }

    /// Whether a header is one of the peer's configured headers.
    fn is_own_header(&self, name: &str, value: &str) -> bool {
        let mut own = self.peer().headers.iter();
        own.any(|(n, v)| (n.as_str(), v.as_str()) == (name, value))
    }

    fn has_own_headers(&self) -> bool {
        self.traced.request.headers.iter().any(|(name, value)| self.is_own_header(name, value))
    }

    fn headers(&self, names: &mut Names, command: &mut Command) {
        for (name, value) in self.traced.request.headers {
            let is_own = self.is_own_header(name, value);
            let before = format!("{name}: ");
            if is_own && may_be_secret(name) {
                let variable = names.of_secret(HEADER, value);
                command.explain(&variable, &format!("the value of the header {name}"));
                command.add("-H", expanded(&before, &format!("${}", variable.0), ""));
            } else if *name == "Authorization" && !is_own {
                self.authorization(value, names, command);
            } else if !(matches!(self.traced.request.role, Role::Token(_))
                && *name == "Content-Type")
            {
                command.add("-H", word(&format!("{before}{value}")));
            }
        }
    }

    fn authorization(&self, value: &str, names: &mut Names, command: &mut Command) {
        let place = self.traced.request.url.authority();
        if let Some((user, password)) = name_and_password(value) {
            let variable = names.of_secret(PASSWORD, &password);
            command.explain(
                &variable,
                &format!("the password or identity token of {user} for {place}"),
            );
            return command
                .add("-u", expanded(&format!("{user}:"), &format!("${}", variable.0), ""));
        }
        let (scheme, token) = value.split_once(' ').unwrap_or(("", value));
        let variable = names.of_secret(TOKEN, token);
        command.explain(&variable, &format!("the token that was given for {place}"));
        command.add(
            "-H",
            expanded(&format!("Authorization: {scheme} "), &format!("${}", variable.0), ""),
        );
    }

    fn body(&self, names: &mut Names, command: &mut Command) {
        match &self.body {
            Body::None => {}
            Body::Bytes([]) => command.add("-H", word("Content-Length: 0")),
            Body::Bytes(bytes) if matches!(self.traced.request.role, Role::Token(_)) => {
                for (name, value) in fields(&String::from_utf8_lossy(bytes)) {
                    if name != "refresh_token" {
                        command.add("--data-urlencode", word(&format!("{name}={value}")));
                        continue;
                    }
                    let variable = names.of_secret(PASSWORD, &value);
                    let place = self.traced.request.url.authority();
                    command.explain(&variable, &format!("the identity token for {place}"));
                    let word = expanded("refresh_token=", &format!("${}", variable.0), "");
                    command.add("--data-urlencode", word);
                }
            }
            Body::Bytes(bytes) => match document(bytes) {
                Some(word) => command.add("--data-binary", word),
                None => {
                    let digest = Algorithm::Sha256.digest(bytes).to_string();
                    self.file(&format!("the {} bytes of {digest}", bytes.len()), names, command);
                }
            },
            Body::File(length) => {
                let digest = self
                    .traced
                    .request
                    .url
                    .uri()
                    .query()
                    .and_then(|query| query.rsplit_once("digest="));
                let range =
                    self.traced.request.headers.iter().find(|(name, _)| *name == "Content-Range");
                let what = match (digest, range) {
                    (Some((_, digest)), _) => format!("the {length} bytes of {digest}"),
                    (None, Some((_, range))) => {
                        let upload = names.place(self.traced.request.url).map(|known| known.name);
                        format!("the bytes {range} of the blob for {}", upload.unwrap_or_default())
                    }
                    (None, None) => format!("{length} bytes"),
                };
                self.file(&what, names, command);
            }
        }
    }

    fn file(&self, what: &str, names: &mut Names, command: &mut Command) {
        let variable = names.of(BLOB, what);
        command.explain(&variable, &format!("a file with {what}"));
        command.add("--data-binary", format!("@\"${}\"", variable.0));
    }

    /// Adds curl's options for its output. Returns the variable that the output is assigned to, if
    /// any.
    fn output(
        &self,
        next: Option<Next>,
        known: Option<Found>,
        names: &mut Names,
        command: &mut Command,
    ) -> Option<String> {
        let is_upload = self.traced.request.role == Role::Session;
        let (variable, file) = known.map_or((None, None), |known| (Some(known.name), known.file));
        let file = file.or_else(|| self.file_name());
        match next {
            Some(Next::Upload(url, text)) => {
                command.add("-o", "/dev/null");
                command.add("-w", "'%header{location}'");
                let name = variable.unwrap_or_else(|| names.reserve(LOCATION));
                names.keep_place(&url, &name, &text, None);
                return Some(name);
            }
            Some(Next::Redirect(url)) => {
                command.add("-o", "/dev/null");
                command.add("-w", "'%{redirect_url}'");
                let name = names.reserve(LOCATION);
                names.keep_place(&url, &name, &url.uri().to_string(), file);
                return Some(name);
            }
            Some(Next::Followed) | None => {}
        }
        let is_over = matches!(self.traced.request.method, Method::Put | Method::Delete);
        if let Some(variable) =
            variable.filter(|_| !is_upload || is_over && self.status() / 100 == 2)
        {
            names.forget_place(&variable);
        }
        if let Some(file) = file {
            command.add("-o", word(&file));
        }
        None
    }

    /// The file for a blob; `None` for other documents, and for error responses, which the user
    /// reads on the terminal.
    fn file_name(&self) -> Option<String> {
        let Request { method, url, role, headers, .. } = self.traced.request;
        if method != Method::Get || self.status() >= 400 {
            return None;
        }
        let stem = match role {
            Role::Elsewhere => "blob".to_owned(),
            Role::Api => {
                let (_, digest) = url.uri().path().rsplit_once("/blobs/")?;
                let (_, hex) = digest.split_once(':')?;
                format!("blob-{}", hex.get(..DIGITS)?)
            }
            Role::Session | Role::Token(_) => return None,
        };
        let range = headers.iter().find(|(name, _)| *name == "Range").map(|(_, range)| *range);
        let start = range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next());
        Some(match start {
            None | Some("0") => stem,
            Some(start) => format!("{stem}.{start}"),
        })
    }
}
