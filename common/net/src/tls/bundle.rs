// SPDX-License-Identifier: Apache-2.0
//! Reads the PEM file of a complete trust store fast: it has some 140 certificates, and every run
//! that uses HTTPS reads it. The general parser takes longer for this file than a TLS handshake.
//!
//! Not here: files of any other form. The caller reads them with the general parser.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates in a PEM file. `None` if the file has any other object, or a line that is not
/// exactly as expected: the general parser then decides what the file means.
pub(crate) fn certificates(bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    let mut certificates = Vec::new();
    let mut text = String::new();
    while let Some(line) = lines.next() {
        if line != BEGIN {
            // Other lines outside objects are comments.
            if line.contains("-----") {
                return None;
            }
            continue;
        }
        text.clear();
        loop {
            match lines.next()? {
                END => break,
                line => text.push_str(line),
            }
        }
        certificates.push(STANDARD.decode(&text).ok()?.into());
    }
    Some(certificates)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn block(begin: &str, text: &str, end: &str) -> String {
        format!("{begin}\n{text}\n{end}\n")
    }

    #[test]
    fn a_bundle_has_the_same_certificates_as_for_the_general_parser() {
        let long = format!("{}\n{}", STANDARD.encode([7; 48]), STANDARD.encode([8; 31]));
        let bundle =
            ["AAEC", "AAE=", &long].map(|text| block(BEGIN, text, END)).join("# A name\n\n");
        for bundle in [bundle.clone(), bundle.replace('\n', "\r\n"), bundle.trim_end().to_owned()] {
            let general = CertificateDer::pem_slice_iter(bundle.as_bytes());
            let general: Vec<_> = general.collect::<Result<_, _>>().unwrap();
            assert_eq!(general.len(), 3);
            assert_eq!(certificates(bundle.as_bytes()), Some(general));
        }
        assert_eq!(certificates(b""), Some(Vec::new()));
    }

    #[test]
    fn any_other_file_is_left_to_the_general_parser() {
        let good = block(BEGIN, "AAEC", END);
        for other in [
            block(
                "-----BEGIN TRUSTED CERTIFICATE-----",
                "AAEC",
                "-----END TRUSTED CERTIFICATE-----",
            ),
            block("-----BEGIN PRIVATE KEY-----", "AAEC", "-----END PRIVATE KEY-----"),
            block(" -----BEGIN CERTIFICATE-----", "AAEC", END),
            block(BEGIN, "AAEC", ""),
            block(BEGIN, "AAEC ", END),
            block(BEGIN, "AA\nAE\nC", END),
            block(BEGIN, "AAEC=", END),
            block(BEGIN, &good, END),
            "Bundle Général".to_owned(),
        ] {
            let file = format!("{good}{other}");
            let is_comment = !other.contains("-----");
            assert_eq!(certificates(file.as_bytes()).is_some(), is_comment, "{other}");
        }
        assert_eq!(certificates(&[good.as_bytes(), b"\xe9"].concat()), None);
    }
}
