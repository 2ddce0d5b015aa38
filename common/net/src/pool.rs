// SPDX-License-Identifier: Apache-2.0
//! The connections that may serve a URL: how it is encrypted, and what they leave to nobody else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::error::{Error, Result};
use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, Resolver};
use ureq::unversioned::transport::{Connector, TcpConnector};

use crate::connection::Watch;
use crate::proxy::tunnel::{Nowhere, Through, socks};
use crate::proxy::{Kind, Proxies, Proxy};
use crate::settings::Settings;
use crate::tls::certificates::{Pair, Pem, client_certificate, named_pair};
use crate::tls::certs_d::{self, HostCertificates};
use crate::tls::secure::Secure;
use crate::tls::trust::trusted;
use crate::tls::{seen, trouble};
use crate::url::Url;

/// What the buffers of a connection hold.
const CONNECTION_BUFFER: usize = 128 << 10;

/// How long a response's head may take; the idle time-out is for bytes that follow.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How a connection to an origin is made: those that are made alike are kept together.
#[derive(Clone, PartialEq)]
struct Way {
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
    settings: Settings,
    /// The origin that `insecure` and the client certificate are for.
    own: Url,
    proxies: Proxies,
    /// As they are needed: reading the trust store is half of a short run's time. Few: there are few ways.
    made: Mutex<Vec<(Way, Agent)>>,
}

impl Agents {
    /// Those of the registry at `own`.
    pub(crate) fn new(settings: Settings, own: Url) -> Agents {
        Agents { settings, own, proxies: Proxies::of_environment(), made: Mutex::default() }
    }

    /// The settings.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The registry's own origin.
    pub(crate) fn own(&self) -> &Url {
        &self.own
    }

    /// Those that serve a URL, and the proxy that they go by.
    ///
    /// # Errors
    /// Trouble with the certificates that are to be trusted or shown; malformed, when it is plain http to who has
    /// spoken TLS; usage, when the proxy is none.
    pub(crate) fn serving(&self, url: &Url) -> Result<(Agent, Option<Proxy>)> {
        let way = self.way(url)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, agent)) = made.iter().find(|(known, _)| *known == way) {
            return Ok((agent.clone(), way.proxy));
        }
        let agent = self.make(&way)?;
        made.push((way.clone(), agent.clone()));
        Ok((agent, way.proxy))
    }

    /// The proxy that a URL goes by.
    ///
    /// # Errors
    /// Usage, when it is none.
    pub(crate) fn proxy(&self, url: &Url) -> Result<Option<Proxy>> {
        self.proxies.of(url)
    }

    fn way(&self, url: &Url) -> Result<Way> {
        let proxy = self.proxy(url)?;
        if !url.is_https() {
            return match seen::of(&url.host(), url.port()).tls {
                true => Err(Error::malformed(format_args!(
                    "{}: it has spoken TLS before, and is not spoken to in plain http",
                    url.authority()
                ))),
                false => Ok(Way { encryption: Encryption::Plain, proxy }),
            };
        }
        let is_own = url.same_origin(&self.own);
        let unchecked = self.settings.skips_checks();
        Ok(Way {
            encryption: Encryption::Tls {
                checked: !(is_own && unchecked),
                own: is_own,
                kept: certs_d::of(url)?,
            },
            proxy,
        })
    }

    fn make(&self, way: &Way) -> Result<Agent> {
        let secure = self.secure(&way.encryption)?;
        let config = |socks| config(&self.settings, socks);
        let Some(proxy) = &way.proxy else {
            let (connector, resolver) = (TcpConnector::default(), DefaultResolver::default());
            return Ok(agent(config(None), connector, secure, resolver));
        };
        self.settings.comment(format_args!("used from here on: {}", proxy.words()));
        // What a proxy shows is always checked, and it is shown nothing.
        let own = match proxy.kind() {
            Kind::Https => {
                let trusted = trusted(self.settings.ca_file.as_deref(), Vec::new())?;
                let secure = Secure::new(Some(trusted), Vec::new());
                Some(secure.map_err(|error| trouble::unusable(&error))?)
            }
            Kind::Http | Kind::Socks => None,
        };
        let socks = socks(proxy).map_err(|_| Error::usage(proxy.unusable()))?;
        let through = Through::new(proxy.clone(), config(socks), own);
        Ok(agent(config(None), through, secure, Nowhere))
    }

    fn secure(&self, encryption: &Encryption) -> Result<Option<Secure>> {
        let Encryption::Tls { checked, own, kept } = encryption else { return Ok(None) };
        let kept = kept.as_deref();
        if let Some(kept) = kept {
            let directory = kept.directory.display();
            self.settings.comment(format_args!("certificates are taken from: {directory}"));
        }
        let pairs = match own.then(|| self.own_pairs()).transpose()?.unwrap_or_default() {
            none if none.is_empty() => kept.map_or_else(Vec::new, |kept| kept.pairs.clone()),
            pairs => pairs,
        };
        let trusted = match checked {
            true => {
                let mut more = kept.map_or_else(Vec::new, |kept| kept.authorities.clone());
                for path in self.settings.own_authorities.iter().filter(|_| *own) {
                    more.extend(Pem::file(path)?.certificates()?);
                }
                Some(trusted(self.settings.ca_file.as_deref(), more)?)
            }
            false => None,
        };
        let secure = Secure::new(trusted, pairs);
        secure.map(Some).map_err(|error| trouble::unusable(&error))
    }

    /// The client certificates that are for the registry's own origin: the flags', or else those that a configuration
    /// names. Either comes instead of what is kept for the host.
    fn own_pairs(&self) -> Result<Vec<Pair>> {
        let Settings { cert_file, key_file, own_pairs, .. } = &self.settings;
        match cert_file {
            Some(cert_file) => client_certificate(cert_file, key_file.as_deref()).map(|p| vec![p]),
            None => own_pairs.iter().map(|(cert, key)| named_pair(cert, key.as_deref())).collect(),
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

fn config(settings: &Settings, socks: Option<ureq::Proxy>) -> Config {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(socks)
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
    config.build()
}
