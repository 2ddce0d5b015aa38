// SPDX-License-Identifier: Apache-2.0
//! A real proxy: Debian's squid on a free loopback port, in the foreground. Its own hosts file has
//! names that no resolver knows. It keeps its log, and is killed when dropped.
//!
//! squid's default configuration allows CONNECT to few ports only. Here it allows CONNECT to the
//! ports in the setting, and to no others.

use crate::certs::Identity;
use crate::eventually;
use crate::logins::USER;
use crate::peers::peer;
use crate::registry::BCRYPT;
use crate::scratch::Scratch;
use crate::servers::Process;

/// A name of the loopback address that only squid knows.
pub const NAME: &str = "registry.example";

/// The configuration of the proxy.
#[derive(Debug, Default)]
pub struct Setting<'a> {
    /// The ports to which CONNECT is allowed.
    pub tunnels: &'a [u16],
    /// Whether it requires [`USER`] and [`PASSWORD`](crate::logins::PASSWORD).
    pub login: bool,
    /// The certificate, if clients use TLS to the proxy.
    pub identity: Option<Identity>,
}

/// A running proxy.
#[derive(Debug)]
pub struct Squid(Process);

impl Squid {
    /// Starts squid.
    pub fn start(setting: &Setting<'_>) -> Squid {
        Squid(Process::start(|port, dir| {
            // If root starts squid, squid continues as another user.
            dir.chmod(".", 0o777);
            dir.write("hosts", format!("127.0.0.1 {NAME}\n"));
            dir.write("passwd", format!("{USER}:{BCRYPT}\n"));
            let file = dir.write("squid.conf", config(setting, dir, port));
            let mut squid = peer("squid");
            squid.args(["-N", "-n", &format!("test{port}"), "-f"]).arg(file);
            squid
        }))
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.0.host()
    }

    /// The requests so far, as `METHOD TARGET STATUS`, in order.
    pub fn answered(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.0.scratch().join("access.log")).unwrap_or_default();
        // The check that squid has started opens a connection without a request. It is not counted.
        log.lines().filter(|line| !line.starts_with("- error")).map(str::to_owned).collect()
    }

    /// Waits until `count` requests are in the log. squid logs a request after its response.
    #[track_caller]
    pub fn wait_for_answers(&self, count: usize) -> Vec<String> {
        eventually("squid's log", || Some(self.answered()).filter(|lines| lines.len() >= count))
    }
}

impl Drop for Squid {
    /// Removes the shared memory that squid makes for requests of several clients for one URL:
    /// squid, when killed, leaves it behind.
    fn drop(&mut self) {
        let host = self.host();
        let port = host.rsplit(':').next().unwrap_or(&host);
        for part in ["metadata", "queues", "readers"] {
            let _ = std::fs::remove_file(format!("/dev/shm/test{port}-cf__{part}.shm"));
        }
    }
}

fn config(setting: &Setting<'_>, dir: &Scratch, port: u16) -> String {
    let at = dir.path().display();
    let listen = match &setting.identity {
        Some(Identity { certificate, key }) => {
            let (certificate, key) = (certificate.display(), key.display());
            format!("https_port 127.0.0.1:{port} tls-cert={certificate} tls-key={key}\n")
        }
        None => format!("http_port 127.0.0.1:{port}\n"),
    };
    let mut access = "acl connect method CONNECT\n".to_owned();
    if setting.tunnels.is_empty() {
        access += "http_access deny connect\n";
    } else {
        let ports: Vec<_> = setting.tunnels.iter().map(u16::to_string).collect();
        access += &format!("acl tunnels port {}\n", ports.join(" "));
        access += "http_access deny connect !tunnels\n";
    }
    if setting.login {
        access = format!(
            "auth_param basic program /usr/lib/squid/basic_ncsa_auth {at}/passwd\n\
             auth_param basic children 1\nauth_param basic realm a test\n\
             acl users proxy_auth REQUIRED\n{access}http_access deny !users\n"
        );
    }
    format!(
        "{listen}{access}http_access allow all\n\
         hosts_file {at}/hosts\ndns_nameservers 127.0.0.1\nvisible_hostname a-test\n\
         pid_filename none\ncoredump_dir {at}\ncache_log {at}/cache.log\ncache deny all\n\
         logformat short %rm %ru %>Hs\naccess_log stdio:{at}/access.log logformat=short\n\
         pinger_enable off\nmax_filedescriptors 1024\nshutdown_lifetime 0 seconds\n"
    )
}
