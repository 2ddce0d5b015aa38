// SPDX-License-Identifier: Apache-2.0
//! The connections that may serve a URL: how it is encrypted, and what they leave to nobody else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};

use super::connection::Watch;
use super::settings::Settings;
use super::tls::trusted;
use super::url::Url;
use crate::error::Result;

/// What the buffers of a connection hold.
const CONNECTION_BUFFER: usize = 128 << 10;

/// How long a response's head may take; the idle time-out is for bytes that follow.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How a connection to an origin is made: those that are made alike are kept together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    encryption: Encryption,
}

/// Whether, and for whom, a connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Encryption {
    /// Not at all.
    Plain,
    /// For whoever answers.
    Unchecked,
    /// For who has a certificate that is trusted.
    Checked,
}

/// Connections, kept and reused; the same to every thread.
pub(super) struct Agents {
    settings: Settings,
    /// The origin that `insecure` is for.
    own: Url,
    /// As they are needed: reading the trust store is half of a short run's time. Few: there are few ways.
    made: Mutex<Vec<(Way, Agent)>>,
}

impl Agents {
    /// Those of the registry at `own`.
    pub(super) fn new(settings: Settings, own: Url) -> Agents {
        Agents { settings, own, made: Mutex::default() }
    }

    /// The settings.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Those that serve a URL.
    ///
    /// # Errors
    /// Trouble with what is to be trusted.
    pub(super) fn serving(&self, url: &Url) -> Result<Agent> {
        let way = self.way(url);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, agent)) = made.iter().find(|(known, _)| *known == way) {
            return Ok(agent.clone());
        }
        let agent = self.make(&way)?;
        made.push((way, agent.clone()));
        Ok(agent)
    }

    fn way(&self, url: &Url) -> Way {
        let encryption = match url.is_https() {
            false => Encryption::Plain,
            true if (self.settings.insecure || self.settings.lax) && url.same_origin(&self.own) => {
                Encryption::Unchecked
            }
            true => Encryption::Checked,
        };
        Way { encryption }
    }

    fn make(&self, way: &Way) -> Result<Agent> {
        let tls = match way.encryption {
            Encryption::Plain => None,
            Encryption::Unchecked => Some(TlsConfig::builder().disable_verification(true).build()),
            Encryption::Checked => {
                let roots = trusted(self.settings.ca_file.as_deref())?;
                let roots = RootCerts::new_with_certs(&roots);
                Some(TlsConfig::builder().root_certs(roots).build())
            }
        };
        Ok(agent(&self.settings, tls))
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
