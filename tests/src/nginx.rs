// SPDX-License-Identifier: Apache-2.0
//! nginx in front of a real or scripted registry: TLS, client certificates, limits, redirects, and
//! everything else that its configuration offers. It runs as one process, as the user who runs the
//! suite, with all its files in its own directory.

use std::path::Path;

use crate::certs::{Authority, Identity};
use crate::peers::peer;
use crate::servers::Process;

/// The configuration of a front.
#[derive(Clone, Debug)]
pub struct Front {
    secure: bool,
    /// The directives of its `server` block.
    lines: Vec<String>,
}

/// A running front.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
}

impl Front {
    /// A front that passes every request unchanged to a server (`127.0.0.1:PORT`).
    pub fn of(upstream: &str) -> Front {
        Front::bare().with(&format!("location / {{ proxy_pass http://{upstream}; }}"))
    }

    /// A front with only the directives that [`Front::with`] adds.
    pub fn bare() -> Front {
        Front { secure: false, lines: Vec::new() }
    }

    /// Adds a directive to its `server` block: `client_max_body_size 1m;`,
    /// `location = /v2/ { return 307 /v3/; }`.
    #[must_use]
    pub fn with(mut self, directive: &str) -> Front {
        self.lines.push(directive.to_owned());
        self
    }

    /// Makes the front use TLS.
    #[must_use]
    pub fn tls(mut self, identity: &Identity) -> Front {
        let [certificate, key] = [&identity.certificate, &identity.key].map(|file| file.display());
        self.secure = true;
        self.with(&format!("ssl_certificate {certificate}; ssl_certificate_key {key};"))
    }

    /// Makes the front require a client certificate of `clients`.
    #[must_use]
    pub fn for_clients_of(self, clients: &Authority) -> Front {
        let certificate = clients.certificate();
        self.with(&format!(
            "ssl_verify_client on; ssl_client_certificate {};",
            certificate.display()
        ))
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(&self) -> Nginx {
        let process = Process::start(|port, dir| {
            let config = dir.join("nginx.conf");
            std::fs::write(&config, self.config(port, dir.path())).unwrap();
            let mut nginx = peer("nginx");
            nginx.arg("-e").arg(dir.join("errors")).arg("-p").arg(dir.path()).arg("-c").arg(config);
            nginx
        });
        Nginx { process }
    }

    fn config(&self, port: u16, dir: &Path) -> String {
        let secure = if self.secure { " ssl" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", dir.display()))
            .concat();
        format!(
            "daemon off; master_process off; pid {0}/pid;\n\
             events {{}}\n\
             http {{\n{temporary}log_format requests '$request_method $request_uri $status';\n\
             access_log {0}/requests requests;\n\
             client_max_body_size 0; proxy_http_version 1.1; proxy_request_buffering off;\n\
             proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;\n\
             server {{\nlisten 127.0.0.1:{port}{secure};\n\
             {1}\n}}\n}}\n",
            dir.display(),
            self.lines.join("\n"),
        )
    }
}

impl Nginx {
    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.process.host()
    }

    /// `127.0.0.1:PORT/REPOSITORY`, to which `:TAG` or `@DIGEST` may be added.
    pub fn repo(&self, repository: &str) -> String {
        format!("{}/{repository}", self.host())
    }

    /// The requests so far, as `METHOD PATH STATUS`, in order. nginx logs a request after its
    /// response.
    pub fn answered(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.process.dir().join("requests")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}
