// SPDX-License-Identifier: Apache-2.0
//! The reused connections, and the choice of a connection for a URL. Connections are shared only
//! between requests that use the same proxy and the same TLS settings.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::error::{Error, Result};
use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, Resolver};
use ureq::unversioned::transport::{Connector, TcpConnector};

use crate::client::Client;
use crate::connection::Watch;
use crate::history;
use crate::origin::Origin;
use crate::peer::{ClientCertificate, Peer};
use crate::proxy::tunnel::{NoResolver, ProxyConnector, socks};
use crate::proxy::{Kind, Proxies, Proxy};
use crate::tls::certificates::{Pair, Pem, client_certificate, named_pair};
use crate::tls::failure as tls_failure;
use crate::tls::host_certificates::{self, HostCertificates};
use crate::tls::secure::Secure;
use crate::tls::trust::trusted;
use crate::url::{self, Purpose, Refusal, Target, Url};

/// The size of a connection's buffers, in bytes.
const CONNECTION_BUFFER: usize = 128 << 10;

/// The time that a response's head may take, unless the idle time-out is longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How a connection is made. Each distinct route has its own [`Agent`] (a pool of connections).
#[derive(Clone, PartialEq)]
struct Route {
    encryption: Encryption,
    proxy: Option<Proxy>,
}

/// The TLS settings of a connection.
#[derive(Clone, PartialEq)]
enum Encryption {
    /// Plain HTTP.
    Plain,
    /// HTTPS.
    Tls {
        /// Whether the server's certificate must be trusted.
        checked: bool,
        /// Whether the certificates of [`Agents::peer`] apply: true at the registry's own origin.
        own: bool,
        /// The certificates for this host in the machine's `certs.d`.
        kept: Option<Arc<HostCertificates>>,
    },
}

/// Reused connections, shared by all threads.
pub(crate) struct Agents {
    client: Client,
    origin: Origin,
    /// Settings for `origin` only.
    peer: Peer,
    proxies: Proxies,
    /// Agents made so far. An agent is made when it is first needed, since reading the trust store
    /// takes half the time of a short run. The list stays short: a run has few routes.
    made: Mutex<Vec<(Route, Agent)>>,
}

/// The settings for all other origins.
static UNCONFIGURED: Peer = Peer::unconfigured();

impl Agents {
    /// Agents for the peer at `origin`, and for other origins. Makes no connection yet.
    pub(crate) fn new(client: Client, origin: Origin, peer: Peer) -> Agents {
        let proxies = Proxies::of_environment();
        Agents { client, origin, peer, proxies, made: Mutex::default() }
    }

    /// The settings of the run.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The peer's origin.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The settings of the peer's origin.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The settings for a URL: those of the peer at its own origin, else [`Peer::unconfigured`].
    pub(crate) fn peer_at(&self, url: &Url) -> &Peer {
        if url.origin() == self.origin { &self.peer } else { &UNCONFIGURED }
    }

    /// Checks a URL that a server supplied, for a response to a request to `from`.
    ///
    /// # Errors
    /// As [`url::decide_with`].
    pub(crate) fn decide(
        &self,
        purpose: Purpose,
        from: &Url,
        text: &str,
    ) -> std::result::Result<Target, Refusal> {
        self.decide_for(purpose, &self.origin, from, text)
    }

    /// As [`decide`](Agents::decide), with the rules for this registry.
    pub(crate) fn decide_for(
        &self,
        purpose: Purpose,
        registry: &Origin,
        from: &Url,
        text: &str,
    ) -> std::result::Result<Target, Refusal> {
        let allowed = [self.client.allowed.as_slice(), &self.peer.allowed].concat();
        let decision = url::decide_with(purpose, registry, &allowed, from, text);
        decision.map_err(|refusal| refusal.with(self.peer.options))
    }

