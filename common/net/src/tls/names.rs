// SPDX-License-Identifier: Apache-2.0
//! Names for error messages: of signature algorithms and keys, and of the conditions that rustls
//! reports only as identifiers of its source code.

use std::fmt::{Debug, Write};

use super::der::{self, Key};

/// Object identifiers in DER without tag and length, and the algorithms that they name.
const ALGORITHMS: [(&[u8], &str); 23] = [
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "RSA"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x02", "RSA with MD2"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", "RSA with MD5"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "RSA with SHA-1"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSASSA-PSS"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", "RSA with SHA-256"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", "RSA with SHA-384"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", "RSA with SHA-512"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", "RSA with SHA-224"),
    (b"\x2a\x86\x48\xce\x3d\x02\x01", "ECDSA"),
    (b"\x2a\x86\x48\xce\x3d\x04\x01", "ECDSA with SHA-1"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", "ECDSA with SHA-224"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", "ECDSA with SHA-256"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", "ECDSA with SHA-384"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", "ECDSA with SHA-512"),
    (b"\x2a\x86\x48\xce\x38\x04\x01", "DSA"),
    (b"\x2a\x86\x48\xce\x38\x04\x03", "DSA with SHA-1"),
    (b"\x60\x86\x48\x01\x65\x03\x04\x03\x01", "DSA with SHA-224"),
    (b"\x60\x86\x48\x01\x65\x03\x04\x03\x02", "DSA with SHA-256"),
    (b"\x2b\x65\x6e", "X25519"),
    (b"\x2b\x65\x70", "Ed25519"),
    (b"\x2b\x65\x71", "Ed448"),
    (b"\x2a\x81\x1c\xcf\x55\x01\x83\x75", "SM2 with SM3"),
];

/// Object identifiers of curves, and the names of the curves.
const CURVES: [(&[u8], &str); 8] = [
    (b"\x2a\x86\x48\xce\x3d\x03\x01\x07", "P-256"),
    (b"\x2b\x81\x04\x00\x22", "P-384"),
    (b"\x2b\x81\x04\x00\x23", "P-521"),
    (b"\x2b\x81\x04\x00\x21", "P-224"),
    (b"\x2b\x81\x04\x00\x0a", "secp256k1"),
    (b"\x2b\x24\x03\x03\x02\x08\x01\x01\x07", "brainpoolP256r1"),
    (b"\x2b\x24\x03\x03\x02\x08\x01\x01\x0b", "brainpoolP384r1"),
    (b"\x2b\x24\x03\x03\x02\x08\x01\x01\x0d", "brainpoolP512r1"),
];

/// The name of the algorithm in the content of an AlgorithmIdentifier (RFC 5280, section 4.1.1.2).
pub(super) fn algorithm(identifier: &[u8]) -> String {
    let Some((oid, parameters)) = der::object_identifier(identifier) else {
        return "an invalid algorithm".to_owned();
    };
    let curve = der::object_identifier(parameters).map(|(curve, _)| curve);
    match curve.filter(|_| named(&ALGORITHMS, oid) == "ECDSA") {
        Some(curve) => format!("ECDSA by {}", named(&CURVES, curve)),
        None => named(&ALGORITHMS, oid),
    }
}

/// The name of a key's type, with the number of bits of an RSA key.
pub(super) fn key(key: &Key<'_>) -> String {
    match key.rsa_bits {
        Some(bits) => format!("RSA of {bits} bits"),
        None => algorithm(key.algorithm),
    }
}

fn named(names: &[(&[u8], &str)], oid: &[u8]) -> String {
    let known = names.iter().find(|(known, _)| *known == oid);
    known.map_or_else(|| dotted(oid), |(_, name)| (*name).to_owned())
}

/// An object identifier as numbers with dots. A number beyond 64 bits is shown as `?`.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut text = String::new();
    let mut number = Some(0_u64);
    for byte in oid {
        let low = u64::from(byte & 0x7f);
        number = number.and_then(|number| number.checked_mul(128)?.checked_add(low));
        if byte & 0x80 != 0 {
            continue;
        }
        // The first number contains the first two components.
        let shown = match (number, text.is_empty()) {
            (None, _) => ".?".to_owned(),
            (Some(first), true) => {
                let root = (first / 40).min(2);
                format!("{root}.{}", first - root * 40)
            }
            (Some(number), false) => format!(".{number}"),
        };
        let _ = write!(text, "{shown}");
        number = Some(0);
    }
    text
}

/// The words of an identifier in camel case, such as a variant of an enum: `UnknownCA` becomes
/// "unknown CA". Only the identifier is used; the contents of a variant are dropped. rustls has no
/// other text for many of its errors.
pub(super) fn words(identifier: &impl Debug) -> String {
    let debug = format!("{identifier:?}");
    let end = debug.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(debug.len());
    let letters: Vec<char> = debug[..end].chars().collect();
    let mut text = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let is_upper = |at: usize| letters.get(at).is_some_and(char::is_ascii_uppercase);
        let is_lower = |at: usize| letters.get(at).is_some_and(char::is_ascii_lowercase);
        let starts = is_upper(i) && i > 0 && (!is_upper(i - 1) || is_lower(i + 1));
        if starts {
            text.push(' ');
        }
        // An acronym keeps its case.
        let is_word = is_upper(i) && (is_lower(i + 1) || letters.len() == i + 1 && starts);
        text.push(if is_word { letter.to_ascii_lowercase() } else { *letter });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, PeerMisbehaved};

    #[test]
    fn identifiers_become_words() {
        assert_eq!(words(&AlertDescription::UnknownCA), "unknown CA");
        assert_eq!(words(&AlertDescription::HandshakeFailure), "handshake failure");
        assert_eq!(words(&AlertDescription::UnknownPSKIdentity), "unknown PSK identity");
        assert_eq!(words(&PeerMisbehaved::TooManyEmptyFragments), "too many empty fragments");
        assert_eq!(words(&webpki::Error::CaUsedAsEndEntity), "ca used as end entity");
    }

    #[test]
    fn algorithms_have_names() {
        for (identifier, name) in [
            (&b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00"[..], "RSA with SHA-1"),
            (
                b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a",
                "ECDSA by secp256k1",
            ),
            (b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x03\x2b\x81\x04", "ECDSA by 1.3.132"),
            (b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", "ECDSA with SHA-256"),
            (b"\x06\x03\x2b\x65\x71", "Ed448"),
            (b"\x06\x03\x88\x37\x03", "2.999.3"),
            (b"\x06\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", ".?"),
            (b"\x06\x09\x2a", "an invalid algorithm"),
            (b"", "an invalid algorithm"),
        ] {
            assert_eq!(algorithm(identifier), name);
        }
    }
}
