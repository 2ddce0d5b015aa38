// SPDX-License-Identifier: Apache-2.0
//! A certificate authority that lives as long as a test, kept by the `openssl` command.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::peers::{must, peer};
use crate::scratch::Scratch;

/// A new kind of key for each certificate: the kind that is quickest to make.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// An authority that no system trusts.
#[derive(Debug)]
pub struct Authority {
    dir: Scratch,
}

/// A certificate and its key, PEM files both.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Authority {
    /// Founds one.
    #[expect(clippy::new_without_default, reason = "it runs a program")]
    pub fn new() -> Authority {
        let dir = Scratch::new();
        // `openssl ca` is the one way to choose the dates of a certificate.
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
        openssl.args(["req", "-x509"]).args(KEY).args(["-subj", "/CN=a test's authority"]);
        must(openssl.args(["-keyout", "ca.key", "-out", "ca.pem"]).current_dir(dir.path()));
        Authority { dir }
    }

    /// Its own certificate, to be trusted by `--ca-file`.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The directory that its files are in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// For servers on 127.0.0.1 and localhost.
    pub fn server(&self) -> Identity {
        self.issue("IP:127.0.0.1,DNS:localhost", "20200101000000Z", "20991231000000Z")
    }

    /// For these names (`DNS:a.example`), valid between these dates (`20200101000000Z`).
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
    /// For a server that shows this identity to whoever asks.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_file(&self.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        Arc::new(config.unwrap())
    }
}
