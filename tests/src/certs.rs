// SPDX-License-Identifier: Apache-2.0
//! A certificate authority that exists as long as a test, managed by the `openssl` command.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
use rustls::{ConfigBuilder, RootCertStore, ServerConfig};

use crate::peers::{must, peer};
use crate::scratch::Scratch;

/// Options for a new key per certificate; elliptic-curve keys are the quickest to make.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// An authority that no system trusts.
#[derive(Debug)]
pub struct Authority {
    dir: Scratch,
}

/// A certificate and its key, both as PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Authority {
    /// Creates an authority.
    #[expect(clippy::new_without_default, reason = "it runs a program")]
    pub fn new() -> Authority {
        Authority::called("a test's authority")
    }

    /// Creates an authority with this name.
    pub fn called(name: &str) -> Authority {
        let dir = Scratch::new();
        // Only `openssl ca` can choose the dates of a certificate.
        dir.write(
            "ca.cnf",
            format!(
                "[ca]\ndefault_ca=test\n[test]\ndir={0}\nnew_certs_dir={0}\ndatabase={0}/index\n\
                 rand_serial=yes\ncertificate={0}/ca.pem\nprivate_key={0}/ca.key\ndefault_md=sha256\n\
                 policy=any\ncopy_extensions=copy\nunique_subject=no\nemail_in_dn=no\n\
                 [any]\ncommonName=supplied\n",
                dir.path().display()
            ),
        );
        dir.write("index", "");
        let mut openssl = peer("openssl");
        openssl.args(["req", "-x509"]).args(KEY).args(["-subj", &format!("/CN={name}")]);
        must(openssl.args(["-keyout", "ca.key", "-out", "ca.pem"]).current_dir(dir.path()));
        Authority { dir }
    }

    /// The authority's own certificate, for `--ca-file`.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.certificate()).unwrap()).unwrap();
        Arc::new(roots)
    }

    /// The directory with the authority's files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Issues a certificate for servers on 127.0.0.1 and localhost.
    pub fn server(&self) -> Identity {
        self.issue("IP:127.0.0.1,DNS:localhost", "20200101000000Z", "20991231000000Z")
    }

    /// Issues a certificate for a client; its name belongs to no server.
    pub fn client(&self) -> Identity {
        self.issue("DNS:client.example", "20200101000000Z", "20991231000000Z")
    }

    /// Issues a client certificate of X.509 version 1, as `openssl x509 -req` makes it.
    pub fn old_client(&self) -> Identity {
        let client = self.client();
        let certificate = client.certificate.with_extension("v1.pem");
        let mut openssl = peer("openssl");
        openssl.args(["x509", "-req", "-days", "36500", "-CA", "ca.pem", "-CAkey", "ca.key"]);
        openssl.arg("-in").arg(client.certificate.with_extension("csr"));
        must(openssl.arg("-out").arg(&certificate).current_dir(self.dir.path()));
        Identity { certificate, ..client }
    }

    /// Issues a certificate for these names (`DNS:a.example`), valid between these dates
    /// (`20200101000000Z`).
    pub fn issue(&self, names: &str, from: &str, to: &str) -> Identity {
        let name = format!("cert-{}", std::fs::read_dir(self.dir.path()).unwrap().count());
        let [key, request, certificate] =
            ["key", "csr", "pem"].map(|kind| self.dir.join(format!("{name}.{kind}")));
        let mut openssl = peer("openssl");
        openssl.arg("req").args(KEY).args(["-subj", "/CN=a test's server"]);
        openssl.args(["-addext", &format!("subjectAltName={names}")]);
        must(openssl.arg("-keyout").arg(&key).arg("-out").arg(&request));
        let mut openssl = peer("openssl");
        openssl.args(["ca", "-batch", "-notext", "-config", "ca.cnf"]).current_dir(self.dir.path());
        openssl.args(["-startdate", from, "-enddate", to]);
        must(openssl.arg("-in").arg(&request).arg("-out").arg(&certificate));
        Identity { certificate, key }
    }
}

impl Identity {
    /// The configuration of a server that presents this certificate and requests no client
    /// certificate.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder().with_no_client_auth();
        Arc::new(self.shown_by(config))
    }

    /// The configuration of a server that presents this certificate and requires a client
    /// certificate of `clients`; without it the handshake fails.
    pub fn server_config_for(&self, clients: &Authority) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder(clients.roots()).build().unwrap();
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        Arc::new(self.shown_by(config))
    }

    /// Like [`Identity::server_config_for`], over TLS 1.2.
    pub fn server_config_tls12_for(&self, clients: &Authority) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder(clients.roots()).build().unwrap();
        let versions = [&rustls::version::TLS12];
        let config = ServerConfig::builder_with_protocol_versions(&versions);
        Arc::new(self.shown_by(config.with_client_cert_verifier(verifier)))
    }

    /// The configuration of a server that presents this certificate and asks for a client
    /// certificate of `clients`, but also accepts clients without a certificate.
    pub fn server_config_asking(&self, clients: &Authority) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder(clients.roots()).allow_unauthenticated();
        let verifier = verifier.build().unwrap();
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        Arc::new(self.shown_by(config))
    }

    fn shown_by(&self, config: ConfigBuilder<ServerConfig, WantsServerCert>) -> ServerConfig {
        let chain = vec![CertificateDer::from_pem_file(&self.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        config.with_single_cert(chain, key).unwrap()
    }

    /// The certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(&self.certificate).unwrap().to_vec()
    }

    /// Writes certificate and key into one file.
    pub fn joined(&self) -> PathBuf {
        let both = self.certificate.with_extension("both.pem");
        let [certificate, key] =
            [&self.certificate, &self.key].map(|file| std::fs::read(file).unwrap());
        std::fs::write(&both, [certificate, key].concat()).unwrap();
        std::fs::set_permissions(&both, Permissions::from_mode(0o600)).unwrap();
        both
    }
}