    /// The agent for a URL, and the proxy that it uses.
    ///
    /// # Errors
    /// Malformed if the URL is plain HTTP but its host has used TLS before. Usage if the proxy's
    /// URL is invalid. Otherwise the errors of reading the files with trusted or client
    /// certificates.
    pub(crate) fn serving(&self, url: &Url) -> Result<(Agent, Option<Proxy>)> {
        let route = self.route(url)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, agent)) = made.iter().find(|(known, _)| *known == route) {
            return Ok((agent.clone(), route.proxy));
        }
        let agent = self.make(&route)?;
        made.push((route.clone(), agent.clone()));
        Ok((agent, route.proxy))
    }

    /// The proxy for a URL; `None` if no proxy is used.
    ///
    /// # Errors
    /// Usage if the proxy's URL is invalid.
    pub(crate) fn proxy(&self, url: &Url) -> Result<Option<Proxy>> {
        self.proxies.of(url)
    }

    fn route(&self, url: &Url) -> Result<Route> {
        let proxy = self.proxy(url)?;
        if !url.is_https() {
            if history::of(&url.host(), url.port()).tls {
                return Err(Error::malformed(format_args!(
                    "{}: refused plain http: this host has used TLS before",
                    url.authority()
                )));
            }
            return Ok(Route { encryption: Encryption::Plain, proxy });
        }
        let own = url.origin() == self.origin;
        let checked = !self.peer_at(url).skips_checks();
        let encryption = Encryption::Tls { checked, own, kept: host_certificates::of(url)? };
        Ok(Route { encryption, proxy })
    }

    fn make(&self, route: &Route) -> Result<Agent> {
        let secure = self.secure(&route.encryption)?;
        let config = |socks| config(&self.client, socks);
        let Some(proxy) = &route.proxy else {
            let connector = TcpConnector::default();
            return Ok(agent(config(None), connector, secure, DefaultResolver::default()));
        };
        self.client.comment(format_args!("connecting through {}", proxy.description()));
        // A proxy's certificate is always checked, and no client certificate is presented to it.
        let own = match proxy.kind() {
            Kind::Https => {
                let trusted = trusted(self.client.ca_file.as_deref(), Vec::new())?;
                let secure = Secure::new(Some(trusted), Vec::new());
                Some(secure.map_err(|error| tls_failure::unusable(&error))?)
            }
            Kind::Http | Kind::Socks => None,
        };
        let socks = socks(proxy).map_err(|_| Error::usage(proxy.unusable()))?;
        let through = ProxyConnector::new(proxy.clone(), config(socks), own);
        Ok(agent(config(None), through, secure, NoResolver))
    }

    fn secure(&self, encryption: &Encryption) -> Result<Option<Secure>> {
        let Encryption::Tls { checked, own, kept } = encryption else { return Ok(None) };
        let kept = kept.as_deref();
        if let Some(kept) = kept {
            let directory = kept.directory.display();
            self.client.comment(format_args!("certificates are taken from: {directory}"));
        }
        let peer = if *own { &self.peer } else { &UNCONFIGURED };
        let pairs = match own_pairs(peer)? {
            none if none.is_empty() => kept.map_or_else(Vec::new, |kept| kept.pairs.clone()),
            pairs => pairs,
        };
        let trusted = if *checked {
            let mut more = kept.map_or_else(Vec::new, |kept| kept.authorities.clone());
            for path in &peer.authorities {
                more.extend(Pem::file(path)?.certificates()?);
            }
            Some(trusted(self.client.ca_file.as_deref(), more)?)
        } else {
            None
        };
        let secure = Secure::new(trusted, pairs);
        secure.map(Some).map_err(|error| tls_failure::unusable(&error))
    }
}

/// The client certificates of a peer: the one of the command line, else those that a configuration
/// file names. If there are any, those in `certs.d` are not used.
fn own_pairs(peer: &Peer) -> Result<Vec<Pair>> {
    match &peer.certificate {
        Some(ClientCertificate { file, key }) => {
            client_certificate(file, key.as_deref()).map(|pair| vec![pair])
        }
        None => {
            let configured = peer.configured_certificates.iter();
            configured.map(|pair| named_pair(&pair.file, pair.key.as_deref())).collect()
        }
    }
}

fn agent(
    config: Config,
    connector: impl Connector,
    secure: Option<Secure>,
    resolver: impl Resolver,
) -> Agent {
    match secure {
        Some(secure) => Agent::with_parts(config, connector.chain(secure).chain(Watch), resolver),
        None => Agent::with_parts(config, connector.chain(Watch), resolver),
    }
}

fn config(client: &Client, socks: Option<ureq::Proxy>) -> Config {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(socks)
        .user_agent(concat!("regutils/", env!("CARGO_PKG_VERSION")))
        .accept("")
        .accept_encoding("identity")
        // `connection` enforces the limit. ureq's own limit would also count the bytes that are
        // buffered after an interim response, so it is set as high as the buffer.
        .max_response_header_size(CONNECTION_BUFFER)
        .input_buffer_size(CONNECTION_BUFFER)
        .max_idle_connections(64)
        .max_idle_connections_per_host(64)
        .timeout_connect(Some(client.connect_timeout))
        .timeout_recv_response(Some(HEAD_TIMEOUT.max(client.idle_timeout)))
        .timeout_per_read(Some(client.idle_timeout))
        .timeout_per_write(Some(client.idle_timeout));
    config.build()
}
