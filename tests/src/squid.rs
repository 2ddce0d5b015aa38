// SPDX-License-Identifier: Apache-2.0
//! A real proxy: Debian's squid on a free loopback port, in the foreground, with a hosts file of its own for names that
//! no resolver knows, its log kept, and killed when dropped.
//!
//! As squid comes, it lets CONNECT through to few ports: here to those that it is told, and to no others.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use crate::certs::Identity;
use crate::eventually;
use crate::logins::USER;
use crate::peers::peer;
use crate::registry::BCRYPT;
use crate::scratch::Scratch;

/// A name of the loopback that squid alone knows.
pub const NAME: &str = "registry.example";

/// How the proxy is to be.
#[derive(Debug, Default)]
pub struct Setting<'a> {
    /// The ports that CONNECT may go to.
    pub tunnels: &'a [u16],
    /// Only with [`USER`] and [`PASSWORD`](crate::logins::PASSWORD).
    pub login: bool,
    /// Spoken to in TLS, showing this.
    pub identity: Option<Identity>,
}

/// A running proxy.
#[derive(Debug)]
pub struct Squid {
    process: Child,
    port: u16,
    dir: Scratch,
}

impl Squid {
    /// Starts one.
    pub fn start(setting: &Setting<'_>) -> Squid {
        let dir = Scratch::new();
        // squid that is started by root goes on as another user.
        dir.chmod(".", 0o777);
        dir.write("hosts", format!("127.0.0.1 {NAME}\n"));
        dir.write("passwd", format!("{USER}:{BCRYPT}\n"));
        // Between the choice of a free port and its use another program may take it.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let file = dir.write("squid.conf", config(setting, &dir, port));
            let log = std::fs::File::create(dir.join("log")).unwrap();
            let mut process = peer("squid")
                .args(["-N", "-n", &format!("test{port}"), "-f"])
                .arg(file)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let came_up = eventually("squid", || {
                if process.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
            });
            if came_up {
                return Squid { process, port, dir };
            }
        }
        let read = |name| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        panic!("squid does not start:\n{}{}", read("log"), read("cache.log"));
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The requests that it answered so far, as `METHOD TARGET STATUS`, in order.
    pub fn answered(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.join("access.log")).unwrap_or_default();
        // What looked whether it is up asked nothing.
        log.lines().filter(|line| !line.starts_with("- error")).map(str::to_owned).collect()
    }

    /// Waits until it has answered so many requests: a line of the log is written after its answer.
    #[track_caller]
    pub fn wait_for_answers(&self, count: usize) -> Vec<String> {
        eventually("squid's log", || Some(self.answered()).filter(|lines| lines.len() >= count))
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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
    if !setting.tunnels.is_empty() {
        let ports: Vec<_> = setting.tunnels.iter().map(u16::to_string).collect();
        access += &format!("acl tunnels port {}\n", ports.join(" "));
        access += "http_access deny connect !tunnels\n";
    } else {
        access += "http_access deny connect\n";
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
