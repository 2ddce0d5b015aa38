// SPDX-License-Identifier: Apache-2.0
//! The connections that may serve a URL: how it is encrypted, and what they leave to nobody else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::error::{Error, Result};
use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, Resolver};
use ureq::unversioned::transport::{Connector, TcpConnector};

use crate::client::Client;
use crate::connection::Watch;
use crate::origin::Origin;
use crate::peer::{ClientCertificate, Peer};
use crate::proxy::tunnel::{NoResolver, ProxyConnector, socks};
use crate::proxy::{Kind, Proxies, Proxy};
use crate::tls::certificates::{Pair, Pem, client_certificate, named_pair};
use crate::tls::host_certificates::{self, HostCertificates};
use crate::tls::secure::Secure;
use crate::tls::trust::trusted;
use crate::tls::{failure as tls_failure, history};
use crate::url::Url;

/// What the buffers of a connection hold.
const CONNECTION_BUFFER: usize = 128 << 10;

/// How long a response's head may take; the idle time-out is for bytes that follow.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How a connection to an origin is made: those that are made alike are kept together.
#[derive(Clone, PartialEq)]
struct Route {
    encryption: Encryption,
    /// By way of whom.
    proxy: Option<Proxy>,
}

/// Whether, for whom, and as whom a connection is encrypted.
#[derive(Clone, PartialEq)]
enum Encryption {
    /// Not at all.
    Plain,
    /// By TLS.
    Tls {
        /// Only for who has a certificate that is trusted.
        checked: bool,
        /// With the certificates that are for the registry's own origin.
        own: bool,
        /// With what the machine's owner keeps for the host.
        kept: Option<Arc<HostCertificates>>,
    },
}

/// Connections, kept and reused; the same to every thread.
pub(crate) struct Agents {
    client: Client,
    origin: Origin,
    /// What holds at `origin`, and nowhere else.
    peer: Peer,
    proxies: Proxies,
    /// Made when needed: reading the trust store is half of a short run's time. Few: there are few
    /// ways.
    made: Mutex<Vec<(Route, Agent)>>,
}

/// What holds everywhere else.
static UNCONFIGURED: Peer = Peer::unconfigured();

impl Agents {
    /// Those of the peer at `origin`.
    pub(crate) fn new(client: Client, origin: Origin, peer: Peer) -> Agents {
        let proxies = Proxies::of_environment();
        Agents { client, origin, peer, proxies, made: Mutex::default() }
    }

    /// What holds for the run.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The peer's origin.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The peer.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Who is at a URL: the peer at its own origin, a stranger at every other.
    pub(crate) fn peer_at(&self, url: &Url) -> &Peer {
        if url.origin() == self.origin { &self.peer } else { &UNCONFIGURED }
    }

    /// Those that serve a URL, and the proxy that they go by.
    ///
    /// # Errors
    /// Trouble with the certificates that are to be trusted or shown; malformed, when it is plain
    /// http to who has spoken TLS; usage, when the proxy is none.
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

    /// The proxy that a URL goes by.
    ///
    /// # Errors
    /// Usage, when it is none.
    pub(crate) fn proxy(&self, url: &Url) -> Result<Option<Proxy>> {
        self.proxies.of(url)
    }

    fn route(&self, url: &Url) -> Result<Route> {
        let proxy = self.proxy(url)?;
        if !url.is_https() {
            if history::of(&url.host(), url.port()).tls {
                return Err(Error::malformed(format_args!(
                    "{}: it has spoken TLS before, and is not spoken to in plain http",
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
        self.client.comment(format_args!("used from here on: {}", proxy.description()));
        // What a proxy shows is always checked, and it is shown nothing.
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

/// The client certificates of a peer: the command line's, or else those that a configuration names.
/// Either replaces what is kept for the host.
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
        // The limit is the connection's own: this one measures what is buffered behind an interim
        // answer too.
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
