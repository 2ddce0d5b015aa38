// SPDX-License-Identifier: Apache-2.0
//! The cryptography of TLS: that of ring, and the verification of signatures that ring does not
//! support.
//!
//! ring verifies ECDSA with P-256 and P-384 with SHA-256 and SHA-384. Authorities of companies, and
//! proxies that inspect TLS, also use P-521, or SHA-512 with the shorter curves. OpenSSL and Go
//! accept both. These signatures are verified here by the pure Rust crates p256, p384 and p521.
//! They are used only if a certificate requires them, and cost nothing at start-up.
//!
//! Not here: key exchange (`exchange`), and keys for signing. A client certificate with a P-521 key
//! is not supported.

use std::fmt;
use std::sync::LazyLock;

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::exchange::{P521, UNCOMPRESSED};

/// A verification algorithm.
type Algorithm = &'static dyn SignatureVerificationAlgorithm;

/// A signature scheme, and the algorithms that it may mean.
type Mapped = (SignatureScheme, &'static [Algorithm]);

/// The cryptography of all TLS connections.
pub(crate) fn provider() -> CryptoProvider {
    let ring = rustls::crypto::ring::default_provider();
    let signature_verification_algorithms =
        WebPkiSupportedAlgorithms { all: &ALL, mapping: &MAPPING };
    let mut kx_groups = ring.kx_groups;
    kx_groups.push(&P521);
    CryptoProvider { signature_verification_algorithms, kx_groups, ..ring }
}

/// The algorithms for signatures of certificates.
static ALL: LazyLock<Vec<Algorithm>> = LazyLock::new(|| {
    let ring = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let added: [Algorithm; 5] =
        [&P256_SHA512, &P384_SHA512, &P521_SHA256, &P521_SHA384, &P521_SHA512];
    ring.all.iter().copied().chain(added).collect()
});

/// The algorithms for signatures of handshakes, by signature scheme. In TLS 1.2 a scheme of ECDSA
/// names the hash only; in TLS 1.3 it also names the curve, and only the first algorithm is used.
static MAPPING: LazyLock<Vec<Mapped>> = LazyLock::new(|| {
    const SHA512: &[Algorithm] = &[&P521_SHA512, &P384_SHA512, &P256_SHA512];
    let ring = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let extended = ring.mapping.iter().map(|(scheme, algorithms)| {
        let added: Algorithm = match *scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => &P521_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384 => &P521_SHA384,
            _ => return (*scheme, *algorithms),
        };
        // rustls requires a list that is never freed. It is made only once in a process.
        let all: &'static [Algorithm] = [*algorithms, &[added]].concat().leak();
        (*scheme, all)
    });
    extended.chain([(SignatureScheme::ECDSA_NISTP521_SHA512, SHA512)]).collect()
});

/// A function that verifies a signature. Its arguments are the key, the message and the signature.
type Verify = fn(&[u8], &[u8], &[u8]) -> Result<(), InvalidSignature>;

/// ECDSA with one curve and one hash.
struct Ecdsa {
    name: &'static str,
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verify: Verify,
}

static P256_SHA512: Ecdsa = Ecdsa {
    name: "P-256 with SHA-512",
    key: alg_id::ECDSA_P256,
    signature: alg_id::ECDSA_SHA512,
    verify: verify::<p256::ecdsa::VerifyingKey, p256::ecdsa::DerSignature, Sha512>,
};

static P384_SHA512: Ecdsa = Ecdsa {
    name: "P-384 with SHA-512",
    key: alg_id::ECDSA_P384,
    signature: alg_id::ECDSA_SHA512,
    verify: verify::<p384::ecdsa::VerifyingKey, p384::ecdsa::DerSignature, Sha512>,
};

static P521_SHA256: Ecdsa = Ecdsa {
    name: "P-521 with SHA-256",
    key: alg_id::ECDSA_P521,
    signature: alg_id::ECDSA_SHA256,
    verify: verify::<p521::ecdsa::VerifyingKey, p521::ecdsa::DerSignature, Sha256>,
};

static P521_SHA384: Ecdsa = Ecdsa {
    name: "P-521 with SHA-384",
    key: alg_id::ECDSA_P521,
    signature: alg_id::ECDSA_SHA384,
    verify: verify::<p521::ecdsa::VerifyingKey, p521::ecdsa::DerSignature, Sha384>,
};

static P521_SHA512: Ecdsa = Ecdsa {
    name: "P-521 with SHA-512",
    key: alg_id::ECDSA_P521,
    signature: alg_id::ECDSA_SHA512,
    verify: verify::<p521::ecdsa::VerifyingKey, p521::ecdsa::DerSignature, Sha512>,
};

impl fmt::Debug for Ecdsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl SignatureVerificationAlgorithm for Ecdsa {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }

    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        (self.verify)(key, message, signature)
    }
}

/// Verifies a signature in DER with a key that is an uncompressed point (RFC 5480, section 2.2; RFC
/// 8446, section 4.2.8.2), as ring does.
fn verify<Key, Signature, Hash>(
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), InvalidSignature>
where
    Key: for<'a> TryFrom<&'a [u8]> + PrehashVerifier<Signature>,
    Signature: for<'a> TryFrom<&'a [u8]>,
    Hash: Digest,
{
    if key.first() != Some(&UNCOMPRESSED) {
        return Err(InvalidSignature);
    }
    let key = Key::try_from(key).map_err(|_| InvalidSignature)?;
    let signature = Signature::try_from(signature).map_err(|_| InvalidSignature)?;
    let hash = Hash::digest(message);
    key.verify_prehash(&hash, &signature).map_err(|_| InvalidSignature)
}
